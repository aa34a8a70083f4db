"""Crops of many CT scans at once: resampled to upright grids, and kept on the disk."""

import json
import math
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unlikelihood.data.ct.content import content_hashes
from unlikelihood.data.ct.scan_files import ScanFiles
from unlikelihood.data.kept import in_use, keep, make_room, seal
from unlikelihood.data.mapped import WHOLE, Mapped, Stored, windowed
from unlikelihood.data.npy import npy_map
from unlikelihood.progress import progress
from unlikelihood.storage.files import allocate, replacing
from unlikelihood.storage.locks import alone
from unlikelihood.storage.reading import check_claim
from unlikelihood.storage.workers import follow_parent

VERSION = 3  # of what is on the disk: crops of another one are made again


class Grid(NamedTuple):
    """What scans are resampled to: a size in mm along z, y and x (None: the whole scan), and as in `Scan.crop`.

    `resample` and `intercept` are for reading it, before; see `Scan.read`.
    """

    size: tuple[float, float, float] | None
    spacing: float
    outside: float
    resample: bool
    intercept: float | None = None

    def shape(self, extent: ArrayLike) -> tuple[int, int, int]:
        """Return the number of voxels along z, y and x, out of a scan of the given extent in mm along these."""
        counts = np.asarray(extent if self.size is None else self.size, np.float64) / self.spacing
        if self.size is None:
            counts = np.ceil(counts - 1e-3)
        if np.abs(counts - np.rint(counts)).max() > 1e-6 or counts.min() < 0.5:
            raise ValueError(f"{self.size} mm at spacing={self.spacing:g} mm: expected a whole number of voxels")
        z, y, x = np.rint(counts).astype(int).tolist()
        return z, y, x


class Request(NamedTuple):
    """A scan, and the world coordinates (x, y, z) in mm of the centres to crop around (none: its own)."""

    scan: ScanFiles
    centres: tuple[tuple[float, float, float], ...] = ()


class Cropped(NamedTuple):
    """The crops of one scan.

    `file` holds one for each of the `centres`; those that were `rejected` are named by their number with the reason;
    `damage` is why the scan could not be read.
    """

    file: Path | None
    shape: tuple[int, ...] = ()
    dtype: str = "int16"
    patient: str = ""
    rejected: dict[int, str] = {}
    centres: tuple[tuple[float, float, float], ...] = ()
    damage: str = ""


def crop_scans(requests: Sequence[Request], grid: Grid, folder: Path, jobs: int | None) -> list[Cropped]:
    """Crop scans, each in one of several processes, and keep the crops.

    Each scan is read once, and only one at a time by each process. Its crops are a folder that is either there or not,
    named by a hash of the content of all its files, the centres and the grid: so a run that was killed
    goes on where it was, runs at the same time share the work, and a file that is replaced is cropped again. A scan
    that cannot be read leaves nothing, and is tried again by the next run.

    Parameters
    ----------
    requests : sequence of Request
        The scans.
    grid : Grid
        Of the crops.
    folder : Path
        Where to keep them.
    jobs : int or None
        Number of processes; None for one a core.

    Returns
    -------
    list of Cropped
        One for each request.
    """
    from joblib import Parallel, delayed  # which takes long to import

    folder.mkdir(parents=True, exist_ok=True)
    with content_hashes(folder / "content.json") as content_hash:
        places = [folder / _key(request, grid, content_hash) for request in requests]
    waiting = [i for i, place in enumerate(places) if not in_use(place)]
    damage: dict[int, str] = {}
    with progress("Cropping scans", total=len(requests), start=len(requests) - len(waiting)) as update:
        parallel = Parallel(n_jobs=-1 if jobs is None else jobs, batch_size=1, return_as="generator_unordered")
        for i, wrong in parallel(delayed(_crop_once)(i, requests[i], grid, places[i]) for i in waiting):
            damage |= {i: wrong} if wrong else {}
            update()
    make_room()
    return [Cropped(None, damage=damage[i]) if i in damage else _kept(place) for i, place in enumerate(places)]


