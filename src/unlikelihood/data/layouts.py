"""How the images of a folder are arranged, and what that says of each of them.

A layout is a function that says what it finds in a folder of its kind, and None of any other.
"""

import os
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from unlikelihood.data.labels import PARTS, Entry, Names, columns_of, entries_of, refuse_nested
from unlikelihood.data.tree import Tree
from unlikelihood.data.walk import real_paths

MASKS = ("ground_truth", "masks")  # folders of the masks of what lies beside them
KINDS = {None: "", 0: "(normal)", 1: "(anomalous)"}
UNNAMED = "images in {}, which nobody called normal or anomalous"


@dataclass(frozen=True)
class Found:
    """The images that are read, how they are arranged in words, and how many others are not read, by reason."""

    layout: str
    entries: list[Entry]
    left_out: dict[str, int]


def found_in(tree: Tree, names: Names, table: Path | None = None) -> Found:
    """Return what the first layout that fits finds in a folder: a table if there is one."""
    table = table or _table_in(tree)
    found = tabled(tree, names, table) if table else next(filter(None, (layout(tree, names) for layout in LAYOUTS)))
    entries, rest = _once(tree.folder, found.entries)
    rest["tables that are not read"] = sum(tree.folder / name != table for name in tree.tables)
    return Found(found.layout, entries, dict(tree.left_out | found.left_out | +rest))


def tabled(tree: Tree, names: Names, table: Path) -> Found:
    """Take what a table lists, in its order."""
    entries = entries_of(table, names, tree.folder)
    listed = {name for entry in entries for name in (entry.file, entry.mask)}
    rest = sum(file not in listed for file in tree.images)
    return _found(f"table {table.name}", entries, ["images that the table does not list"] * rest)


def parts(tree: Tree, names: Names) -> Found | None:
    """Read train, test and maybe valid folders, in which class folders lie, as in MVTec AD, BMAD and many others.

    Images that lie in no class folder of a train or valid folder are normal.
    """
    images, masks = _masks(tree.images)
    inside = {file: PurePosixPath(file).parts[:-1] for file in images}
    part_of = {
        file: PARTS[place[0].casefold()] for file, place in inside.items() if place and place[0].casefold() in PARTS
    }
    class_of = {file: "/".join(inside[file][1:2]) for file in part_of}
    if not part_of or (len(set(part_of.values())) == 1 and len(part_of) < len(images)):
        return None  # nothing like it, or a class of images that happens to be called train
    labels = names.labels(set(class_of.values()) - {""}, defects=True)
    refuse_nested(((file, inside[file][1:]) for file in part_of), labels)
    if not labels and all(class_of.values()):
        return None
    entries, rest = [], []
    for file in images:
        if file not in part_of:
            rest.append("images beside the published parts")
        elif (name := class_of[file]) and name not in labels:
            rest.append(UNNAMED.format("/".join(inside[file][:2])))
        else:
            label = labels[name] if name else None if part_of[file] == "test" else 0
            entries.append(Entry(file, label, part=part_of[file], mask=_mask_of(file, masks)))
    folders = ", ".join(
        sorted({inside[entry.file][0] for entry in entries}, key=lambda name: [*PARTS].index(name.casefold()))
    )
    return _found(f"published parts {folders}{_in_words(labels)}", entries, rest + _unused(masks, entries))


def class_folders(tree: Tree, names: Names) -> Found | None:
    """Read folders of normals and of anomalies, whatever they are called."""
    images, masks = _masks(tree.images)
    top = {file: PurePosixPath(file).parts[0] if "/" in file else "" for file in images}
    labels = names.labels(set(top.values()) - {""})
    refuse_nested(((file, PurePosixPath(file).parts[:-1]) for file in images), labels)
    entries = [
        Entry(file, label, mask=_mask_of(file, masks))
        for name, label in labels.items()
        for file in images
        if top[file] == name
    ]
    if not entries:
        return None
    rest = [
        UNNAMED.format(name) if name else "images beside the class folders"
        for name in top.values()
        if name not in labels
    ]
    return _found(f"class folders{_in_words(labels)}", entries, rest + _unused(masks, entries))


