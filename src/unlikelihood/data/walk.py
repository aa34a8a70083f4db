"""The files in a folder and in all folders in it, each once however links lead to it."""

import os
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path


def walk(folder: Path, left_out: Counter[str]) -> list[Path]:
    """Return what lies in a folder and in all folders in it, other than folders, in the order of the paths.

    Links are followed. Within each folder of the top, a folder is looked into once, by its own path if it has one
    there; and never from within itself.

    Parameters
    ----------
    folder : Path
        The folder.
    left_out : Counter
        Counts what is not looked into, by its kind.
    """
    found: list[Path] = []
    root = folder.resolve()
    for top in _entries(folder, left_out):
        if top.is_dir():
            found += _below(top, root, left_out)
        else:
            found.append(top)
    return sorted(found, key=lambda file: file.parts)


def _below(top: Path, root: Path, left_out: Counter[str]) -> Iterable[Path]:
    waiting: deque[tuple[Path, tuple[Path, ...]]] = deque([(top, (root,))])
    seen: set[Path] = set()
    while waiting:
        place, above = waiting.popleft()
        real = place.resolve()
        if real in above:
            left_out["links to a folder that they lie in"] += 1
        elif real in seen:
            left_out["links to a folder that is read already"] += 1
        else:
            seen.add(real)
            for entry in _entries(place, left_out):
                if not entry.is_dir():
                    yield entry
                elif entry.is_symlink():
                    waiting.append((entry, (*above, real)))
                else:
                    waiting.appendleft((entry, (*above, real)))


def _entries(folder: Path, left_out: Counter[str]) -> Iterable[Path]:
    for place in sorted(folder.iterdir(), key=lambda file: file.name):
        # Dot files are what a file system left behind, such as the ._ files of macOS, or a process that was killed.
        if place.name.startswith(".") or place.name == "__MACOSX":
            left_out["hidden files and folders"] += 1
        else:
            yield place


def real_paths(files: Iterable[str | Path]) -> list[str]:
    """Return the paths of files without links; each folder is looked up once."""
    folders: dict[str, str] = {}
    found = []
    for file in files:
        if os.path.islink(file):
            found.append(os.path.realpath(file))  # which a link to itself has too
        else:
            folder, name = os.path.split(file)
            if folder not in folders:
                folders[folder] = os.path.realpath(folder)
            found.append(os.path.join(folders[folder], name))
    return found


def files_in(folder: Path, left_out: Counter[str] | None = None) -> list[Path]:
    """Return the files in a folder and all folders in it, each once, by the shortest of its paths; see `walk`."""
    left_out = Counter() if left_out is None else left_out
    found = sorted(walk(folder, left_out), key=lambda file: (len(file.parts), file))
    once: dict[str, Path] = {}
    for file, real in zip(found, real_paths(found), strict=True):
        once.setdefault(real, file)
    if len(once) < len(found):
        left_out["links to files that are read already"] += len(found) - len(once)
    return sorted(once.values())


def inside(folder: Path, file: str | Path) -> bool:
    """Return whether a path that is written down for a file of a folder stays in it, whatever links lie there."""
    return Path(os.path.normpath(folder / file)).is_relative_to(os.path.normpath(folder))