def gather(
    cropped: Sequence[Cropped], rows: Sequence[Sequence[int]], window: tuple[float, float] | None, folder: Path
) -> Any:
    """Put crops of one shape into one array.

    Parameters
    ----------
    cropped : sequence of Cropped
        Those that are not damaged.
    rows : sequence of sequence of int
        Where each of their crops goes.
    window : tuple of float or None
        Intensities in HU that become 0 and 1.
    folder : Path
        Where an array in a map is kept.

    Returns
    -------
    ndarray of shape (n, 1, D, H, W), or Mapped
        float32 in [0, 1], in memory up to 256 MiB and else mapped; without a window, HU in a memory map.
    """
    shape = (sum(map(len, rows)), 1, *cropped[0].shape)
    if window is not None and math.prod(shape) * 4 <= WHOLE:
        pixels = np.empty(shape, np.float32)
        for one, at in zip(cropped, rows, strict=True):
            pixels[list(at)] = windowed(_crops(one), window)
        return pixels

    def make(place: Path) -> None:
        dtype = np.result_type(*[one.dtype for one in cropped])
        with (place / "hu.npy").open("wb") as file:
            # Written and not mapped, so that no more than the crops of one scan are in memory.
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            start, size = file.tell(), math.prod(shape[1:]) * dtype.itemsize
            for one, at in zip(cropped, rows, strict=True):
                for row, hu in zip(at, _crops(one), strict=True):
                    file.seek(start + row * size)
                    file.write(hu.astype(dtype).tobytes())

    place = folder / hashed([[str(one.file) for one in cropped], [list(map(int, at)) for at in rows]])
    hu = npy_map(keep(place, make) / "hu.npy")
    return hu if window is None else Mapped([Stored(hu, window)])


def _crop_once(i: int, request: Request, grid: Grid, place: Path) -> tuple[int, str]:
    """Crop one scan unless another run has, or does; return its number, and what is wrong with it."""
    follow_parent()
    with alone(place):
        try:
            return i, "" if in_use(place) else _crop(request, grid, place)
        except MemoryError as error:
            return i, f"{request.scan.name}: takes more memory than there is ({error})"


def _crop(request: Request, grid: Grid, place: Path) -> str:
    try:
        scan = request.scan.read(resample=grid.resample, intercept=grid.intercept)
        shape = grid.shape(scan.extent)
        # A header may claim voxels as large as a house, of which the grid would have millions.
        check_claim(scan.hu.nbytes, math.prod(shape) * scan.hu.itemsize)
    except ValueError as error:
        return str(error)
    centres = request.centres or (tuple(scan.centre.tolist()),)
    rejected = {k: _beside(scan.to_index(at)) for k, at in enumerate(centres) if at not in scan}
    with replacing(place, lasting=False) as part:  # what a power failure leaves of it, its sums tell
        part.mkdir()
        kept = [at for k, at in enumerate(centres) if k not in rejected]
        crops = np.lib.format.open_memmap(part / "hu.npy", "w+", scan.hu.dtype, (len(kept), 1, *shape)) if kept else ()
        if kept:
            allocate(part / "hu.npy")
        for filled, at in zip(crops, kept, strict=True):
            hu = scan.crop(at, shape, grid.spacing, grid.outside)
            filled[0] = np.rint(hu) if scan.hu.dtype.kind == "i" else hu
        del crops
        facts: dict[str, Any] = {"shape": shape, "dtype": scan.hu.dtype.name, "patient": scan.patient}
        facts |= {"rejected": rejected, "centres": kept}
        (part / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        seal(part)
    return ""


def _kept(place: Path) -> Cropped:
    facts = json.loads((place / "facts.json").read_text(encoding="utf-8"))
    facts["rejected"] = {int(k): reason for k, reason in facts["rejected"].items()}
    facts["shape"], facts["centres"] = tuple(facts["shape"]), tuple(map(tuple, facts["centres"]))
    return Cropped(place / "hu.npy", **facts)


def _crops(one: Cropped) -> NDArray[Any]:
    if one.file is None or not one.file.is_file():
        return np.empty((0, 1, *one.shape))
    try:
        return npy_map(one.file)
    except ValueError as error:
        raise ValueError(
            f"{one.file}: damaged ({error}); it is made again when {one.file.parent} is deleted"
        ) from error


def _beside(index: NDArray[np.float64]) -> str:
    z, y, x = index.tolist()
    return f"the centre is outside the scan, at voxel (x, y, z) = ({x:.1f}, {y:.1f}, {z:.1f})"


def _key(request: Request, grid: Grid, content_hash: Callable[[Path], str]) -> str:
    # Series and name too: two series may share a folder or a file. And what damages one may lie in none of its files.
    scan = request.scan
    return hashed([VERSION, scan.series, scan.name, scan.damage, scan.content(content_hash), request.centres, grid])


def hashed(value: Any) -> str:
    """Return a short hash of plain values."""
    return blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()
