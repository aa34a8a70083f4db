"""Folders of files that sub-folders or a table label."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from unlikelihood.data.labels import Entry as Entry
from unlikelihood.data.labels import Names, entries_of
from unlikelihood.data.labels import read_table as read_table
from unlikelihood.data.source import RandomSplitSource, existing


@dataclass(frozen=True, kw_only=True)
class LabelledFolder(RandomSplitSource):
    """Files in a folder, labelled by its sub-folders or by a table, or not at all.

    Without a table, the sub-folders called `normal` and `anomalous` are read, with all folders in them; other
    sub-folders are not. If there are none of them, all that is in the folder is read, unlabelled. Links are followed; a
    file that several lead to is read once, and is an error in two classes.

    Further parameters are those of `RandomSplitSource`.

    Parameters
    ----------
    path : str or Path
        The folder.
    table : str or Path, optional
        CSV file with the column file (relative to `path`) and, as far as they are known, label (0 or 1, or the name of
        a class), group (patients, who must not be split), split (train, valid or test) and mask (an image of what is
        anomalous, not 0 there). Only the files in it are read, in its order.
    normal : tuple of str
        What normals are called: their sub-folders, and their labels in a table.
    anomalous : tuple of str, optional
        What anomalies are called, such as ("crack", "hole"); an empty tuple says that there are none. If no sub-folder
        is called `normal`, all others are normal. Unless given, "anomalous", and beside normals in published parts all
        other classes.
    """

    path: str | Path = field(kw_only=False)
    table: str | Path | None = None
    normal: tuple[str, ...] | str = ("normal", "good")
    anomalous: tuple[str, ...] | str | None = None

    @property
    def names(self) -> Names:
        """What the classes are called."""
        return Names.of(self.normal, self.anomalous)

    def labelled_folders(self, folder: Path) -> list[tuple[Path, int | None]]:
        """Return the sub-folders to read with the label of what is in them, or `folder` with None."""
        labels = (
            self.names.labels(place.name for place in folder.iterdir() if place.is_dir()) if folder.is_dir() else {}
        )
        return [(folder / name, label) for name, label in labels.items()] or [(folder, None)]

    def label_in(self, row: Mapping[str, str], column: str, where: str) -> int:
        """Return the label that a row of the table has in a column: 0 normal, 1 anomalous."""
        return self.names.label_in(row, column, where)

    def table_entries(self) -> list[Entry]:
        """Return what the table lists."""
        return entries_of(existing("table", str(self.table)), self.names, Path(self.path).expanduser())
