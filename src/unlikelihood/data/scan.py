"""One CT scan: its voxels in HU and where in the patient each of them lies."""

import importlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from unlikelihood.data.source import existing
from unlikelihood.files import replacing

FORMATS = (".mha", ".mhd", ".nii", ".nii.gz", ".nrrd")
DICOM = (".dcm", ".dicom", ".ima")  # and files of any other name that begin as DICOM does
AIR = -1000.0  # HU
BLOCK = 2**21  # points interpolated at once
EVEN = 0.05  # of the distance between slices, by which a distance may differ from the usual one
STRAIGHT = 0.5  # of a pixel, by which a slice may lie beside the first
TAGS = [
    "SeriesInstanceUID",
    "SeriesDescription",
    "Modality",
    "ImageType",
    "PatientID",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
]
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


class UnreadableScan(ValueError):
    """Raised when a file is no whole scan, or its slices do not make up an even grid; the message says which."""


@dataclass(frozen=True, eq=False, repr=False)
class Scan:
    """A CT scan on an even grid, in the patient's coordinates.

    World coordinates are those of DICOM and ITK: (x, y, z) in mm, which grow to the patient's left, back and head
    (LPS). Indices are those of the array: (z, y, x).

    Parameters
    ----------
    hu : ndarray of shape (D, H, W)
        Intensities in HU, indexed (z, y, x); kept as int16 where that loses nothing, as float32 otherwise.
    origin : array-like of shape (3,)
        World coordinates (x, y, z) in mm of the centre of the voxel ``hu[0, 0, 0]``.
    spacing : array-like of shape (3,)
        Distance between neighbours along the index axes x, y and z in mm.
    direction : array-like of shape (3, 3)
        Its columns are the world directions of the index axes x, y and z, orthogonal and of length 1.
    series : str
        The series instance UID of a DICOM series, the name of another file without its suffix.
    patient : str
        The patient ID of a DICOM series; empty if it is unknown.

    Raises
    ------
    ValueError
        If the shape is not that of a volume, an intensity is not finite or the grid is not one.

    Examples
    --------
    >>> scan = Scan(np.zeros((40, 64, 64)), origin=(-22.4, -22.4, 100), spacing=(0.7, 0.7, 2.5))
    >>> scan.to_world((4, 32, 32))
    array([  0.,   0., 110.])
    >>> scan.to_index((0, 0, 110))
    array([ 4., 32., 32.])
    """

    hu: NDArray[Any]
    origin: ArrayLike = (0.0, 0.0, 0.0)
    spacing: ArrayLike = (1.0, 1.0, 1.0)
    direction: ArrayLike = IDENTITY
    series: str = ""
    patient: str = ""

    def __post_init__(self) -> None:
        checked = {
            "hu": _hu(np.asarray(self.hu)),
            "origin": _numbers("origin", self.origin, (3,)),
            "spacing": _numbers("spacing", self.spacing, (3,)),
            "direction": _numbers("direction", self.direction, (3, 3)),
        }
        if not (checked["spacing"] > 0).all():
            raise ValueError(f"spacing={self.spacing!r}: expected a positive distance in mm along x, y and z")
        if not np.allclose(checked["direction"].T @ checked["direction"], np.eye(3), atol=1e-3):
            raise ValueError(f"direction={self.direction!r}: expected orthogonal columns of length 1")
        for field, value in checked.items():
            object.__setattr__(self, field, value)  # the dataclass is frozen for everyone else

    def __repr__(self) -> str:
        size = " × ".join(f"{step:g}" for step in np.asarray(self.spacing))
        return f"Scan({self.series!r}, {self.hu.shape} voxels (z, y, x) of {size} mm (x, y, z))"

    @classmethod
    def read(cls, path: str | Path, *, series: str | None = None, resample: bool = False) -> Self:
        """Read a scan.

        Of a DICOM folder, with all folders in it, the CT images are read, whatever the names and the order of the
        files; other objects and localizers are left out, and slope and intercept make HU of what is stored.

        Parameters
        ----------
        path : str or Path
            A .mha, .mhd, .nii, .nii.gz or .nrrd file, the folder of a DICOM series, or one of its files.
        series : str, optional
            Series instance UID of the one to read, where a folder holds several.
        resample : bool
            Put slices that are missing, unevenly spaced or displaced sideways (gantry tilt) on an even, upright grid
            by linear interpolation, and leave out exact copies of a slice, where otherwise they are an error.

        Returns
        -------
        Scan

        Raises
        ------
        UnreadableScan
            If the file is damaged, holds no scan, or several and `series` does not say which, or if its slices do
            not make up an even grid and `resample` is not set.
        """
        place = existing("path", path)
        if _suffix(place) in FORMATS and place.is_file():
            return cls(**_image(place))
        files = [place] if place.is_file() else _files(place)
        found = dicom_series(files)
        if place.is_file() and found:  # one slice stands for its series
            (series,) = found
            found = dicom_series(_files(place.parent))
        if series is None and len(found) > 1:
            listed = "; ".join(f"{uid} ({len(own)} slices, {own[0].description})" for uid, own in found.items())
            raise UnreadableScan(f"{place}: holds {len(found)} series, expected series= one of {listed}")
        if not found or (series is not None and series not in found):
            wanted = "CT images" if series is None else f"series {series!r}, but {sorted(found)}"
            raise UnreadableScan(f"{place}: holds no {wanted}")
        return cls.stack(next(iter(found.values())) if series is None else found[series], resample=resample)

    @classmethod
    def stack(cls, slices: "list[Slice]", *, resample: bool = False) -> Self:
        """Read the slices of one DICOM series; see `read`.

        Parameters
        ----------
        slices : list of Slice
            Their headers, in any order.
        resample : bool
            As in `read`.

        Returns
        -------
        Scan
        """
        return cls(**_stacked(slices, resample))

    def save(self, path: str | Path) -> None:
        """Write the scan; nothing is at `path` before all of it is.

        Parameters
        ----------
        path : str or Path
            A .mha, .mhd, .nii, .nii.gz or .nrrd file, or the folder of a DICOM series, one file a slice, in which
            intensities are rounded to 1 HU.
        """
        target = Path(path)
        if _suffix(target) == ".mhd":  # which has its voxels in a file beside it
            with replacing(target) as header, replacing(target.with_suffix(".raw")) as voxels:
                _sitk().WriteImage(self._image(), str(header))
                header.with_suffix(".raw").rename(voxels)
        elif _suffix(target) in FORMATS:
            with replacing(target) as file:
                _sitk().WriteImage(self._image(), str(file))
        elif target.suffix and not target.is_dir() and not _is_number(target.suffix[1:]):
            raise ValueError(f"path={str(path)!r}: expected {', '.join(FORMATS)}, or a folder for a DICOM series")
        else:
            with replacing(target) as folder:
                folder.mkdir()
                self._write_dicom(folder)

    def to_world(self, index: ArrayLike) -> NDArray[np.float64]:
        """Return the world coordinates of indices.

        Parameters
        ----------
        index : array-like of shape (..., 3)
            Indices (z, y, x), whole or not.

        Returns
        -------
        ndarray of shape (..., 3)
            (x, y, z) in mm.
        """
        steps = np.asarray(index, np.float64)[..., ::-1] * self.spacing
        return steps @ np.transpose(self.direction) + self.origin

    def to_index(self, world: ArrayLike) -> NDArray[np.float64]:
        """Return the indices of world coordinates.

        Parameters
        ----------
        world : array-like of shape (..., 3)
            (x, y, z) in mm.

        Returns
        -------
        ndarray of shape (..., 3)
            Indices (z, y, x), not rounded.
        """
        steps = (np.asarray(world, np.float64) - self.origin) @ np.asarray(self.direction)
        return (steps / self.spacing)[..., ::-1]

    def __contains__(self, world: ArrayLike) -> bool:
        """Return whether a point (x, y, z) in mm lies in one of the voxels."""
        index = self.to_index(world)
        return bool(((index >= -0.5) & (index <= np.array(self.hu.shape) - 0.5)).all())

    @property
    def centre(self) -> NDArray[np.float64]:
        """World coordinates (x, y, z) in mm of the middle of the grid."""
        return self.to_world((np.array(self.hu.shape) - 1) / 2)

    @property
    def extent(self) -> NDArray[np.float64]:
        """Size along the world axes (z, y, x) in mm of the smallest upright box that holds all voxels."""
        return (np.abs(self.direction) @ (np.array(self.hu.shape)[::-1] * self.spacing))[::-1]

    def cut(
        self, centre: ArrayLike, shape: tuple[int, int, int], spacing: float = 1.0, outside: float = AIR
    ) -> NDArray[np.float32]:
        """Cut an upright box out of the scan, with one interpolation from its own grid.

        The axes of the box are the world axes z, y and x, whatever the direction of the scan. A voxel of the box is
        the mean of linearly interpolated intensities at points spread evenly over it: one point along an axis on
        which the voxels of the scan are at least as large, and as many as keep up with them where they are smaller,
        so that a fine grid is averaged and not picked from (aliasing).

        Parameters
        ----------
        centre : array-like of shape (3,)
            World coordinates (x, y, z) of the middle of the box in mm.
        shape : tuple of int
            Voxels along z, y and x.
        spacing : float
            Size of the voxels in mm.
        outside : float
            Intensity in HU of points that lie in no voxel of the scan.

        Returns
        -------
        ndarray of float32 of shape `shape`
            Intensities in HU, indexed (z, y, x).
        """
        # How fast each index runs along each world axis of the box, in voxels of the scan a voxel of the box.
        rate = np.abs(np.asarray(self.direction) / self.spacing)[::-1] * spacing
        points = np.maximum(1, np.ceil(rate.max(axis=1) - 1e-3)).astype(int)
        offsets = [
            ((np.arange(n * p) + 0.5) / p - n / 2) * spacing for n, p in zip(shape, points, strict=True)
        ]  # mm along z, y and x
        middle = np.asarray(centre, np.float64)
        z, y, x = (offset + at for offset, at in zip(offsets, middle[::-1], strict=True))
        first, hu = self._around(middle, np.array(shape) * spacing)
        box = np.empty(shape, np.float32)
        rows = max(1, BLOCK // (points[0] * len(y) * len(x)))
        for start in range(0, shape[0], rows):
            block = z[start * points[0] : (start + rows) * points[0]]
            world = np.stack(np.meshgrid(block, y, x, indexing="ij")[::-1], axis=-1)
            fine = _interpolated(hu, self.to_index(world) - first, outside)
            parts = (len(block) // points[0], points[0], shape[1], points[1], shape[2], points[2])
            box[start : start + rows] = fine.reshape(parts).mean(axis=(1, 3, 5))
        return box

    def _around(self, centre: NDArray[np.float64], size: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[Any]]:
        """Return the part of the voxels that an upright box touches, and the index of its first voxel."""
        corners = np.stack(np.meshgrid(*[(-s / 2, s / 2) for s in size[::-1]], indexing="ij"), axis=-1).reshape(-1, 3)
        index = self.to_index(centre + corners)
        last = np.array(self.hu.shape) - 1
        low = np.clip(np.floor(index.min(axis=0)) - 1, 0, last).astype(int)
        high = np.clip(np.ceil(index.max(axis=0)) + 1, 0, last).astype(int)
        # One voxel more on the inner sides: what lies beyond the part must also lie beyond the scan.
        return low, self.hu[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))]

    def _image(self) -> Any:
        image = _sitk().GetImageFromArray(self.hu)
        image.SetOrigin(np.asarray(self.origin).tolist())
        image.SetSpacing(np.asarray(self.spacing).tolist())
        image.SetDirection(np.asarray(self.direction).ravel().tolist())
        return image

    def _write_dicom(self, folder: Path) -> None:
        pydicom, uid = _imported("pydicom"), _imported("pydicom.uid")
        stored = np.rint(self.hu)
        if stored.min() < -(2**15) or stored.max() >= 2**15:
            raise ValueError(f"hu from {stored.min():g} to {stored.max():g}: expected what 16 bits hold")
        own = self.series if uid.UID(self.series).is_valid and "." in self.series else ""
        series = own or uid.generate_uid(entropy_srcs=[self.series, self.patient, self.hu.tobytes().hex()[:4096]])
        direction, spacing = np.asarray(self.direction), np.asarray(self.spacing)
        for k, plane in enumerate(stored.astype("<i2")):
            data = pydicom.Dataset()
            data.file_meta = pydicom.dataset.FileMetaDataset()
            data.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
            data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = uid.CTImageStorage
            data.SOPInstanceUID = uid.generate_uid(entropy_srcs=[series, str(k)])
            data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
            data.StudyInstanceUID = uid.generate_uid(entropy_srcs=[series, "study"])
            data.FrameOfReferenceUID = uid.generate_uid(entropy_srcs=[series, "frame"])
            data.SeriesInstanceUID, data.PatientID, data.PatientName = series, self.patient, self.patient
            data.Modality, data.ImageType, data.InstanceNumber = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], k + 1
            data.ImagePositionPatient = [f"{value:.10g}" for value in self.to_world((k, 0, 0))]
            data.ImageOrientationPatient = [f"{value:.10f}" for value in direction[:, :2].T.ravel()]
            data.PixelSpacing = [f"{value:.10g}" for value in (spacing[1], spacing[0])]
            data.SliceThickness = f"{spacing[2]:.10g}"
            data.Rows, data.Columns = plane.shape
            data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
            data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
            data.RescaleSlope, data.RescaleIntercept, data.RescaleType = "1", "0", "HU"
            data.PixelData = plane.tobytes()
            data.save_as(folder / f"{k:04d}.dcm", enforce_file_format=True)


