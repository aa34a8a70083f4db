"""Splines with their bins first."""

import pytest
import torch
from zuko.transforms import MonotonicRQSTransform

from unlikelihood.nn.splines import Spline


@pytest.mark.parametrize("bins", [2, 8])
def test_a_spline_is_that_of_zuko_with_its_bins_along_another_axis(bins):
    theta = [3 * torch.randn(n, 40, 7, dtype=torch.float64) for n in (bins, bins, bins - 1)]
    x = 4 * torch.randn(40, 7, dtype=torch.float64)  # beyond the bound as well
    first, last = Spline(*theta, bound=5.0), MonotonicRQSTransform(*(part.movedim(0, -1) for part in theta), bound=5.0)
    torch.testing.assert_close(first.call_and_ladj(x), last.call_and_ladj(x))
    torch.testing.assert_close(first.inv(first(x)), x)
    assert (first(x) == x)[x.abs() > 5].all()
