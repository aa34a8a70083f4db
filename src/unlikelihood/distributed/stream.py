"""Scoring what arrives in a folder, one sample after the other, into a table that only grows."""

import csv
import io
import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from unlikelihood.data.folder import FileRows, Folder
from unlikelihood.data.image_files import is_image
from unlikelihood.data.labels import Entry
from unlikelihood.data.layouts import Found
from unlikelihood.data.walk import walk
from unlikelihood.decisions.drift import Martingale
from unlikelihood.distributed.scoring import Job, Scorer, on_one_thread, score_shard
from unlikelihood.distributed.shards import Shard
from unlikelihood.progress import silent
from unlikelihood.storage.locks import alone
from unlikelihood.storage.reading import naming, printable
from unlikelihood.storage.records import sha256

DRIFT = -math.log10(Martingale.rate)  # evidence that is one
INTERVAL = 1.0  # seconds between two looks at the folder


class Record:
    """A CSV file of rows, each of which is there whole or not at all, whatever ends the process.

    Parameters
    ----------
    file : Path
        The file. A row that was not written to its end is cut off.
    columns : sequence of str
        Its columns; another head is a ValueError.
    """

    def __init__(self, file: Path, columns: list[str]) -> None:
        self.file, self.columns = file, columns
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a+b") as opened:
            opened.seek(0)
            content = opened.read()
            whole = content.rfind(b"\n") + 1
            opened.truncate(whole)
        with naming(file, "a table of scores"):
            lines = list(csv.reader(io.StringIO(content[:whole].decode(), newline="")))
            if lines and lines[0] != columns:
                raise ValueError(f"its columns are {', '.join(lines[0])}; expected {', '.join(columns)}")
            self.rows = [dict(zip(columns, line, strict=True)) for line in lines[1:]]
        if not lines:
            self._write(columns)

    def append(self, row: dict[str, Any]) -> None:
        """Write a row, and wait until the disk holds it."""
        self._write(["" if row.get(name) is None else row[name] for name in self.columns])

    def _write(self, values: list[Any]) -> None:
        text = io.StringIO()
        csv.writer(text).writerow(values)
        with self.file.open("r+b", buffering=0) as opened:
            end = opened.seek(0, os.SEEK_END)
            data = memoryview(text.getvalue().encode())
            try:
                while data:
                    data = data[opened.write(data) :]
                os.fsync(opened.fileno())
            except BaseException:
                opened.truncate(end)
                raise


def watch(
    model: Path, folder: Folder, out: Path, *, alpha: float | None = None, device: str = "auto", once: bool = False
) -> Iterator[dict[str, Any]]:
    """Score images as they arrive in a folder, and yield the rows that are appended to a table.

    An image is complete, and is scored, when its size and time are the same at two looks a second apart; hidden files
    are left alone, so that ``.name`` can be written and renamed. Each is scored alone, so that its score does not
    depend on what arrives with it, and once by its name. What cannot be read or scored is a row with its reason.

    Parameters
    ----------
    model : Path
        Folder of a fitted detector.
    folder : Folder
        Where images arrive, and how they are read.
    out : Path
        The table, a CSV file. If it is there, names in it are not scored again, and the drift test goes on with it.
    alpha : float, optional
        Share of normals that may be called anomalous.
    device : str
        Where the model computes.
    once : bool
        End when everything that is there is scored.

    Yields
    ------
    dict
        A row: name, anomaly_score, p_value and decision where there are some, evidence of drift, reason, and model.

    Raises
    ------
    ValueError
        If the table holds something else, or scores of another model.
    TimeoutError
        If another process writes to the table.
    """
    place = Path(folder.path).expanduser()
    if not place.is_dir():
        raise NotADirectoryError(f"folder is {str(place)!r}, expected a folder in which images arrive")
    scorer = Scorer(Job(model, folder, alpha, device=device))
    identity = sha256((model / "detector.json").read_bytes())[:16]
    own = [name for name in scorer.kinds if name not in ("label", "group", "reason")]
    columns = [*own, "evidence", "reason", "model"]
    calibration = getattr(scorer.detector, "calibration_", None)
    follow = None if calibration is None else Martingale().follow(calibration)
    with alone(out, patience=0), silent(), on_one_thread():
        record = Record(out, columns)
        for before in record.rows:
            if before["model"] != identity or (alpha is not None and before["alpha"] not in ("", str(alpha))):
                raise ValueError(f"out is {str(out)!r}, which has scores of another model or α: expected a new file")
            if follow is not None and before["anomaly_score"]:
                follow(-float(before["anomaly_score"]))
        known = {before["name"] for before in record.rows}
        del record.rows
        for name in arriving(place, known, once=once):
            rows = FileRows(replace(folder, skip_unreadable=False), Found("", [Entry(name)], {}))
            found = [each for each in score_shard(scorer, rows, Shard(0, 0, 1)) if each is not None][-1]
            if found.table is None:
                continue
            row: dict[str, Any] = {name: found.table[name].tolist()[0] for name in columns if name in found.table}
            row = {name: value for name, value in row.items() if value is not None and value == value}  # nan is not
            if follow is not None and "anomaly_score" in row:
                row["evidence"] = follow(-row["anomaly_score"])
            row["model"] = identity
            record.append(row)
            yield row


def arriving(folder: Path, known: set[str], *, once: bool = False) -> Iterator[str]:
    """Yield the paths of images in a folder that are complete and not yet `known`, to which they are added.

    Parameters
    ----------
    folder : Path
        The folder, which is looked into again and again.
    known : set of str
        Paths, as they can be printed.
    once : bool
        End when all that is there is known.
    """
    before: dict[str, tuple[int, int]] = {}
    while True:
        now: dict[str, tuple[int, int]] = {}
        for file in _files(folder):
            name = file.relative_to(folder).as_posix()
            if printable(name) not in known:
                with suppress(OSError):  # it is gone
                    at = file.stat()
                    now[name] = at.st_size, at.st_mtime_ns
        for name in [name for name, state in now.items() if before.get(name) == state]:
            known.add(printable(name))
            del now[name]
            yield name
        if once and not now:
            return
        before = now
        time.sleep(INTERVAL)


def _files(folder: Path) -> list[Path]:
    try:
        return [file for file in walk(folder, Counter()) if is_image(file)]
    except OSError:
        if not folder.is_dir():
            raise
        return []  # a folder in it went while it was looked into