class Slice(NamedTuple):
    """What the header of a DICOM file says about a CT slice; lengths in mm, (x, y) along a row and a column."""

    file: Path
    series: str
    description: str
    patient: str
    shape: tuple[int, int]
    spacing: tuple[float, float]
    position: tuple[float, ...]
    axes: tuple[float, ...]


class Found(NamedTuple):
    """A scan on the disk: its series (or the name of its file), its path in the folder and its files."""

    series: str
    name: str
    files: tuple[Path, ...]

    def read(self, *, resample: bool = False) -> Scan:
        """Read the scan; see `Scan.read`."""
        if _suffix(self.files[0]) in FORMATS:
            return Scan.read(self.files[0])
        return Scan.stack(dicom_series(self.files)[self.series], resample=resample)

    @property
    def stamp(self) -> list[tuple[str, int, int]]:
        """Name, size in bytes and time of change in ns of each file: another content has another stamp."""
        files = list(self.files)
        if _suffix(files[0]) == ".mhd":
            files += sorted(files[0].parent.glob(f"{files[0].stem}.*raw"))
        return sorted((file.name, (at := file.stat()).st_size, at.st_mtime_ns) for file in files)


def find(path: Path) -> list[Found]:
    """Return the scans in a folder and all folders in it, in the order of their names.

    Parameters
    ----------
    path : Path
        A folder, or the file of one scan.

    Returns
    -------
    list of Found
        Image files by their suffix, and each DICOM series of CT images, of which the headers are read.
    """
    files, root = ([path], path.parent) if path.is_file() else (_files(path), path)
    whole = [file for file in files if _suffix(file) in FORMATS]
    found = [
        Found(file.name.removesuffix(file.name[-len(_suffix(file)) :]), file.relative_to(root).as_posix(), (file,))
        for file in whole
    ]
    for series, slices in dicom_series([file for file in files if _suffix(file) not in FORMATS]).items():
        folder = slices[0].file.parent.relative_to(root).as_posix()
        found.append(Found(series, folder, tuple(one.file for one in slices)))
    return sorted(found, key=lambda one: (one.name, one.series))


