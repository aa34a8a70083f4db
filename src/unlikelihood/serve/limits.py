"""What a request may take."""

from dataclasses import dataclass

from unlikelihood.parameters import Component, Count, Positive


@dataclass(frozen=True)
class Limits(Component):
    """What requests may take.

    Parameters
    ----------
    mib : int
        MiB of a request.
    unpacked : int
        MiB that a file of it may unpack to, and all archives together.
    files : int
        Files of a request.
    seconds : float
        Until a request has arrived, and again until it is answered.
    requests : int
        Requests that are received, read or scored at once; others are told to come again.
    jobs : int
        Jobs that are known at once, those that have ended among them; others are told to come again.
    kept : float
        Seconds after its end in which the rows of a job can be fetched.
    """

    mib: Count = 256
    unpacked: Count = 1024
    files: Count = 1000
    seconds: Positive = 60.0
    requests: Count = 64
    jobs: Count = 16
    kept: Positive = 900.0
