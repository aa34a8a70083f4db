"""What lies in a folder: the files that are images, and a count of those that are not."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from unlikelihood.data.dicom_image import no_image
from unlikelihood.data.image_files import is_dicom, is_image


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
    """Walk a folder; links are followed, but not into a folder that they lie in."""
    images: list[str] = []
    tables: list[str] = []
    left_out: Counter[str] = Counter()
    for file in _walk(folder, (folder.resolve(),), left_out):
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
    return Tree(folder, tuple(sorted(images)), tuple(sorted(tables)), dict(left_out))


def _walk(folder: Path, above: tuple[Path, ...], left_out: Counter[str]) -> Iterator[Path]:
    for place in sorted(folder.iterdir()):
        # Dot files are what a file system left behind, such as the ._ files of macOS.
        if place.name.startswith(".") or place.name == "__MACOSX":
            left_out["hidden files and folders"] += 1
        elif not place.is_dir():
            yield place
        elif (resolved := place.resolve()) in above:
            left_out["links to a folder that they lie in"] += 1
        else:
            yield from _walk(place, (*above, resolved), left_out)