def dicom_series(files: Iterable[Path]) -> dict[str, list[Slice]]:
    """Return the CT slices among files, by their series.

    Parameters
    ----------
    files : iterable of Path
        Files of any kind; those that are not DICOM are left out, unless their name says that they are.

    Returns
    -------
    dict of str to list of Slice
        Series in the order of their UIDs, slices in that of the files.
    """
    series: dict[str, list[Slice]] = defaultdict(list)
    for file in files:
        header = _header(file)
        if header is not None:
            series[header.series].append(header)
    return dict(sorted(series.items()))


def _header(file: Path) -> Slice | None:
    with file.open("rb") as content:
        marked = content.read(132)[128:] == b"DICM"
    if not marked:
        if file.suffix.lower() in DICOM:
            raise UnreadableScan(f"{file}: cannot be read as DICOM, it lacks the mark of one")
        return None
    try:
        data = _imported("pydicom").dcmread(file, stop_before_pixels=True, specific_tags=TAGS)
        if data.get("Modality") != "CT" or "LOCALIZER" in (data.get("ImageType") or ()):
            return None
        if int(data.get("NumberOfFrames") or 1) > 1:
            raise UnreadableScan(f"{file}: holds many frames (enhanced CT), expected one slice a file")
        missing = [tag for tag in TAGS[6:] if data.get(tag) is None]
        if missing:
            raise UnreadableScan(f"{file}: its header lacks {', '.join(missing)}")
        return Slice(
            file,
            str(data.SeriesInstanceUID),
            str(data.get("SeriesDescription") or "no description"),
            str(data.get("PatientID") or ""),
            (int(data.Rows), int(data.Columns)),
            (float(data.PixelSpacing[1]), float(data.PixelSpacing[0])),  # DICOM says rows first
            tuple(map(float, data.ImagePositionPatient)),
            tuple(map(float, data.ImageOrientationPatient)),
        )
    except (ImportError, UnreadableScan):
        raise
    except Exception as error:  # damaged headers raise all kinds
        raise UnreadableScan(f"{file}: cannot be read as DICOM ({type(error).__name__}: {error})") from error


