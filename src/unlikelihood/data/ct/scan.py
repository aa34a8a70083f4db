"""One CT scan: its voxels in HU and where in the patient each of them lies."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from unlikelihood.data.ct.dicom import Slice, chosen_series, headers_in, series_in
from unlikelihood.data.ct.dicom_writer import UID, write_slices
from unlikelihood.data.ct.formats import FORMATS, UnreadableScan, naming, sitk, suffix_of
from unlikelihood.data.ct.hounsfield import AIR, as_hu, in_hu
from unlikelihood.data.ct.image_scans import image_fields
from unlikelihood.data.ct.stack import stacked
from unlikelihood.data.source import existing
from unlikelihood.data.walk import files_in
from unlikelihood.storage.files import replacing

LENGTHS = (1.0, 4000.0)  # mm, from the smallest sample to more than a patient
FARTHEST = 1e6  # mm, that a scan lies from the origin of its coordinates
POINTS_AT_ONCE = 2**21  # interpolated points, to bound the memory
DIRECTIONS = ("RL", "AP", "IS")  # in which the world axes x, y and z decrease and increase
WORLD = "SPL"  # the orientation of the world axes (z, y, x)
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True, eq=False, repr=False)
class Scan:
    """A CT scan on a regular grid, in the patient's coordinates.

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
    origin: Any = (0.0, 0.0, 0.0)  # held as float64 arrays, as are the next two
    spacing: Any = (1.0, 1.0, 1.0)
    direction: Any = IDENTITY
    series: str = ""
    patient: str = ""

    def __post_init__(self) -> None:
        checked = {
            "hu": as_hu(np.asarray(self.hu)),
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
        size = " × ".join(f"{step:g}" for step in self.spacing)
        return f"Scan({self.series!r}, {self.hu.shape} voxels (z, y, x) of {size} mm (x, y, z))"

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        series: str | None = None,
        resample: bool = False,
        intercept: float | None = None,
    ) -> Self:
        """Read a scan.

        Of a DICOM folder, with all folders in it, the CT images are read, whatever the names and the order of the
        files; other objects, localizers and reformats are left out (unless `series` names the latter), and slope and
        intercept make HU of what is stored.

        Parameters
        ----------
        path : str or Path
            A .mha, .mhd, .nii, .nii.gz or .nrrd file, the folder of a DICOM series, or one of its files.
        series : str, optional
            Series instance UID of the one to read, where a folder holds several.
        resample : bool
            Put slices that are missing, unevenly spaced or displaced sideways (gantry tilt) on an even, upright grid
            by linear interpolation, and leave out exact copies of a slice, where otherwise they are an error.
        intercept : float, optional
            What is to be added to the values of an image file to make them HU, such as -1024. Unless given, they are
            taken for HU, and refused if they look like HU with 1024 added; 0 takes any. DICOM has its own.

        Returns
        -------
        Scan

        Raises
        ------
        UnreadableScan
            If the file is damaged, holds no scan, no HU, or several scans and `series` does not say which, or if its
            slices do not make up an even grid and `resample` is not set.
        """
        place = existing("path", path)
        if suffix_of(place) in FORMATS and not place.is_dir():
            with naming(place):
                scan = cls._made(place, image_fields(place))
                return replace(scan, hu=in_hu(place, scan.hu, intercept))
        headers = headers_in(files_in(place) if place.is_dir() else [place])
        if place.is_file() and headers:  # one slice stands for its series
            beside = headers_in(files_in(place.parent))
            own = [uid for uid, one in series_in(beside, foreign=True).items() if place in {a.file for a in one.slices}]
            if series or len(own) == 1:
                series, headers = series or own[0], beside
        chosen = chosen_series(place, headers, series)
        if chosen.damage:
            raise UnreadableScan(chosen.damage)
        return cls.stack(list(chosen.slices), resample=resample)

    @classmethod
    def stack(cls, slices: list[Slice], *, resample: bool = False) -> Self:
        """Read the slices of one DICOM series, given by their headers in any order; see `read`."""
        with naming(slices[0].file):
            return cls._made(slices[0].file.parent, stacked(slices, resample))

    @classmethod
    def _made(cls, where: Path, fields: dict[str, Any]) -> Self:
        try:
            scan = cls(**fields)
        except ValueError as error:
            raise UnreadableScan(f"{where}: {' '.join(str(error).split())}") from error
        if np.abs(scan.origin).max() > FARTHEST:
            raise UnreadableScan(f"{where}: its origin is {scan.origin}, expected mm in a patient")
        longest = float(scan.extent.max())
        if not LENGTHS[0] <= longest <= LENGTHS[1]:
            raise UnreadableScan(f"{where}: is {longest:g} mm long, expected lengths in mm")
        return scan

    @classmethod
    def of_crop(cls, values: NDArray[Any], centre: ArrayLike, spacing: float = 1.0, series: str = "") -> Self:
        """Return a map of a crop, or the crop, as a scan of its own, which `save` puts where it lies in the patient.

        A map on the grid of a scan is `dataclasses.replace(scan, hu=values)`.

        Parameters
        ----------
        values : ndarray of shape (D, H, W)
            In any unit, indexed (z, y, x).
        centre, spacing
            As of `crop`.
        series : str
            Its name.
        """
        middle = (np.array(np.shape(values))[::-1] - 1) / 2 * spacing
        return cls(values, np.asarray(centre, np.float64) - middle, (spacing,) * 3, series=series)

    def save(self, path: str | Path) -> None:
        """Write the scan; nothing is at `path` before all of it is.

        Parameters
        ----------
        path : str or Path
            A .mha, .mhd, .nii, .nii.gz or .nrrd file, or the folder of a DICOM series, one file a slice, in which
            intensities are rounded to 1 HU; slices that are in it are replaced.

        Raises
        ------
        ValueError
            If the suffix is of another format.
        FileExistsError
            If the folder holds anything but slices.
        """
        target = Path(path)
        if suffix_of(target) in FORMATS:
            with replacing(target) as file:
                sitk().WriteImage(self._image(), str(file))
        elif target.suffix and not UID.fullmatch(target.name):
            raise ValueError(f"path={str(path)!r}: expected {', '.join(FORMATS)}, or a folder for a DICOM series")
        else:
            others = [file.name for file in target.iterdir() if file.suffix != ".dcm"] if target.is_dir() else []
            if others:
                raise FileExistsError(f"path={str(path)!r}: holds {others[0]}, expected a folder that may be replaced")
            with replacing(target) as folder:
                folder.mkdir()
                positions = self.to_world([(k, 0, 0) for k in range(len(self.hu))])
                write_slices(folder, self.hu, positions, self.spacing, self.direction, self.series, self.patient)

    def to_world(self, index: ArrayLike) -> NDArray[np.float64]:
        """Return the world coordinates (x, y, z) in mm of indices (z, y, x), whole or not, of shape (..., 3)."""
        steps = np.asarray(index, np.float64)[..., ::-1] * self.spacing
        return steps @ self.direction.T + self.origin

    def to_index(self, world: ArrayLike) -> NDArray[np.float64]:
        """Return the indices (z, y, x), not rounded, of world coordinates (x, y, z) in mm, of shape (..., 3)."""
        steps = (np.asarray(world, np.float64) - self.origin) @ self.direction
        return (steps / self.spacing)[..., ::-1]

    def __contains__(self, world: ArrayLike) -> bool:
        """Return whether a point (x, y, z) in mm lies in one of the voxels."""
        return bool(self._holds(self.to_index(world)))

    @property
    def centre(self) -> NDArray[np.float64]:
        """World coordinates (x, y, z) in mm of the middle of the grid."""
        return self.to_world((np.array(self.hu.shape) - 1) / 2)

    @property
    def extent(self) -> NDArray[np.float64]:
        """Size along the world axes (z, y, x) in mm of the smallest upright box that holds all voxels."""
        return (np.abs(self.direction) @ (np.array(self.hu.shape)[::-1] * self.spacing))[::-1]

    @property
    def orientation(self) -> str:
        """The direction in the patient in which each axis of `hu` increases, the nearest one of an oblique scan.

        It is written as in `Images`: "SPL" where the axes (z, y, x) of `hu` are those of the world.
        """
        world, index = linear_sum_assignment(-np.abs(self.direction))
        letters = {k: DIRECTIONS[axis][int(self.direction[axis, k] > 0)] for axis, k in zip(world, index, strict=True)}
        return "".join(letters[k] for k in (2, 1, 0))

    def crop(
        self, centre: ArrayLike, shape: tuple[int, int, int], spacing: float = 1.0, outside: float = AIR
    ) -> NDArray[np.float32]:
        """Resample an upright box of the scan, with one interpolation from its own grid.

        The axes of the box are the world axes z, y and x ("SPL"), whatever the direction of the scan. A voxel of it is
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
        # How fast each index (a row) runs along each world axis z, y, x (a column), in mm and in voxels of the box.
        rate = (self.direction / self.spacing).T[::-1, ::-1]
        points = np.maximum(1, np.ceil(np.abs(rate).max(axis=0) * spacing - 1e-3)).astype(int)
        step = spacing / points  # mm between the points
        fine = np.array(shape) * points
        first = self.to_index(centre) - rate @ (step * (fine - 1) / 2)
        rate = rate * step
        corners = first + np.stack(np.meshgrid(*[(0, n - 1) for n in fine]), axis=-1) @ rate.T
        within = bool(self._holds(corners).all())
        box = np.empty(shape, np.float32)
        rows = max(1, POINTS_AT_ONCE // (points[0] * fine[1] * fine[2]))
        for start in range(0, shape[0], rows):
            size = (min(rows, shape[0] - start) * points[0], fine[1], fine[2])
            at = first + rate[:, 0] * start * points[0]
            # Beyond the outermost centres a voxel has the intensity that it has at its centre.
            hu = ndimage.affine_transform(self.hu, rate, at, size, np.float32, order=1, mode="nearest")
            if not within:
                z, y, x = (rate[:, axis, None] * np.arange(n) for axis, n in enumerate(size))
                for k, last in enumerate(self.hu.shape):  # the k-th index of every point
                    index = at[k] + z[k][:, None, None] + y[k][:, None] + x[k]
                    hu[(index < -0.5) | (index > last - 0.5)] = outside
            parts = (size[0] // points[0], points[0], shape[1], points[1], shape[2], points[2])
            box[start : start + rows] = hu.reshape(parts).mean(axis=(1, 3, 5))
        return box

    def _holds(self, index: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.all((index >= -0.5) & (index <= np.array(self.hu.shape) - 0.5), axis=-1)

    def _image(self) -> Any:
        image = sitk().GetImageFromArray(self.hu)
        image.SetOrigin(self.origin.tolist())
        image.SetSpacing(self.spacing.tolist())
        image.SetDirection(self.direction.ravel().tolist())
        return image


def _numbers(parameter: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    numbers = np.array(value, np.float64)
    if numbers.shape != shape or not np.isfinite(numbers).all():
        raise ValueError(f"{parameter}={value!r}: expected finite numbers of shape {shape}")
    return numbers
