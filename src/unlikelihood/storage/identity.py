"""Which samples a detector has seen: a number for each, from its content alone."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BLOCK = 2**22  # values held at once


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
    """Return a hash of samples in their order, for the record of where a figure came from.

    Parameters
    ----------
    X : ndarray, shape (n, *shape)
        Samples.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    return blake2b(identities(X).tobytes(), digest_size=8).hexdigest()


def seen(detector: object, X: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which samples a detector, or a detector inside it, was fitted to.

    Parameters
    ----------
    detector : detector
        One of this package remembers its training samples as ``seen_``. One of another library does not, so of it
        nothing is known and all is False.
    X : ndarray, shape (n, *shape)
        Samples.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    remembered = list(_remembered(detector, set()))
    if not remembered:
        return np.zeros(len(X), dtype=bool)
    return np.isin(identities(X), np.concatenate(remembered))


def unseen(detector: object, X: NDArray[Any]) -> NDArray[Any]:
    """Return the samples that a detector was not fitted to.

    Public data sets hold some images twice, and one of a pair may have been trained on though the other was held out.

    Parameters
    ----------
    detector : detector
        As in `seen`.
    X : ndarray, shape (n, *shape)
        Samples.

    Returns
    -------
    ndarray, shape (m, *shape)
    """
    known = seen(detector, X)
    return X[~known] if known.any() else X


def refuse_seen(detector: object, X: NDArray[Any]) -> None:
    """Raise if a detector was fitted to one of the samples.

    Parameters
    ----------
    detector : detector
        As in `seen`.
    X : ndarray, shape (n, *shape)
        Samples that training must not have seen.

    Raises
    ------
    ValueError
        With how many they are and where.
    """
    where = np.flatnonzero(seen(detector, X))
    if len(where):
        few = ", ".join(map(str, where[:5])) + (", …" if len(where) > 5 else "")
        raise ValueError(
            f"X has {len(where)} of {len(X)} samples that {type(detector).__name__} was fitted to (rows {few}), "
            "expected normals that training never saw: on those that it saw it is too sure"
        )


def _remembered(value: Any, visited: set[int]) -> Iterator[ArrayLike]:
    if id(value) in visited:
        return
    visited.add(id(value))
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _remembered(item, visited)
    elif hasattr(value, "score_samples") and hasattr(value, "__dict__"):
        if "seen_" in vars(value):
            yield value.seen_
        for item in list(vars(value).values()):
            yield from _remembered(item, visited)