def _stacked(slices: list[Slice], resample: bool) -> dict[str, Any]:
    """Return the fields of the scan that slices make up."""
    where = f"{slices[0].file.parent}, series {slices[0].series}"
    for what in ("shape", "spacing", "axes"):
        values = np.array([getattr(one, what) for one in slices])
        if np.ptp(values, axis=0).max() > 1e-3:
            other = slices[int(np.abs(values - values[0]).max(axis=1).argmax())]
            raise UnreadableScan(f"{where}: {what} of {other.file.name} differs from that of {slices[0].file.name}")
    if len(slices) < 2:
        raise UnreadableScan(f"{where}: holds one slice, expected at least two")
    x, y = np.array(slices[0].axes).reshape(2, 3)
    normal = np.cross(x, y)
    depth = np.array([normal @ one.position for one in slices])
    order = np.argsort(depth, kind="stable")
    slices, depth = [slices[i] for i in order], depth[order]
    gaps = np.diff(depth)
    usual = float(np.median(gaps[gaps > 1e-3])) if (gaps > 1e-3).any() else 0.0
    if not usual:
        raise UnreadableScan(f"{where}: all {len(slices)} slices lie in one plane")
    copies = np.flatnonzero(gaps < EVEN * usual)
    if len(copies):
        slices, depth = _without_copies(where, slices, depth, copies, resample)
        gaps = np.diff(depth)
    position = np.array([one.position for one in slices])
    aside = (position - position[0]) @ np.stack([x, y], axis=1)  # mm along x and y
    uneven = np.flatnonzero(np.abs(gaps - usual) > EVEN * usual)
    tilted = bool((np.abs(aside) > STRAIGHT * np.array(slices[0].spacing)).any())
    if not resample:
        _refuse(where, slices, depth, aside, usual, uneven, tilted)
    hu = np.stack([_plane(one.file, one.shape) for one in slices])
    step = usual if len(uneven) else (depth[-1] - depth[0]) / (len(depth) - 1)
    origin = position[0]
    if resample and (tilted or len(uneven)):
        shift = aside if tilted else np.zeros_like(aside)
        hu = _on_even_grid(hu, depth - depth[0], shift / slices[0].spacing, step)
        origin = origin + np.floor(shift.min(axis=0) / slices[0].spacing) * slices[0].spacing @ np.stack([x, y])
    return {
        "hu": hu,
        "origin": origin,
        "spacing": (*slices[0].spacing, step),
        "direction": np.stack([x, y, normal], axis=1),
        "series": slices[0].series,
        "patient": slices[0].patient,
    }


