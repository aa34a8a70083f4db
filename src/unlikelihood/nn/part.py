"""What likelihoods and priors have in common."""

import inspect

from torch import nn


class Part(nn.Module):
    """A module that is also a detector's parameter: it is copied into the network before it learns anything.

    Its constructor keeps its arguments under their own names, as scikit-learn's do, so that a model file can hold it.
    """

    def __init__(self) -> None:
        super().__init__()

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in inspect.signature(type(self)).parameters)
