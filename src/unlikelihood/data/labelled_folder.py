"""Folders of files that sub-folders or a table label."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from unlikelihood.data.source import RandomSplitSource, existing


class Entry(NamedTuple):
    """A sample by its path in the folder, with its label and group as far as they are known."""

    file: str
    label: int | None = None
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class LabelledFolder(RandomSplitSource):
    """Files in a folder, labelled by its sub-folders or by a table, or not at all.

    Without a table, the sub-folders `normal` and `anomalous` are read, with all folders in them; other sub-folders are
    not. If there are none of them, what is in the folder itself is read, unlabelled.

    Further parameters are those of `RandomSplitSource`.

    Parameters
    ----------
    path : str or Path
        The folder.
    table : str or Path, optional
        CSV file with the columns file (relative to `path`), label and, if patients must not be split, group. Only the
        files in it are read, in its order.
    normal : str
        What normals are called: their sub-folder, and their label in a table, where 0 will do too.
    anomalous : str
        What anomalies are called: their sub-folder, and their label in a table, where 1 will do too.
    """

    path: str | Path
    table: str | Path | None = None
    normal: str = "normal"
    anomalous: str = "anomalous"

    def labelled_folders(self, folder: Path) -> list[tuple[Path, int | None]]:
        """Return the sub-folders to read with the label of what is in them, or `folder` with None."""
        classes = [(folder / self.normal, 0), (folder / self.anomalous, 1)]
        return [(place, label) for place, label in classes if place.is_dir()] or [(folder, None)]

    def label_in(self, row: Mapping[str, str], column: str, where: str) -> int:
        """Return the label that a row of the table has in a column: 0 normal, 1 anomalous."""
        labels = {"0": 0, "1": 1, self.normal: 0, self.anomalous: 1}
        if row[column] not in labels:
            raise ValueError(f"{where}: {column}={row[column]!r}, expected one of {', '.join(labels)}")
        return labels[row[column]]

    def table_entries(self) -> list[Entry]:
        """Read the table; a ValueError names the line in which a label or group is missing, or a file repeated."""
        table = existing("table", str(self.table))
        columns, rows = read_table(table, ("file", "label"))
        entries: dict[str, Entry] = {}
        for line, row in rows:
            where, file = f"table={table}, line {line}", row["file"]
            label = self.label_in(row, "label", where)
            if file in entries:
                raise ValueError(f"{where}: file={file!r} for the second time, expected it once")
            if "group" in columns and not row["group"]:
                raise ValueError(f"{where}: group={row['group']!r}, expected one for every file")
            entries[file] = Entry(file, label, row.get("group"))
        return list(entries.values())


def read_table(table: Path, needed: Sequence[str]) -> tuple[list[str], list[tuple[int, dict[str, Any]]]]:
    """Return the columns of a CSV file, which must have those `needed`, and its rows, each after its line's number."""
    with table.open(newline="", encoding="utf-8-sig") as lines:  # Excel begins its CSV files with a mark
        reader = csv.DictReader(lines)
        columns = list(reader.fieldnames or [])
        if missing := [column for column in needed if column not in columns]:
            raise ValueError(f"table={table} has the columns {columns}, expected {missing} too")
        rows = [(reader.line_num, row) for row in reader]
    if not rows:
        raise ValueError(f"table={table} has no rows")
    return columns, rows
