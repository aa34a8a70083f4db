"""What a command leaves behind: never in place of something else unasked, and named in its last line."""

import json
import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from unlikelihood.contract.detector import Detector
from unlikelihood.data.images import Images
from unlikelihood.data.source import Source
from unlikelihood.storage.provenance import provenance
from unlikelihood.storage.tables import Columns

DATA = "data.json"  # beside a model: where its samples went, and what command fitted it


def refuse_existing(overwrite: bool, **places: Path | None) -> None:
    """Raise a ValueError if a file, or a folder that is not empty, is where a result is to be written."""
    for name, place in places.items():
        if not overwrite and place is not None and place.exists() and (place.is_file() or any(place.iterdir())):
            raise ValueError(f"{name} is {str(place)!r}, which exists: --overwrite replaces it")


def fitted_on(out: Path) -> str | None:
    """Return the date and time at which the command that runs has ended before and left its model in a folder."""
    try:
        record = json.loads((out / DATA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record["date"] if record["command"] and record["command"] == provenance()["command"] else None


def done(command: str, **facts: Any) -> None:
    """Print what a command did, as the last line: names and values, for people and for programs."""
    values = {name: f"{value:.1f}" if isinstance(value, float) else str(value) for name, value in facts.items()}
    print(f"{command}:", *(f"{name}={json.dumps(v) if ' ' in v else v}" for name, v in values.items()), flush=True)


def called(table: Columns, alpha: float | None) -> dict[str, Any]:
    """Return what the last line says of decisions at α: how many samples are called anomalous; nothing without α."""
    return {} if alpha is None else {"anomalous": (table["decision"] == "anomalous").sum(), "alpha": f"{alpha:g}"}


@contextmanager
def warning_in_one_line() -> Iterator[None]:
    """Print what is warned of in the block without the place in the code."""
    with warnings.catch_warnings():
        warnings.showwarning = _one_line
        yield


def _one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"unlikelihood: warning: {message}", file=sys.stderr)


def refuse_other_shape(images: Images, detector: Detector, data: Source) -> None:
    """Raise if samples have another shape than those that the model was fitted to; say which flag brings them to it."""
    shape, fitted = images.shape, detector.shape_
    if len(images) and shape != fitted:
        size = f"{fitted[1]}" if fitted[1:] == fitted[1:2] * 2 else f"[{','.join(map(str, fitted[1:]))}]"
        sized = len(shape) == len(fitted) == 3 and hasattr(data, "size")
        flag = f"; --data.size={size} brings images to a size" if sized else ""
        raise ValueError(f"data has samples of shape {shape}, expected {fitted}, as the model was fitted to{flag}")


def note_seen(n: int, of: int) -> None:
    """Say on standard error that some samples were trained on, if any were."""
    if n:
        print(f"note: {n} of the {of} samples were trained on: their p-values are too high", file=sys.stderr)


def attainable(alpha: float | None, known: int) -> float | None:
    """Return α if so many calibration normals can hold false alarms to it, else None, and say so."""
    if alpha is None or not 0 < alpha < 1 / (known + 1):
        return alpha
    print(
        f"note: no decisions: {known} calibration normals cannot hold false alarms to {alpha:g}, "
        f"which takes {math.ceil(1 / alpha - 1e-9) - 1}",
        file=sys.stderr,
    )
    return None
