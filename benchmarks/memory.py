"""The memory that a process has held, as Linux tells it."""

from pathlib import Path


def peak(process: int | str = "self") -> float:
    """Return the most memory that a process ever held, in MiB; getrusage would count what its parent held too."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
