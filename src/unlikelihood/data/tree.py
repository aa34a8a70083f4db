"""What lies in a folder: the files that are images, and a count of those that are not."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from unlikelihood.data.dicom_image import no_image
from unlikelihood.data.image_files import is_dicom, is_image
from unlikelihood.data.walk import walk


@dataclass(frozen=True)
class Tree:
    """The images in a folder and in all folders in it, by their paths there, in order.

    Parameters
    ----------
    folder : Path
        The folder.
    images : tuple of str
        Paths in it, with forward slashes.
    tables : tuple of str
        CSV files in the folder itself.
    left_out : dict of str to int
        What else is there, by kind, and how many of it.
    """

    folder: Path
    images: tuple[str, ...]
    tables: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)


def tree_of(folder: Path) -> Tree:
    """Walk a folder; see `walk`. What has the name of an image is one, whatever it is: reading it will say."""
    images: list[str] = []
    tables: list[str] = []
    left_out: Counter[str] = Counter()
    for file in walk(folder, left_out):
        path = file.relative_to(folder).as_posix()
        if is_image(file):
            if is_dicom(file) and (kind := no_image(file)):
                left_out[f"DICOM files: {kind}"] += 1
            else:
                images.append(path)
        elif file.suffix.lower() == ".csv" and file.parent == folder:
            tables.append(path)
        else:
            left_out[f"files that are no images ({file.suffix.lower() or 'no suffix'})"] += 1
    return Tree(folder, tuple(images), tuple(tables), dict(left_out))
