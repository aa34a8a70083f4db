"""Boxes cut out of many CT scans at once, kept on the disk."""

import json
import math
import shutil
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from filelock import FileLock
from numpy.typing import ArrayLike, NDArray

from unlikelihood.data.ct.find import Found, find
from unlikelihood.data.images import windowed
from unlikelihood.data.source import cache
from unlikelihood.parameters import Range
from unlikelihood.progress import progress
from unlikelihood.storage.files import leftovers, replacing

HU = Annotated[float, Range(-(2**15), 2**15 - 1)]  # what int16 holds
VERSION = 1  # of what is on the disk: another one is cut anew


class Box(NamedTuple):
    """What is cut: its size in mm along z, y and x (None: the whole scan), and how; see `Scan.cut`."""

    size: tuple[float, float, float] | None
    spacing: float
    outside: float
    resample: bool

    def shape(self, extent: ArrayLike) -> tuple[int, int, int]:
        """Return the number of voxels along z, y and x, out of a scan of the given extent in mm along these."""
        counts = np.asarray(extent if self.size is None else self.size, np.float64) / self.spacing
        if self.size is None:
            counts = np.ceil(counts - 1e-3)
        if np.abs(counts - np.rint(counts)).max() > 1e-6 or counts.min() < 0.5:
            raise ValueError(f"{self.size} mm at spacing={self.spacing:g} mm: expected a whole number of voxels")
        z, y, x = np.rint(counts).astype(int).tolist()
        return z, y, x


class Order(NamedTuple):
    """A scan, and the world coordinates (x, y, z) in mm of the centres to cut around (none: its own)."""

    scan: Found
    centres: tuple[tuple[float, float, float], ...] = ()


class Cuts(NamedTuple):
    """What was cut out of one scan.

    `file` holds one box for each of the centres but the `rejected`, which are named by their number with the reason;
    `damage` is why the scan could not be read.
    """

    file: Path | None
    shape: tuple[int, ...] = ()
    dtype: str = "int16"
    patient: str = ""
    rejected: dict[int, str] = {}
    damage: str = ""


def kept_in(given: str | Path | None) -> Path:
    """Return the folder of what is cut: `given`, else "cuts" in the cache."""
    return cache() / "cuts" if given is None else Path(given).expanduser()


def scans(path: Path, folder: Path) -> list[Found]:
    """Return the scans in a folder, whose headers are read once; see `find`.

    Parameters
    ----------
    path : Path
        Where the scans are.
    folder : Path
        Where to remember what was found.

    Returns
    -------
    list of Found
    """
    return find(path, folder / f"index-{_hash(str(path.resolve()))[:8]}.json")


def cut(orders: Sequence[Order], box: Box, folder: Path, jobs: int | None) -> list[Cuts]:
    """Cut boxes out of scans, each scan in one of several processes, and keep them.

    Each scan is read once, and only one at a time by each process. What was cut out of it is a folder that is either
    there or not, named by a hash of the files' paths, sizes and times of change, the centres and the box: so a run
    that was killed goes on where it was, runs at the same time share the work, and a file that is replaced is cut
    anew. A scan that cannot be read leaves
    nothing, and is tried again by the next run.

    Parameters
    ----------
    orders : sequence of Order
        The scans.
    box : Box
        What to cut around each centre.
    folder : Path
        Where to keep it.
    jobs : int or None
        Number of processes; None for one a core.

    Returns
    -------
    list of Cuts
        One for each order.
    """
    from joblib import Parallel, delayed  # which takes long to import

    places = [folder / _key(order, box) for order in orders]
    waiting = [i for i, place in enumerate(places) if not place.is_dir()]
    damage: dict[int, str] = {}
    folder.mkdir(parents=True, exist_ok=True)
    with progress("Cutting scans", total=len(orders), start=len(orders) - len(waiting)) as update:
        parallel = Parallel(n_jobs=-1 if jobs is None else jobs, batch_size=1, return_as="generator_unordered")
        for i, wrong in parallel(delayed(_cut_once)(i, orders[i], box, places[i]) for i in waiting):
            damage |= {i: wrong} if wrong else {}
            update()
    return [Cuts(None, damage=damage[i]) if i in damage else _kept(place) for i, place in enumerate(places)]


