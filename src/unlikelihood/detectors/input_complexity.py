"""A log-likelihood with the complexity of the sample added: a likelihood ratio against a compressor."""

import math
import zlib
from collections.abc import Iterator
from itertools import chain, combinations
from typing import Annotated

import numpy as np

from unlikelihood.contract.detector import Detector, fitted
from unlikelihood.parameters import Range


class InputComplexity(Detector):
    r"""Scores by how much likelier a sample is under a detector than its compressed length makes it.

    .. math:: \log p(x) + L(x)

    Simple samples are likely under any model and complex ones unlikely; L, which is the negative log-likelihood of a
    general-purpose compressor, corrects for that. L is the length in nats that remains of the sample's 8-bit values
    after deflate, the compressor of PNG. As in PNG, differences to neighbours are compressed where that is
    shorter: the differences along every subset of the spatial axes (of a vector, along its features) are tried and the
    shortest counts. So one rule serves images, colour, volumes and vectors; short vectors hardly differ in their L.

    Parameters
    ----------
    detector : Detector
        p: any whose score is a log-likelihood, or a bound of one, in nats.
    levels : int
        The steps between the least and the greatest value in training that a value is rounded to before it is
        compressed; values beyond these become the least or the greatest.

    References
    ----------
    Serrà et al., "Input complexity and out-of-distribution detection with likelihood-based generative models", 2020,
    equation 3 (the negative of this score, in bits).
    """

    detector: Detector
    levels: Annotated[int, Range(2, 256)] = 256

    unexportable = "its score takes a compressor"

    def _fit(self, X: np.ndarray) -> None:
        self.detector_ = fitted(self.detector, X)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self.detector_.score_samples(X) + self.complexity(X)

    def complexity(self, X: np.ndarray) -> np.ndarray:
        r"""Return L(x), the compressed length of each sample in nats.

        Parameters
        ----------
        X : ndarray
            Samples (n, \*shape).

        Returns
        -------
        ndarray of shape (n,), float64
        """
        low, high = self.range_
        step = (high - low) / (self.levels - 1) or 1.0
        lengths = []
        for x in X:
            quantised = np.rint((np.clip(x, low, high).astype(np.float64) - low) / step).astype(np.uint8)
            lengths.append(min(map(deflated, differences(quantised))))
        return 8 * math.log(2) * np.array(lengths, np.float64)


def differences(x: np.ndarray) -> Iterator[np.ndarray]:
    """Yield a sample of bytes with every subset of its axes but the channels' differenced, modulo 256."""
    axes = range(min(1, x.ndim - 1), x.ndim)
    for chosen in chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1)):
        changed = x
        for axis in chosen:
            changed = np.diff(changed, axis=axis, prepend=np.zeros_like(changed.take([0], axis)))
        yield changed


def deflated(x: np.ndarray) -> int:
    """Return how many bytes deflate leaves of an array of bytes, without a header."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return len(compressor.compress(np.ascontiguousarray(x).tobytes())) + len(compressor.flush())
