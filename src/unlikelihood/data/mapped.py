"""Samples that lie in files, of which only those that are taken come into memory."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

WHOLE = 2**28  # bytes up to which samples are held in memory
BLOCK = 2**23  # values that are looked at together


class Stored(NamedTuple):
    """Samples (n, …) as they are stored, and the stored intensities that become 0 and 1; None leaves all."""

    values: NDArray[Any]
    window: tuple[float, float] | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of what is read."""
        return self.values.dtype if self.window is None else np.dtype(np.float32)

    def read(self, index: Any) -> NDArray[Any]:
        """Return the samples at an index."""
        values = self.values[index]
        return np.asarray(values) if self.window is None else windowed(values, self.window)


class Mapped:
    r"""Samples (n, \*shape) in memory maps, which an index reads: in the type of their map, or float32 in [0, 1].

    It is passed where arrays are, and `numpy.asarray` makes one of all samples. An index of the first axis reads what
    it chooses up to 256 MiB; a larger choice is `Mapped` again, so that no part of an experiment has to fit in memory.

    Parameters
    ----------
    parts : sequence of Stored
        Where the samples lie, one part after the other, in one shape.
    rows : ndarray of int of shape (n,), optional
        Which of them these are, in their order; all unless given.

    Examples
    --------
    >>> samples = Mapped([Stored(np.array([[0, 255], [51, 102]], np.uint8), window=(0, 255))])
    >>> samples.shape, samples[1].tolist()
    ((2, 2), [0.20000000298023224, 0.4000000059604645])
    """

    def __init__(self, parts: Sequence[Stored], rows: NDArray[np.intp] | None = None) -> None:
        self.parts = tuple(parts)
        self.starts = np.cumsum([0, *(len(part.values) for part in self.parts)])
        self.rows = rows
        self.dtype = np.result_type(*(part.dtype for part in self.parts))

    @classmethod
    def of(cls, samples: "Mapped | NDArray[Any]") -> Self:
        """Return samples of an array, or those that are mapped already, as they are."""
        parts, rows = (samples.parts, samples.rows) if isinstance(samples, Mapped) else ([Stored(samples)], None)
        return cls(parts, rows)

    def __len__(self) -> int:
        return int(self.starts[-1]) if self.rows is None else len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return (len(self), *self.parts[0].values.shape[1:])

    @property
    def ndim(self) -> int:
        """As of an array."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """As of an array."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes that all would take in memory."""
        return self.size * self.dtype.itemsize

    def __getitem__(self, index: Any) -> Any:
        first, rest = (index[0], index[1:]) if isinstance(index, tuple) else (index, ())
        if isinstance(first, (int, np.integer)):
            return self._read(np.array([range(len(self))[first]]))[(0, *rest)]
        chosen = self.choose(slice(None) if first is Ellipsis else first)
        if first is Ellipsis or rest:
            return np.asarray(chosen)[(first if first is Ellipsis else slice(None), *rest)]
        return chosen if chosen.nbytes > WHOLE else np.asarray(chosen)

    def choose(self, index: slice | ArrayLike) -> "Mapped":
        """Return the samples at an index of the first axis, without reading any."""
        chosen = np.arange(len(self))[index if isinstance(index, slice) else np.asarray(index)]
        return Mapped(self.parts, chosen if self.rows is None else self.rows[chosen])

    def unread(self) -> tuple[NDArray[Any], tuple[float, float] | None]:
        """Return the samples as they are stored, and their window; read, if the parts differ in these."""
        kinds = {(part.values.dtype, part.window) for part in self.parts}
        if len(kinds) > 1:
            return np.asarray(self), None
        plain = Mapped([Stored(part.values) for part in self.parts], self.rows)
        return np.asarray(plain), self.parts[0].window

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for start in range(0, len(self), self._step):
            yield from self._read(np.arange(start, min(start + self._step, len(self))))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("copy=False: expected True or None, as samples that lie in files are read into an array")
        whole = self._read(self._all)
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def min(self, axis: None = None, out: None = None) -> Any:
        """Return the least value of all, or nan if one is."""
        return self._end(np.min)

    def max(self, axis: None = None, out: None = None) -> Any:
        """Return the greatest value of all, or nan if one is."""
        return self._end(np.max)

    def mean(self) -> float:
        """Return the mean of all values."""
        return sum(float(part.read(at).sum(dtype=np.float64)) for part, _, at in self._pieces(self._all)) / self.size

    def _end(self, end: Any) -> Any:
        # A window keeps the order of intensities, so that the ends alone have to be converted.
        ends = [Stored(np.array([end(part.values[at])]), part.window) for part, _, at in self._pieces(self._all)]
        return end([one.read(0) for one in ends])

    def _read(self, index: NDArray[np.intp]) -> NDArray[Any]:
        found = np.empty((len(index), *self.shape[1:]), self.dtype)
        for part, own, at in self._pieces(index):
            found[own] = part.read(at)
        return found

    @property
    def _all(self) -> NDArray[np.intp]:
        return np.arange(len(self))

    @property
    def _step(self) -> int:
        return max(1, BLOCK // max(1, int(np.prod(self.shape[1:]))))

    def _pieces(self, index: NDArray[np.intp]) -> Iterator[tuple[Stored, NDArray[np.intp], slice | NDArray[np.intp]]]:
        """Yield for some samples, piece by piece, where they are stored, which of them it is, and where it is there."""
        rows = index if self.rows is None else self.rows[index]
        for part, start in zip(self.parts, self.starts, strict=False):
            here = np.flatnonzero((rows >= start) & (rows < start + len(part.values)))
            for k in range(0, len(here), self._step):
                own = here[k : k + self._step]
                at = rows[own] - start
                # A map reads neighbours much faster as a slice.
                yield part, own, slice(at[0], at[-1] + 1) if (np.diff(at) == 1).all() else at


def windowed(pixels: NDArray[Any], window: tuple[float, float]) -> NDArray[np.float32]:
    """Map the intensities of a window (low, high), in the unit of `pixels`, to [0, 1] and clip the others.

    Raises
    ------
    ValueError
        If `low` is not below `high`.
    """
    low, high = window
    if not low < high:
        raise ValueError(f"window={window!r}: expected (low, high) with low < high")
    return np.clip((pixels.astype(np.float32) - low) / np.float32(high - low), 0, 1)


def lazily(samples: object) -> TypeGuard[Mapped]:
    """Return whether samples are `Mapped`."""
    return isinstance(samples, Mapped)


def held(samples: Mapped) -> Any:
    """Return samples as an array if they take up to 256 MiB in float32, and as they are otherwise."""
    return samples if samples.size * 4 > WHOLE else np.asarray(samples)


def joined(several: Sequence[Mapped | NDArray[Any]]) -> Any:
    """Return samples one after the other; those that are mapped stay so."""
    if not any(isinstance(one, (Mapped, np.memmap)) for one in several):
        return np.concatenate([np.asarray(one) for one in several])
    mapped = [Mapped.of(one) for one in several]
    whole = Mapped([part for one in mapped for part in one.parts])
    starts = np.cumsum([0, *(int(one.starts[-1]) for one in mapped)])
    rows = [
        start + (np.arange(len(one)) if one.rows is None else one.rows)
        for one, start in zip(mapped, starts, strict=False)
    ]
    return whole.choose(np.concatenate(rows))