def _without_copies(
    where: str, slices: list[Slice], depth: NDArray[Any], copies: NDArray[np.intp], resample: bool
) -> tuple[list[Slice], NDArray[Any]]:
    one, two = slices[copies[0]], slices[copies[0] + 1]
    said = f"{where}: duplicate slices, {one.file.name} and {two.file.name} lie both at {depth[copies[0]]:g} mm"
    if not resample:
        raise UnreadableScan(f"{said} ({len(copies)} in all)")
    for k in copies:
        one, two = slices[k], slices[k + 1]
        if not np.array_equal(_plane(one.file, one.shape), _plane(two.file, two.shape)):
            raise UnreadableScan(f"{said}, and differ: which is right cannot be told")
    kept = np.setdiff1d(np.arange(len(slices)), copies + 1)
    return [slices[k] for k in kept], depth[kept]


def _refuse(
    where: str,
    slices: list[Slice],
    depth: NDArray[Any],
    aside: NDArray[Any],
    usual: float,
    uneven: NDArray[np.intp],
    tilted: bool,
) -> None:
    """Raise if the slices do not make up an even, upright grid."""
    hint = "resample=True puts them on an even grid"
    if tilted:
        most = int(np.abs(aside).max(axis=1).argmax())
        angle = math.degrees(math.atan2(float(np.linalg.norm(aside[-1])), depth[-1] - depth[0]))
        raise UnreadableScan(
            f"{where}: slices are displaced sideways, {slices[most].file.name} by "
            f"{np.abs(aside[most]).max():.3g} mm (a gantry tilt of {angle:.1f}°); {hint}"
        )
    if len(uneven):
        k = int(uneven[0])
        gap = float(depth[k + 1] - depth[k])
        times = gap / usual
        whole = times > 1.5 and abs(times - round(times)) < EVEN * round(times)
        kind = f"{round(times) - 1} slice(s) missing" if whole else "uneven spacing of slices"
        raise UnreadableScan(
            f"{where}: {kind}, {gap:g} mm between {slices[k].file.name} and {slices[k + 1].file.name} where "
            f"{usual:g} mm is usual ({len(uneven)} such in all); {hint}"
        )


