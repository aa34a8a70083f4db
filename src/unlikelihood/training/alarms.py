"""Warnings that a fit or a score carries no information."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_told: ContextVar[bool] = ContextVar("_told", default=False)


class NothingLearnt(UserWarning):
    """Training or scoring ran, but its result carries no information."""


class NotTrustworthy(UserWarning):
    """A detector scores with a part that was found bad after its training."""


@contextmanager
def told() -> Iterator[bool]:
    """Yield whether a detector that this one is a part of has told of its parts' alarms already."""
    before = _told.get()
    token = _told.set(True)
    try:
        yield before
    finally:
        _told.reset(token)
