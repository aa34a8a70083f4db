"""Random numbers follow from the generator of the block that draws them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from unlikelihood.nn.noise import (
    drawing_from,
    integers,
    normal,
    normal_like,
    permutation,
    uniform,
    uniform_like,
)

LIKE = torch.zeros(3, 2, 4, 4).contiguous(memory_format=torch.channels_last)
DRAWS = {
    "normal": (lambda: normal(5, 7), lambda: torch.randn(5, 7)),
    "uniform": (lambda: uniform(5, 7), lambda: torch.rand(5, 7)),
    "normal_like": (lambda: normal_like(LIKE), lambda: torch.randn_like(LIKE)),
    "uniform_like": (lambda: uniform_like(LIKE), lambda: torch.rand_like(LIKE)),
    "integers": (lambda: integers(4, 50), lambda: torch.randint(4, (50,))),
    "permutation": (lambda: permutation(50), lambda: torch.randperm(50)),
}


@pytest.mark.parametrize(("ours", "torchs"), DRAWS.values(), ids=DRAWS)
def test_draws_are_torchs_of_the_same_seed(ours: Callable[[], Tensor], torchs: Callable[[], Tensor]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = torchs()
        torch.manual_seed(3)
        assert torch.equal(ours(), expected)
        before = torch.get_rng_state()
        with drawing_from(torch.Generator().manual_seed(3)):
            assert torch.equal(ours(), expected)
        assert torch.equal(torch.get_rng_state(), before)


def test_threads_do_not_share_a_generator() -> None:
    def many(seed: int) -> Tensor:
        with drawing_from(torch.Generator().manual_seed(seed)):
            return torch.cat([normal(64) for _ in range(200)])

    alone = [many(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(many, range(4)))
    assert all(map(torch.equal, alone, together))