def gather(
    cuts: Sequence[Cuts], rows: Sequence[Sequence[int]], window: tuple[float, float] | None, folder: Path
) -> NDArray[Any]:
    """Put boxes of one shape into one array.

    Parameters
    ----------
    cuts : sequence of Cuts
        Those that are not damaged.
    rows : sequence of sequence of int
        Where each of their boxes goes.
    window : tuple of float or None
        Intensities in HU that become 0 and 1.
    folder : Path
        Where an array without a window is kept.

    Returns
    -------
    ndarray of shape (n, 1, D, H, W)
        float32 in [0, 1], in memory; without a window, HU in a memory map.
    """
    shape = (sum(map(len, rows)), 1, *cuts[0].shape)
    if window is not None:
        windowed(np.empty(0), window)  # which checks it, before long work
        pixels = np.empty(shape, np.float32)
        for one, at in zip(cuts, rows, strict=True):
            pixels[list(at)] = windowed(_boxes(one), window)
        return pixels
    target = folder / f"{_hash([[str(one.file) for one in cuts], [list(map(int, at)) for at in rows]])}.npy"
    if not target.is_file():
        dtype = np.result_type(*[one.dtype for one in cuts])
        with replacing(target) as part, part.open("wb") as file:
            # Written and not mapped, so that no more than the boxes of one scan are in memory.
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            start, size = file.tell(), math.prod(shape[1:]) * dtype.itemsize
            for one, at in zip(cuts, rows, strict=True):
                for row, hu in zip(at, _boxes(one), strict=True):
                    file.seek(start + row * size)
                    file.write(hu.astype(dtype).tobytes())
    return np.load(target, mmap_mode="r")


def _cut_once(i: int, order: Order, box: Box, place: Path) -> tuple[int, str]:
    """Cut one scan unless another run has, or does; return its number, and what is wrong with it."""
    lock = place.with_name(f".{place.name}.lock")
    with FileLock(lock):
        wrong = "" if place.is_dir() else _cut(order, box, place)
    with suppress(OSError):  # who waits for it finds the scan in its place, whatever becomes of the lock
        lock.unlink()
    return i, wrong


def _cut(order: Order, box: Box, place: Path) -> str:
    try:
        scan = order.scan.read(resample=box.resample)
    except ValueError as error:
        return str(error)
    centres = order.centres or (tuple(scan.centre.tolist()),)
    rejected = {k: _beside(scan.to_index(at)) for k, at in enumerate(centres) if at not in scan}
    shape = box.shape(scan.extent)
    for stale in leftovers(place):  # of a run that was killed
        shutil.rmtree(stale)
    with replacing(place) as part:
        part.mkdir()
        kept = [at for k, at in enumerate(centres) if k not in rejected]
        boxes = np.lib.format.open_memmap(part / "hu.npy", "w+", scan.hu.dtype, (len(kept), 1, *shape)) if kept else ()
        for filled, at in zip(boxes, kept, strict=True):
            hu = scan.cut(at, shape, box.spacing, box.outside)
            filled[0] = np.rint(hu) if scan.hu.dtype.kind == "i" else hu
        del boxes
        facts = {"shape": shape, "dtype": scan.hu.dtype.name, "patient": scan.patient, "rejected": rejected}
        (part / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    return ""


def _kept(place: Path) -> Cuts:
    facts = json.loads((place / "facts.json").read_text(encoding="utf-8"))
    facts["rejected"] = {int(k): reason for k, reason in facts["rejected"].items()}
    facts["shape"] = tuple(facts["shape"])
    return Cuts(place / "hu.npy", **facts)


def _boxes(one: Cuts) -> NDArray[Any]:
    return np.load(one.file, mmap_mode="r") if one.file and one.file.is_file() else np.empty((0, 1, *one.shape))


def _beside(index: NDArray[np.float64]) -> str:
    z, y, x = index.tolist()
    return f"the centre is outside the scan, at voxel (x, y, z) = ({x:.1f}, {y:.1f}, {z:.1f})"


def _key(order: Order, box: Box) -> str:
    # Series and name too: two series may share a folder, and a damaged one has no files.
    return _hash([VERSION, order.scan.series, order.scan.name, order.scan.stamp, order.centres, box])


def _hash(value: Any) -> str:
    return blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()
