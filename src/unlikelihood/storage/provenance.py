"""Where a figure came from, in plain values that JSON can hold."""

import math
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("unlikelihood", "torch", "numpy", "scipy", "scikit-learn")


def provenance() -> dict[str, str | None]:
    """Return the command that runs, the commit, the time in UTC, the machine, and the versions of what runs on it.

    None stands for a package that is not installed, for the command unless it is `unlikelihood`, and for the commit
    unless the package runs from its repository.
    """
    called = Path(sys.argv[0]).parts[-2:] if sys.argv else ()
    return {
        "command": shlex.join(["unlikelihood", *sys.argv[1:]]) if "unlikelihood" in called else None,
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "processor": processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }


@cache
def commit() -> str | None:
    """Return the commit of the repository that this package runs from, with "-dirty" if files differ from it.

    Known at the first call, so that a long run names what it began with.
    """
    try:
        # An installed package may lie inside somebody's repository without being part of it.
        _git("ls-files", "--error-unmatch", __file__)
        return _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def processor() -> str | None:
    """Return the processor's model, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def display_name(detector: Any) -> str:
    """Return a detector's class and, in brackets, those of the detectors inside it: ``LatentSearch(DCGAN)``."""
    values = detector.get_params(deep=False).values()
    parts = [part for value in values for part in (value if isinstance(value, (list, tuple)) else [value])]
    inner = ", ".join(display_name(part) for part in parts if hasattr(part, "score_samples"))
    return f"{type(detector).__name__}({inner})" if inner else type(detector).__name__


def plain(value: Any) -> Any:
    """Return what strict JSON can hold of a value.

    Arrays become lists, mappings dictionaries, estimators their class and parameters, numbers that are not finite and
    anything unknown their text.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return float(value) if math.isfinite(value) else str(float(value))
        case np.generic() | np.ndarray():
            return plain(value.tolist())
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case Sequence() | set() | frozenset():
            return [plain(item) for item in value]
    if hasattr(value, "get_params"):
        return {"class": type(value).__name__} | plain(value.get_params(deep=False))
    return str(value)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