def _on_even_grid(hu: NDArray[Any], depth: NDArray[Any], shift: NDArray[Any], step: float) -> NDArray[np.float32]:
    """Interpolate slices at uneven depths (mm), displaced by `shift` pixels (x, y), on an even, upright grid."""
    first = np.floor(shift.min(axis=0)).astype(int)
    width, height = np.ceil(shift.max(axis=0)).astype(int) - first
    upright = np.full((len(hu), hu.shape[1] + height, hu.shape[2] + width), AIR, np.float32)
    for plane, own, (dx, dy) in zip(upright, hu, shift - first, strict=True):
        plane[: hu.shape[1], : hu.shape[2]] = own
        if dx or dy:
            plane[:] = ndimage.shift(plane, (dy, dx), order=1, cval=AIR, mode="constant")
    at = np.arange(0, depth[-1] + 1e-3 * step, step)
    below = np.clip(np.searchsorted(depth, at, side="right") - 1, 0, len(depth) - 2)
    share = np.clip((at - depth[below]) / (depth[below + 1] - depth[below]), 0, 1).astype(np.float32)[:, None, None]
    return (1 - share) * upright[below] + share * upright[below + 1]


def _plane(file: Path, shape: tuple[int, int]) -> NDArray[Any]:
    plane = _sitk_array(file)[0]
    if plane.shape != (1, *shape):
        raise UnreadableScan(f"{file}: an image of shape {plane.shape}, its header says {shape}")
    return plane[0]


