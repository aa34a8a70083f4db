"""How a generator doubles its maps."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from typing_extensions import override

from unlikelihood.nn.spatial import UpsampledConv, transposed_conv
from unlikelihood.parameters import Component, Count


@dataclass(frozen=True)
class Upscaling(Component, ABC):
    """Makes the layer that maps axes of `size` to those of `target`, about twice as long.

    Parameters
    ----------
    kernel : int
        Length of its convolution along every axis, odd.
    """

    kernel: Count = 5

    @abstractmethod
    def __call__(self, channels_in: int, channels_out: int, size: Sequence[int], target: Sequence[int]) -> nn.Module:
        """Return the layer."""


@dataclass(frozen=True)
class TransposedConvolution(Upscaling):
    """A transposed convolution of stride 2, as DCGAN has it."""

    @override
    def __call__(self, channels_in: int, channels_out: int, size: Sequence[int], target: Sequence[int]) -> nn.Module:
        # Without padding of the output, n becomes 2n - 1.
        padding = tuple(after - (2 * before - 1) for before, after in zip(size, target, strict=True))
        return transposed_conv(len(size), channels_in, channels_out, self.kernel, 2, self.kernel // 2, padding)


@dataclass(frozen=True)
class UpsampledConvolution(Upscaling):
    """A convolution of pixels that were repeated, which leaves no chequered pattern.

    References
    ----------
    Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts", 2016.
    """

    kernel: Count = 3

    @override
    def __call__(self, channels_in: int, channels_out: int, size: Sequence[int], target: Sequence[int]) -> nn.Module:
        return UpsampledConv(channels_in, channels_out, target, self.kernel)
