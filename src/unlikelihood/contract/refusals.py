"""Samples about which nothing can be said: whatever is not finite, or float32 loses, is an error and never a score."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

SWALLOWS = 2.0**24  # how many times larger a float32 number is than one that is lost when it is added
STEPS = 8  # fewer float32 numbers than this from the lowest value to the highest tell no samples apart


class NotExportable(ValueError):
    """A detector whose score is more than a graph of operations can hold."""


class NoVerdict(ValueError):
    """Nothing can be said about some of the samples.

    Parameters
    ----------
    why : str
        With braces where the samples are named.
    which : ndarray of bool, shape (n,)
        The samples.
    """

    def __init__(self, why: str, which: NDArray[np.bool_]) -> None:
        self.why = why
        self.which = which
        super().__init__(why.format(self.named("row", np.arange(len(which)))))

    def named(self, word: str, names: NDArray[np.generic]) -> str:
        """Return how many samples these are and which, by their `names` (n,) after a `word`."""
        few = [str(names[row]) for row in np.flatnonzero(self.which)[:6]]
        listed = ", ".join([*few[:5], *["…"][: len(few) - 5]])
        return f"{int(self.which.sum())} of {len(self.which)} samples ({f'{word} {listed}'.strip()})"


@contextmanager
def naming(names: NDArray[np.str_] | None) -> Iterator[None]:
    """Let `NoVerdict` inside the block name samples by their names (n,), where they have some."""
    try:
        yield
    except NoVerdict as error:
        if names is not None and len(names) == len(error.which):
            error.args = (error.why.format(error.named("", names)),)
        raise


def finite_scores(detector: str, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores (n,), or raise `NoVerdict` if one is not finite."""
    if not (finite := np.isfinite(scores)).all():
        values = " or ".join(np.unique(scores[~finite]).astype(str))
        raise NoVerdict(
            f"{detector}: the score is {values} for {{}}: no normal scores like that; take those out or clip their "
            "values",
            ~finite,
        )
    return scores


def finite_maps(detector: str, found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return maps (n, ...), or raise `NoVerdict` if one is not finite."""
    if not (finite := np.array([np.isfinite(each).all() for each in found])).all():
        raise NoVerdict(f"{detector}: the map is not finite for {{}}: no normal is like that", ~finite)
    return found


def refuse_unfit(X: NDArray[np.generic], ends: tuple[float, float]) -> None:
    """Raise if samples that a detector shall learn from, of values between `ends`, are not fit for float32."""
    refuse_infinite(X, ends)
    largest = max(-ends[0], ends[1])
    most = float(np.finfo(np.float32).max)
    if largest > most:
        which = np.array([np.abs(x).max() > most for x in X])
        raise NoVerdict("X contains infinity or a value too large for float32 in {}", which)
    if 0 < ends[1] - ends[0] < STEPS * np.finfo(np.float32).eps * largest:
        raise ValueError(
            f"X has values from {ends[0]!r} to {ends[1]!r}, which float32 hardly tells apart: subtract their mean"
        )


def most_beside(seen: tuple[float, float]) -> float:
    """Return the largest value beside which float32 does not lose those between `seen`."""
    return SWALLOWS * (max(-seen[0], seen[1]) or 1.0)


def refuse_extreme(detector: str, X: NDArray[np.generic], ends: tuple[float, float], seen: tuple[float, float]) -> None:
    """Raise if samples of values between `ends` have some beside which float32 loses those between `seen`."""
    refuse_infinite(X, ends)
    most = most_beside(seen)
    if (largest := max(-ends[0], ends[1])) > most:
        raise NoVerdict(
            f"X has values up to {largest:g} in {{}}, but this {detector} was fitted on {seen[0]:g} to {seen[1]:g}, "
            "which float32 loses beside those: no normal is like that; take those out or clip them",
            np.array([np.abs(x).max() > most for x in X]),
        )


def refuse_infinite(X: NDArray[np.generic], ends: tuple[float, float]) -> None:
    """Raise if samples of values between `ends` have some that are not finite."""
    if not np.isfinite(ends).all():
        raise NoVerdict("X contains NaN or infinity in {}", np.array([not np.isfinite(x).all() for x in X]))


def check_state(detector: str, state: Mapping[str, Any]) -> None:
    """Raise if what a file holds of a fitted detector is not what a `fit` could have left."""
    shape = state.get("shape_", ())
    if not (isinstance(shape, tuple) and all(type(size) is int and size > 0 for size in shape)):
        raise ValueError(f"{detector}: shape_ is {shape!r}, expected sizes of 1 and more")
    known = np.asarray(state.get("calibration_", ()))
    if known.ndim != 1 or not np.isfinite(known).all() or (np.diff(known) < 0).any():
        raise ValueError(f"{detector}: calibration_ holds {known.shape} scores, expected finite ones in rising order")


def judged(
    score: Callable[[NDArray[Any]], NDArray[Any]], X: NDArray[Any]
) -> tuple[NDArray[np.float64], dict[int, str]]:
    r"""Return the scores (n,) of samples (n, \*shape), nan where nothing can be said, and by row the reason of that."""
    from unlikelihood.contract.blocks import rows as chosen  # only here: a refusal needs no torch

    scores, why = np.full(len(X), np.nan), {}
    waiting = [np.arange(len(X))]
    while waiting:
        rows = waiting.pop()
        try:
            scores[rows] = score(X if len(rows) == len(X) else chosen(X, rows))
        except NoVerdict as error:
            if len(rows) == 1:
                why[int(rows[0])] = error.why.format("it")
            elif len(error.which) == len(rows) and error.which.any():
                # Each by itself, for what is said of all together is not true of every one.
                waiting += (
                    [rows[~error.which], *rows[error.which][:, None]] if not error.which.all() else [*rows[:, None]]
                )
            else:
                waiting += np.array_split(rows, 2)  # the samples that are named are parts of these
    return scores, why