def _image(file: Path) -> dict[str, Any]:
    """Return the fields of the scan in an image file."""
    hu, image = _sitk_array(file)
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UnreadableScan(f"{file}: an image of shape {hu.shape}, expected (D, H, W)")
    codes = [image.GetMetaData(key) for key in ("qform_code", "sform_code") if image.HasMetaDataKey(key)]
    if codes and all(code.strip() in ("", "0") for code in codes):
        raise UnreadableScan(f"{file}: does not say how it lies in the patient (qform and sform are 0)")
    return {
        "hu": hu,
        "origin": image.GetOrigin(),
        "spacing": image.GetSpacing(),
        "direction": np.reshape(image.GetDirection(), (3, 3)),
        "series": file.name[: -len(_suffix(file))],
    }


def _sitk_array(file: Path) -> tuple[NDArray[Any], Any]:
    sitk = _sitk()
    try:
        image = sitk.ReadImage(str(file))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UnreadableScan(f"{file}: cannot be read as a scan ({reason})") from error
    return sitk.GetArrayFromImage(image), image


def _interpolated(hu: NDArray[Any], index: NDArray[np.float64], outside: float) -> NDArray[np.float32]:
    last = np.array(hu.shape) - 1
    inside = ((index >= -0.5) & (index <= last + 0.5)).all(axis=-1)
    at = np.moveaxis(np.clip(index, 0, last), -1, 0)
    return np.where(inside, ndimage.map_coordinates(hu, at, np.float32, order=1), np.float32(outside))


def _hu(hu: NDArray[Any]) -> NDArray[Any]:
    if hu.ndim != 3 or not hu.size:
        raise ValueError(f"hu of shape {hu.shape}: expected (D, H, W)")
    if hu.dtype.kind not in "iuf":
        raise ValueError(f"hu of type {hu.dtype}: expected numbers")
    if hu.dtype.kind == "f":
        if not np.isfinite(hu).all():
            raise ValueError("hu holds intensities that are not finite")
        return np.ascontiguousarray(hu, np.float32)
    small = hu.dtype == np.int16 or (hu.min() >= -(2**15) and hu.max() < 2**15)
    return np.ascontiguousarray(hu, np.int16 if small else np.float32)


def _numbers(parameter: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    numbers = np.array(value, np.float64)
    if numbers.shape != shape or not np.isfinite(numbers).all():
        raise ValueError(f"{parameter}={value!r}: expected finite numbers of shape {shape}")
    return numbers


def _files(folder: Path) -> list[Path]:
    return list(_visible(folder))


def _visible(folder: Path) -> Iterator[Path]:
    # Dot files are what a file system, or a process that was killed while it wrote, left behind.
    for place in sorted(folder.iterdir()):
        if place.name.startswith("."):
            continue
        if place.is_dir():
            yield from _visible(place)
        elif place.is_file():
            yield place


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in FORMATS if name.endswith(suffix)), path.suffix.lower())


def _is_number(text: str) -> bool:
    return text.isdigit()  # a series UID, with its dots, is a good name for a folder


def _sitk() -> Any:
    return _imported("SimpleITK")


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"CT scans need {module.split('.')[0]}: pip install unlikelihood[ct]") from error
