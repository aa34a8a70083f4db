"""Warnings that a fit or a score carries no information."""


class NothingLearnt(UserWarning):
    """Training or scoring ran, but its result carries no information."""


class NotTrustworthy(UserWarning):
    """A detector scores with a part that was found bad after its training."""
