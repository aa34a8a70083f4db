import pytest
import torch

from unlikelihood.nn.draws import ROWS, over_draws


@pytest.mark.parametrize("batch", [1, 5, ROWS - 1, ROWS + 1])
@pytest.mark.parametrize("n", [1, 3, ROWS + 1])
def test_draws_that_share_a_pass_are_those_of_one_after_the_other(batch, n):
    generator = torch.Generator().manual_seed(0)
    x, own, same = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((batch, 2, 3), (n, batch, 2, 3), (n, 1))
    )

    def function(x, own, same):
        return (x * own).flatten(1).sum(1) + same

    alone = torch.stack([function(x, *draws) for draws in zip(own, same, strict=True)])
    torch.testing.assert_close(over_draws(function, x, own, same), alone)


@pytest.mark.parametrize("batch", [1, 5, ROWS + 1])
def test_a_pass_has_as_many_rows_as_fit_and_all_samples_at_least(batch):
    rows = []

    def function(x, z):
        rows.append(len(x))
        return z

    over_draws(function, torch.zeros(batch, 2), torch.zeros(2 * ROWS, 1))
    assert sum(rows) == 2 * ROWS * batch
    assert max(rows) == max(ROWS // batch * batch, batch)
