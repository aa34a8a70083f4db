"""Networks that are built from what a file says, and must not take more than the file has."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from torch import Tensor
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from typing_extensions import override

SLACK = 16  # times as large a tensor as the largest weight, and as many, may be made on the way
FREE = 2**22  # numbers that no model is too small for


@contextmanager
def bounded(weights: dict[str, Tensor]) -> Iterator[None]:
    """Raise a ValueError inside the block if a network becomes much larger than these weights, before it does.

    Parameters
    ----------
    weights : dict
        Those that the network shall have.
    """
    left = SLACK * (len(weights) + 10)

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"the parameters ask for a network of more than the {len(weights)} weights that there are")

    hooks = [
        register(count)
        for register in (register_module_parameter_registration_hook, register_module_buffer_registration_hook)
    ]
    try:
        with Bounded(SLACK * max((tensor.numel() for tensor in weights.values()), default=0) + FREE):
            yield
    finally:
        for hook in hooks:
            hook.remove()


class Bounded(TorchDispatchMode):
    """Refuses tensors that are made of nothing and have more than `most` numbers."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Where torch asks, True would have it import its compiler, for a second, to shield this from it.
        return False

    @override
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if not any(isinstance(value, Tensor) for value in tree_leaves((args, given))):
            with suppress(NotImplementedError, TypeError):  # what has no device to choose is no large tensor
                made = func(*args, **{**given, "device": "meta"})
                if isinstance(made, Tensor) and made.numel() > self.most:
                    size = " x ".join(map(str, made.shape))
                    raise ValueError(
                        f"the parameters ask for {size} numbers, {math.ceil(made.numel() / self.most)} times more than "
                        "fits to the weights that there are"
                    )
        return func(*args, **given)
