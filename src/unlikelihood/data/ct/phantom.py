"""Lung nodules that were never in a patient: synthetic CT of which everything is known."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import override

from unlikelihood.data.ct.anatomy import Floats, Nodule, draw_nodule, render
from unlikelihood.data.ct.hounsfield import LUNG_WINDOW
from unlikelihood.data.ct.scan import IDENTITY, WORLD, Scan
from unlikelihood.data.images import Images, windowed
from unlikelihood.data.source import Source
from unlikelihood.data.splits import Split
from unlikelihood.storage.files import replacing

SCAN_EXTENT = (60.0, 60.0, 100.0)  # mm along z, y and x
NODULE_PLACES = ((0.0, 0.0, -22.0), (0.0, 0.0, 22.0))  # mm from the middle of a scan along z, y and x
COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm", "malignant")  # LUNA16's, and the label


@dataclass(frozen=True, kw_only=True)
class Phantom(Source):
    """Synthetic chest CT around benign (normal) and malignant (anomalous) lung nodules; [0, 1] is a window in HU.

    A patch is lung parenchyma with vessels, now and then the chest wall, scanner noise, and a nodule near its centre.
    What makes a nodule malignant is what radiologists look for: spicules, lobes and an uneven density. Every trait
    is normally distributed in both kinds, the means apart by 3 (1 - difficulty) standard deviations, so that the kinds
    overlap. Diameters are lognormal, those of malignant nodules a fifth larger: size alone gives an AUROC of about
    0.65. The anatomy around the nodule is the same for both kinds. The mask of a malignant nodule is where it fills at
    least half of a voxel.

    Benign nodule k is sample 2k and malignant nodule k is sample 2k + 1; a sample follows from the seed and its number
    alone. The counts are those of Table I of the thesis.

    Parameters
    ----------
    train, calibration : int
        Benign nodules to train on and to calibrate with.
    benign, malignant : int
        Nodules of the test.
    evaluated : int or None
        Of each kind, how many of these the test holds: equally many, as the thesis evaluates. None holds all.
    size : int
        Voxels of 1 mm along each axis of a patch.
    difficulty : float
        0 to 1; at 1 size alone tells the kinds apart.
    window : tuple of float
        The HU that become 0 and 1; what lies outside is clipped.
    seed : int
        Seed of everything; another seed gives other nodules.

    Examples
    --------
    >>> Phantom(train=3, calibration=2, benign=2, malignant=2, evaluated=None, size=16).split().test
    Images(4 of shape (1, 16, 16, 16), 2 anomalous)
    """

    train: int = 1722
    calibration: int = 431
    benign: int = 539
    malignant: int = 143
    evaluated: int | None = 120
    size: int = 32
    difficulty: float = 0.5
    window: tuple[float, float] = LUNG_WINDOW

    @override
    def read(self) -> Images:
        benign = self.train + self.calibration + self.benign
        return self.images([*(2 * np.arange(benign)), *(2 * np.arange(self.malignant) + 1)])

    @override
    def split(self) -> Split:
        held = (self.benign, self.malignant) if self.evaluated is None else (self.evaluated, self.evaluated)
        if held[0] > self.benign or held[1] > self.malignant:
            raise ValueError(
                f"evaluated={self.evaluated}: expected at most {min(self.benign, self.malignant)}, "
                f"for the test has {self.benign} benign and {self.malignant} malignant nodules"
            )
        first = self.train + self.calibration
        return Split(
            train=self.images(2 * np.arange(self.train)),
            calibration=self.images(2 * np.arange(self.train, first)),
            test=self.images([*(2 * np.arange(first, first + held[0])), *(2 * np.arange(held[1]) + 1)]),
        )

    def images(self, samples: Sequence[int] | NDArray[np.integer]) -> Images:
        """Make the patches of samples, by their numbers."""
        self._check()
        pixels = np.empty((len(samples), 1, *(self.size,) * 3), np.float32)
        label = np.asarray(samples, np.int64) % 2
        mask = np.zeros((len(samples), *(self.size,) * 3), bool) if label.any() else None
        for row, sample in enumerate(samples):
            hu, filled = self._render(int(sample))
            pixels[row, 0] = windowed(hu, self.window)
            if mask is not None and label[row]:
                mask[row] = filled >= 0.5
        name = np.array([f"phantom/{self.seed}/{sample:05d}" for sample in samples], dtype=np.str_)
        return Images(
            pixels=pixels,
            label=label,
            group=name,
            spacing=(1.0, 1.0, 1.0),
            orientation=WORLD,
            name=name,
            mask=mask,
        )

    def nodule(self, sample: int) -> Nodule:
        """Return what is true of the nodule of a sample."""
        return self._draw(sample)[0]

    def patch(self, sample: int) -> Floats:
        """Return the patch of a sample in HU, (size, size, size)."""
        return self._render(sample)[0]

    def _render(self, sample: int) -> tuple[Floats, Floats]:
        """Return the patch of a sample in HU, and how much of each voxel is nodule."""
        nodule, rng = self._draw(sample)
        axis = np.arange(self.size, dtype=np.float32)
        points = np.stack(np.meshgrid(*[axis - np.float32(middle) for middle in nodule.centre], indexing="ij"))
        return render(points, (1.0, 1.0, 1.0), [nodule], [np.zeros(3)], rng)

    def scan(
        self, number: int, spacing: tuple[float, float, float] = (0.7, 0.7, 2.5), direction: ArrayLike = IDENTITY
    ) -> tuple[Scan, list[Nodule]]:
        """Make a small scan, of 100 x 60 x 60 mm, with two nodules: benign ones if its number is even.

        Parameters
        ----------
        number : int
            The scan, and with the seed all that is in it, follows from it alone.
        spacing : tuple of float
            Size of a voxel along the index axes x, y and z in mm.
        direction : array-like of shape (3, 3)
            Its columns are the world directions of the index axes.

        Returns
        -------
        scan : Scan
        nodules : list of Nodule
            Centred in world coordinates (x, y, z).
        """
        self._check()
        rng = np.random.default_rng([self.seed, number, 1])
        steps = spacing[2], spacing[1], spacing[0]
        shape = [round(extent / step) for extent, step in zip(SCAN_EXTENT, steps, strict=True)]
        middle = (np.array(shape) - 1) / 2
        centres = [np.array(place) + rng.uniform(-3, 3, 3) for place in NODULE_PLACES]
        drawn = [draw_nodule(rng, (0.0, 0.0, 0.0), self.difficulty, malignant=bool(number % 2)) for _ in centres]
        axes = [step * (np.arange(n) - at) for step, n, at in zip(steps, shape, middle, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"))
        hu = render(points, steps, drawn, centres, rng)[0].round().astype(np.int16)
        name = f"2.25.1{self.seed:04d}{number:06d}"  # a series instance UID
        made = Scan(hu, rng.uniform(-200, 200, 3).round(1), spacing, direction, series=name, patient=name)
        world = [made.to_world(centre / steps + middle).tolist() for centre in centres]
        return made, [replace(one, centre=tuple(place)) for one, place in zip(drawn, world, strict=True)]

    def write(self, folder: str | Path, scans: int, suffix: str = ".mha") -> Path:
        """Write the first scans, and a table of their nodules with the columns of LUNA16 and the label.

        Parameters
        ----------
        folder : str or Path
            Made if it is not there.
        scans : int
            How many.
        suffix : str
            Of their files: .mha, .mhd, .nii, .nii.gz or .nrrd; an empty one writes a folder of DICOM slices each.

        Returns
        -------
        Path
            The table, annotations.csv.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        with replacing(place / "annotations.csv") as file, file.open("w", newline="", encoding="utf-8") as table:
            rows = csv.writer(table)
            rows.writerow(COLUMNS)
            for number in range(scans):
                scan, nodules = self.scan(number)
                scan.save(place / f"{scan.series}{suffix}")
                for one in nodules:
                    numbers = (*one.centre, one.diameter)
                    rows.writerow([scan.series, *(f"{value:.3f}" for value in numbers), int(one.malignant)])
        return place / "annotations.csv"

    def truth(self, samples: Sequence[int] | NDArray[np.integer]) -> dict[str, NDArray[np.generic]]:
        """Return what is true of the nodules of samples, as columns of a table; see `Nodule`."""
        rows = [asdict(self.nodule(int(sample))) for sample in samples]
        return {key: np.array([row[key] for row in rows]) for key in rows[0]} if rows else {}

    def _draw(self, sample: int) -> tuple[Nodule, np.random.Generator]:
        rng = np.random.default_rng([self.seed, sample])
        malignant = bool(sample % 2)
        middle = (self.size - 1) / 2 + rng.uniform(-1, 1, 3)
        return draw_nodule(rng, (middle[0], middle[1], middle[2]), self.difficulty, malignant=malignant), rng

    def _check(self) -> None:
        for name in ("train", "calibration", "benign", "malignant"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}: expected an integer of at least 0")
        if self.size < 8:
            raise ValueError(f"size={self.size}: expected at least 8 voxels along each axis")
        if not 0 <= self.difficulty <= 1:
            raise ValueError(f"difficulty={self.difficulty}: expected a number from 0 to 1")
