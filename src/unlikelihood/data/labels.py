"""What is normal and what is anomalous, by the names of classes, and the tables that say it file by file."""

import codecs
import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from unlikelihood.data.walk import inside
from unlikelihood.storage.reading import naming, no_file

# What folders, or the split column of a table, call the part that a publisher puts an image in.
PARTS = {
    "train": "train",
    "valid": "calibration",
    "val": "calibration",
    "validation": "calibration",
    "calibration": "calibration",
    "test": "test",
}


class Entry(NamedTuple):
    """A sample by its path in the folder, with its label, group, part and mask file as far as they are known."""

    file: str
    label: int | None = None
    group: str | None = None
    part: str | None = None
    mask: str | None = None


@dataclass(frozen=True)
class Names:
    """What the normal classes are called, and what the anomalous ones, in any case; None where it is not known."""

    normal: tuple[str, ...]
    anomalous: tuple[str, ...] | None = None

    @classmethod
    def of(cls, normal: tuple[str, ...] | str | None, anomalous: tuple[str, ...] | str | None) -> Self:
        """Return the names that parameters give: one for a class, or several."""
        several, others = ((names,) if isinstance(names, str) else names for names in (normal, anomalous))
        return cls(tuple(several or ()), None if others is None else tuple(others))

    def labels(self, classes: Iterable[str], *, defects: bool = False) -> dict[str, int]:
        """Return the labels of those classes that have one: 0 normal, then 1 anomalous.

        Where anomalous classes were named and no normal one is there, all others are normal. Where none was named,
        "anomalous" is one, and with `defects` every class beside a normal one.

        Raises
        ------
        ValueError
            If an anomalous class that was named is not there, or is called normal too.
        """
        known = {name.casefold(): name for name in sorted(classes)}
        normal = [known[name] for name in map(str.casefold, self.normal) if name in known]
        if self.anomalous is None:
            anomalous = [name for key, name in known.items() if key == "anomalous" or (defects and normal)]
            anomalous = [name for name in anomalous if name not in normal]
        else:
            if lost := [name for name in self.anomalous if name.casefold() not in known]:
                raise ValueError(f"anomalous={lost[0]!r}: expected some of the classes {sorted(known.values())}")
            anomalous = [known[name.casefold()] for name in self.anomalous]
            normal = normal or [name for name in known.values() if name not in anomalous]
        if both := [name for name in normal if name in anomalous]:
            raise ValueError(f"normal={self.normal!r} and anomalous={self.anomalous!r} both name {both[0]!r}")
        return dict.fromkeys(normal, 0) | dict.fromkeys(anomalous, 1)

    def label_in(self, row: Mapping[str, str], column: str, where: str) -> int:
        """Return the label that a row of a table has in a column: 0 normal, 1 anomalous."""
        anomalous = ("anomalous",) if self.anomalous is None else self.anomalous
        # Where classes are numbers, 0 and 1 may be any two of them.
        numbers = {} if any(name.isdigit() for name in (*self.normal, *anomalous)) else {"0": 0, "1": 1}
        known = numbers | dict.fromkeys(self.normal, 0) | dict.fromkeys(anomalous, 1)
        if row[column] not in known:
            raise ValueError(f"{where}: {column}={row[column]!r}, expected one of {', '.join(known)}")
        return known[row[column]]


def refuse_nested(places: Iterable[tuple[str, tuple[str, ...]]], labels: Mapping[str, int]) -> None:
    """Raise if a sample lies in a class within one of the other label.

    Parameters
    ----------
    places : iterable of tuple
        Each sample, and the folders that it lies in, of which the first is its class.
    labels : mapping of str to int
        Of the classes that have one.
    """
    kind = {name.casefold(): label for name, label in labels.items()}
    for sample, (name, *within) in (
        (sample, folders) for sample, folders in places if folders and folders[0] in labels
    ):
        if other := next((one for one in within if kind.get(one.casefold(), labels[name]) != labels[name]), ""):
            raise ValueError(f"{sample} lies in {name!r} and in {other!r}, expected in one class")


def columns_of(table: Path) -> list[str]:
    """Return the columns of what may be a CSV file, none of what is no file."""
    if no_file(table):
        return []
    with table.open("rb") as content:
        start = _text(content.read(2**16), errors="replace")
    return next(csv.reader(io.StringIO(start, newline="")), [])


def read_table(
    table: Path, needed: Sequence[str], called: str = "table"
) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the columns of a CSV file, which must have those `needed`, and its rows, each after its line's number.

    It is in UTF-8, or in the UTF-16 that its first bytes say. A ValueError names the line that cannot be read, or has
    not a cell for every column. It names the parameter that the file was given by, which is `called` so.
    """
    with naming(table, "a table"):
        content = table.read_bytes()
        try:
            text = _text(content)
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise ValueError(f"line {line} is not in {error.encoding.upper()}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    rows = []
    try:
        for cells in reader:
            where = f"{called}={table}, line {reader.line_num}"
            if any("\0" in cell for cell in cells):
                raise ValueError(f"{where}: holds NUL, expected text")
            if not columns:
                columns = _columns(f"{called}={table}", cells, needed)
            elif len(cells) != len(columns) and any(cells):
                raise ValueError(f"{where}: has {len(cells)} cells, expected one for each of {len(columns)} columns")
            elif any(cells):
                rows.append((reader.line_num, dict(zip(columns, cells, strict=True))))
    except csv.Error as error:
        raise ValueError(f"{called}={table}, line {reader.line_num}: cannot be read as a table ({error})") from error
    if not rows:
        raise ValueError(f"{called}={table} has no rows")
    return columns, rows


def _text(content: bytes, errors: str = "strict") -> str:
    # Excel begins its CSV files with a mark.
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf16 else "utf-8-sig", errors)


def _columns(table: str, columns: list[str], needed: Sequence[str]) -> list[str]:
    if missing := [column for column in needed if column not in columns]:
        raise ValueError(f"{table} has the columns {str(columns)[:200]}, expected {missing} too")
    if twice := [column for k, column in enumerate(columns) if column and column in columns[:k]]:
        raise ValueError(f"{table}, line 1: the column {twice[0]!r} is there twice, expected it once")
    return columns


def entries_of(table: Path, names: Names, folder: Path) -> list[Entry]:
    """Read a table of the files in a folder.

    A ValueError names the line in which a value is missing or unknown, a file is named again, or one outside the
    folder.
    """
    columns, rows = read_table(table, ["file"])
    entries: dict[str, Entry] = {}
    for line, row in rows:
        where, file = f"table={table}, line {line}", row["file"]
        if os.path.normpath(file) in entries:
            raise ValueError(f"{where}: file={file!r} for the second time, expected it once")
        for column in ("file", "mask"):
            if not inside(folder, row.get(column, "")) or not file:
                raise ValueError(f"{where}: {column}={row[column][:99]!r}, expected a path in {folder}")
        if "group" in columns and not row["group"]:
            raise ValueError(f"{where}: group={row['group']!r}, expected one for every file")
        part = row.get("split")
        if "split" in columns and str(part).casefold() not in PARTS:
            raise ValueError(f"{where}: split={part!r}, expected one of {', '.join(PARTS)}")
        entries[os.path.normpath(file)] = Entry(
            file,
            names.label_in(row, "label", where) if "label" in columns else None,
            row.get("group"),
            PARTS[part.casefold()] if part else None,
            row.get("mask") or None,
        )
    return list(entries.values())
