"""Which samples a detector has seen: a number for each, from its content alone.

Equal content is evidence of having been trained on only where contents rarely repeat. Among images a repetition is a
copy; in a table of a few categories most records that nobody has seen equal one of the training. So what repeats is
held against samples only where more of them do than the training samples repeat one another.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

BLOCK = 2**22  # values held at once
CHANCE = 1e-3  # so many repetitions are taken for chance only if their probability is at least this


def identities(X: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a hash of the content of each sample.

    Values count as float32, the precision in which images are kept, so a sample is known again whatever the type
    of the array that holds it. Two different samples share a hash with probability 2⁻⁶⁴.

    Parameters
    ----------
    X : ndarray, shape (n, *shape)
        Samples; a memory map is read in blocks.

    Returns
    -------
    ndarray of uint64, shape (n,)

    Examples
    --------
    >>> X = np.arange(6.0).reshape(3, 2)
    >>> bool(np.all(identities(X) == identities(X.astype(np.float32))))
    True
    """
    digests = bytearray()
    step = max(1, BLOCK // max(1, X[:1].size))
    with np.errstate(over="ignore"):
        for start in range(0, len(X), step):
            # 0 is added because 0 and −0 are equal but differ in their bits.
            block = np.ascontiguousarray(X[start : start + step], dtype="<f4") + np.float32(0)
            for content in block.reshape(len(block), -1).view(np.uint8):
                digests += blake2b(content.data, digest_size=8).digest()
    return np.frombuffer(bytes(digests), dtype="<u8").astype(np.uint64)


def content_hash(X: NDArray[Any]) -> str:
    r"""Return 16 hexadecimal digits of samples (n, \*shape) in their order, for the record of a figure's origin."""
    return blake2b(identities(X).tobytes(), digest_size=8).hexdigest()


def seen(detector: object, X: NDArray[Any]) -> NDArray[np.bool_]:
    r"""Return which samples a detector, or a detector inside it, was fitted to.

    Those are the samples whose content training had, unless as many of them would have it by chance. A new sample
    repeats a training sample with a probability that the training samples themselves tell (Good, 1953),

    .. math:: 1 - \frac{N_1}{N}, \qquad \sigma^2 = \frac{N_1 (1 - N_1 / N) + 2 N_2}{N^2},

    where N₁ and N₂ of the N training samples' contents occur once and twice, and σ is the standard error (Esty, 1983).
    Where, even with σ added to that probability, as many repetitions would have a chance below 0.001, training has
    seen them; otherwise none counts as seen. Without repetitions in training a single one is enough.

    Parameters
    ----------
    detector : detector
        One of this package remembers its training samples as ``seen_``. One of another library does not, so of it
        nothing is known and all is False.
    X : ndarray, shape (n, \*shape)
        Samples, normals alone where they may repeat: anomalies repeat training less often, and hide those that do.

    Returns
    -------
    ndarray of bool, shape (n,)

    Notes
    -----
    Where nearly every sample repeats, seen ones cannot be told from others, and score nearly alike. Training samples
    that were copied on purpose, to balance classes for example, make that look so.

    References
    ----------
    Good (1953), Biometrika 40:237. Esty (1983), Annals of Statistics 11:905.
    """
    known = any(len(memory) for memory in _memories(detector, set()))
    return seen_among(detector, identities(X)) if known else np.zeros(len(X), dtype=bool)


def seen_among(detector: object, own: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which samples, by their `identities` (n,), were `seen` by a detector."""
    known = np.zeros(len(own), dtype=bool)
    for memory in _memories(detector, set()):
        repeated = np.isin(own, memory)
        # The chance of at least as many; bdtrc(k, …) is that of more than k.
        if repeated.any() and bdtrc(repeated.sum() - 1.0, len(own), _repeating(memory)) < CHANCE:
            known |= repeated
    return known


def remembers(detector: object) -> bool:
    """Return whether a detector knows what it was fitted to; a `Conformal` around another library's does not."""
    return hasattr(detector, "seen_") and any(len(memory) for memory in _memories(detector, set()))


def unseen(detector: object, X: NDArray[Any]) -> NDArray[Any]:
    r"""Return the samples (m, \*shape) of X (n, \*shape) that a detector was not fitted to: not `seen`, as that has it.

    Public data sets hold some images twice, and one of a pair may have been trained on though the other was held out.
    """
    known = seen(detector, X)
    return X[~known] if known.any() else X


def refuse_seen(detector: object, X: NDArray[Any]) -> None:
    r"""Raise a ValueError if some of the samples (n, \*shape) were `seen` by a detector, with how many and where."""
    where = np.flatnonzero(seen(detector, X))
    if len(where):
        few = ", ".join(map(str, where[:5])) + (", …" if len(where) > 5 else "")
        raise ValueError(
            f"X has {len(where)} of {len(X)} samples that {type(detector).__name__} was fitted to (rows {few}), "
            "expected normals that training never saw: on those that it saw it is too sure"
        )


def _repeating(memory: NDArray[np.uint64]) -> float:
    """Return how probable it is, at most, that a new sample repeats one of those that were trained on."""
    count = np.unique(memory, return_counts=True)[1]
    n, once, twice = len(memory), np.sum(count == 1), np.sum(count == 2)
    error = np.sqrt(once * (1 - once / n) + 2 * twice) / n
    return float(min(1 - once / n + error, 1.0))


def _memories(value: Any, visited: set[int]) -> Iterator[NDArray[np.uint64]]:
    if id(value) in visited:
        return
    visited.add(id(value))
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _memories(item, visited)
    elif hasattr(value, "score_samples") and hasattr(value, "__dict__"):
        if "seen_" in vars(value):
            yield value.seen_
        for item in list(vars(value).values()):
            yield from _memories(item, visited)