def flat(tree: Tree, names: Names) -> Found:
    """Take all images, of which no label is known."""
    images, masks = _masks(tree.images)
    nested = any("/" in file for file in images)
    return _found(
        f"{'folders' if nested else 'one folder'} without labels",
        [Entry(file) for file in images],
        _unused(masks, []),
    )


LAYOUTS: tuple[Callable[[Tree, Names], Found | None], ...] = (parts, class_folders, flat)


def _once(folder: Path, entries: list[Entry]) -> tuple[list[Entry], Counter[str]]:
    """Return each file once, by the shortest of the paths that links give it, and how many were there again."""
    own: dict[str, Entry] = {}
    ordered = sorted(entries, key=lambda entry: entry.file.count("/"))
    for entry, real in zip(ordered, real_paths(os.path.join(folder, entry.file) for entry in ordered), strict=True):
        first = own.setdefault(real, entry)
        if (first.label, first.part) != (entry.label, entry.part):
            places = [" ".join(filter(None, (one.file, one.part, KINDS[one.label]))) for one in (first, entry)]
            raise ValueError(f"{folder}: {' and '.join(places)} are one file, expected in one class and one part")
    kept = set(own.values())
    again = len(entries) - len(kept)
    return [entry for entry in entries if entry in kept], Counter({"links to files that are read already": again})


def _table_in(tree: Tree) -> Path | None:
    tables = [tree.folder / name for name in tree.tables]
    listing = [table for table in tables if "file" in columns_of(table)]
    if len(listing) > 1:
        raise ValueError(
            f"table=None, but {', '.join(table.name for table in listing)} all have a column file: name one"
        )
    return listing[0] if listing else None


def _masks(files: Collection[str]) -> tuple[list[str], dict[str, str]]:
    """Return the images among files, and the masks by the path of what they are of, without its ending."""
    folders = {_folder(file) for file in files}
    masked = {folder: place for folder in folders if (place := _masked(folder, folders)) is not None}
    masks = {}
    for file in files if masked else ():
        if (place := masked.get(_folder(file))) is not None:
            masks[(PurePosixPath(place) / PurePosixPath(file).stem.removesuffix("_mask")).as_posix()] = file
    taken = set(masks.values())
    return [file for file in files if file not in taken], masks


def _folder(file: str) -> str:
    return file.rpartition("/")[0]


def _masked(folder: str, folders: Collection[str]) -> str | None:
    # Masks lie in a folder ground_truth or masks under the paths of their images, without the part, and may end in
    # _mask (MVTec); or in a folder label beside the folder img (BMAD).
    names = folder.split("/")
    if above := [name for name in names if name.casefold() in MASKS]:
        return "/".join(name for name in names if name != above[0])
    beside = "/".join((*names[:-1], "img"))
    return beside if names[-1].casefold() == "label" and beside in folders else None


def _mask_of(file: str, masks: dict[str, str]) -> str | None:
    path = PurePosixPath(file).with_suffix("")
    return masks.get(path.as_posix()) or masks.get("/".join(path.parts[1:]))


def _unused(masks: dict[str, str], entries: list[Entry]) -> list[str]:
    used = {entry.mask for entry in entries}
    return ["masks of images that are not read"] * sum(mask not in used for mask in masks.values())


def _in_words(labels: dict[str, int]) -> str:
    kinds = [[name for name, label in labels.items() if label == kind] for kind in (0, 1)]
    classes = [f"{word} {', '.join(kind)}" for word, kind in zip(("normal", "anomalous"), kinds, strict=True) if kind]
    return f" ({'; '.join(classes)})" if classes else ""


def _found(layout: str, entries: list[Entry], rest: list[str]) -> Found:
    return Found(layout, entries, dict(Counter(rest)))
