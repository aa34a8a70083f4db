"""Lung nodules that were never in a patient: synthetic CT of which everything is known."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from unlikelihood.data.ct.scan import IDENTITY, Scan
from unlikelihood.data.images import Images, windowed
from unlikelihood.data.source import Source
from unlikelihood.data.splits import Split
from unlikelihood.storage.files import replacing

Floats = NDArray[np.float32]

AIR, BLOOD, WALL, SOLID, GROUND_GLASS, CALCIUM = -870.0, 45.0, 30.0, 30.0, -550.0, 420.0  # HU
EDGE = 1.2  # mm over which a surface fades: partial volume and the scanner's point spread
SMALLEST, LARGEST = 4.0, 20.0  # mm, diameters of nodules
MOST_SPICULES = 16
PLACES = ((0.0, 0.0, -22.0), (0.0, 0.0, 22.0))  # mm from a scan's middle, of its nodules, along its axes
EXTENT = (60.0, 60.0, 100.0)  # mm along its axes
COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm", "malignant")  # LUNA16's, and the label
APART = 3.0  # standard deviations between the kinds' traits at difficulty 0


@dataclass(frozen=True)
class Nodule:
    """What is true of a phantom's nodule.

    Parameters
    ----------
    centre : tuple of float
        In mm: of a patch along each axis of the pixels (depth, height, width) from the centre of the first voxel, of
        a scan the world's (x, y, z).
    diameter : float
        Of the sphere that its surface waves around, in mm; spicules reach beyond it.
    lobulation : float
        Height of the waves as a fraction of the radius.
    spicules : int
        Spikes that radiate from it.
    heterogeneity : float
        Standard deviation of its density, in HU.
    density : float
        Mean of its density, in HU.
    malignant : bool
        Its label.
    """

    centre: tuple[float, float, float]
    diameter: float
    lobulation: float
    spicules: int
    heterogeneity: float
    density: float
    malignant: bool


@dataclass(frozen=True, kw_only=True)
class Phantom(Source):
    """Synthetic chest CT around benign (normal) and malignant (anomalous) lung nodules; [0, 1] is a window in HU.

    A patch is lung parenchyma with vessels, now and then the chest wall, scanner noise, and a nodule near its centre.
    What makes a nodule malignant is what radiologists look for: spicules, lobes and an uneven density. Every trait
    is normally distributed in both kinds, the means apart by 3 (1 - difficulty) standard deviations, so that the kinds
    overlap. Diameters are lognormal, those of malignant nodules a fifth larger: size alone gives an AUROC of about
    0.65. The anatomy around the nodule is the same for both kinds.

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
    window: tuple[float, float] = (-1000.0, 400.0)

    def read(self) -> Images:
        """Make all patches: the benign nodules of train, calibration and test in this order, then the malignant ones.

        Returns
        -------
        Images
            Volumes (1, size, size, size), labelled, named by seed and number, each a group of its own.

        Raises
        ------
        ValueError
            If a count, the size or the difficulty is out of its bounds.
        """
        benign = self.train + self.calibration + self.benign
        return self.images([*(2 * np.arange(benign)), *(2 * np.arange(self.malignant) + 1)])

    def split(self) -> Split:
        """Make the patches of train, calibration and test, the latter balanced.

        Returns
        -------
        Split
            The parts; the same for the same seed.
        """
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
        """Make the patches of the given samples.

        Parameters
        ----------
        samples : sequence of int
            Their numbers: even ones are benign, odd ones malignant.

        Returns
        -------
        Images
        """
        self._check()
        pixels = np.empty((len(samples), 1, *(self.size,) * 3), np.float32)
        for row, sample in zip(pixels, samples, strict=True):
            row[0] = windowed(self.patch(int(sample)), self.window)
        name = np.array([f"phantom/{self.seed}/{sample:05d}" for sample in samples], dtype=np.str_)
        return Images(
            pixels=pixels, label=np.asarray(samples, np.int64) % 2, group=name, spacing=(1.0, 1.0, 1.0), name=name
        )

    def nodule(self, sample: int) -> Nodule:
        """Return what is true of the nodule of a sample."""
        return self._draw(sample)[0]

    def patch(self, sample: int) -> Floats:
        """Return the patch of a sample in HU, (size, size, size)."""
        nodule, rng = self._draw(sample)
        axis = np.arange(self.size, dtype=np.float32)
        points = np.stack(np.meshgrid(*[axis - np.float32(middle) for middle in nodule.centre], indexing="ij"))
        return scanned(points, (1.0, 1.0, 1.0), [nodule], [np.zeros(3)], rng)

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
        shape = [round(extent / step) for extent, step in zip(EXTENT, steps, strict=True)]
        middle = (np.array(shape) - 1) / 2
        centres = [np.array(place) + rng.uniform(-3, 3, 3) for place in PLACES]
        drawn = [nodule(rng, (0.0, 0.0, 0.0), self.difficulty, malignant=bool(number % 2)) for _ in centres]
        axes = [step * (np.arange(n) - at) for step, n, at in zip(steps, shape, middle, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"))
        hu = scanned(points, steps, drawn, centres, rng).round().astype(np.int16)
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
        return nodule(rng, (middle[0], middle[1], middle[2]), self.difficulty, malignant=malignant), rng

    def _check(self) -> None:
        for name in ("train", "calibration", "benign", "malignant"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}: expected an integer of at least 0")
        if self.size < 8:
            raise ValueError(f"size={self.size}: expected at least 8 voxels along each axis")
        if not 0 <= self.difficulty <= 1:
            raise ValueError(f"difficulty={self.difficulty}: expected a number from 0 to 1")


def nodule(
    rng: np.random.Generator, centre: tuple[float, float, float], difficulty: float, *, malignant: bool
) -> Nodule:
    """Draw a nodule.

    Parameters
    ----------
    rng : Generator
        Where chance comes from.
    centre : tuple of float
        Where it is, in mm.
    difficulty : float
        See `Phantom`.
    malignant : bool
        Its kind.

    Returns
    -------
    Nodule
    """
    spiculation, lobulation, texture = rng.normal(size=3) + APART * (1 - difficulty) * malignant
    diameter = np.clip(8.0 * np.exp(0.35 * rng.normal() + 0.19 * malignant), SMALLEST, LARGEST)
    kind = rng.random()  # of density: most nodules are solid, some are ground glass, a few hold calcium
    density = GROUND_GLASS if kind < 0.1 else CALCIUM if kind > 0.95 else SOLID
    return Nodule(
        centre=centre,
        diameter=float(diameter),
        lobulation=float(np.clip(0.15 * (lobulation + 0.5), 0, 0.6)),
        spicules=int(np.clip(round(4 * spiculation), 0, MOST_SPICULES)),
        heterogeneity=float(np.clip(80 * (texture + 0.5), 0, 400)),
        density=density + float(rng.normal(0, 30)),
        malignant=malignant,
    )


def scanned(
    points: Floats,
    spacing: tuple[float, float, float],
    nodules: Sequence[Nodule],
    centres: Sequence[NDArray[np.floating]],
    rng: np.random.Generator,
) -> Floats:
    """Return the HU that a scanner sees at `points`, of lung with vessels, perhaps a chest wall, and nodules.

    Parameters
    ----------
    points : ndarray of shape (3, D, H, W)
        Where the voxels are, in mm.
    spacing : tuple of float
        Their size in mm.
    nodules : sequence of Nodule
        What is in there.
    centres : sequence of ndarray of shape (3,)
        Where they are, in mm.
    rng : Generator
        Where chance comes from.

    Returns
    -------
    ndarray of float32, shape (D, H, W)
    """
    space, flat = points.shape[1:], points.reshape(3, -1).astype(np.float32)

    def mottle(size: float) -> Floats:
        """Noise of unit variance that is alike over `size` mm."""
        white = rng.standard_normal(space, dtype=np.float32)
        smooth = gaussian_filter(white, [size / step for step in spacing], mode="wrap", truncate=3)
        return (smooth / smooth.std()).ravel()

    hu = AIR + rng.normal(0, 25) + 28 * mottle(2.0)
    hu = mixed(hu, BLOOD, vessels(flat, rng))
    clear = max(float(np.linalg.norm(at)) + 0.35 * one.diameter for one, at in zip(nodules, centres, strict=True))
    hu = mixed(hu, WALL + 12 * mottle(1.5), chest_wall(flat, rng, clear))
    for one, centre in zip(nodules, centres, strict=True):
        inside = body(flat - np.asarray(centre, np.float32)[:, None], one, rng)
        texture = one.density + one.heterogeneity * mottle(1.2) if one.heterogeneity else one.density
        hu = mixed(hu, texture, inside)
    return (hu + rng.uniform(15, 50) * mottle(0.5)).reshape(space).astype(np.float32)


def mixed(hu: Floats, other: Floats | float, share: Floats) -> Floats:
    """Return the HU of voxels of which a `share` is filled by something of `other` HU."""
    return hu + share * (other - hu)


def filled(depth: Floats) -> Floats:
    """Return the share of a voxel that lies inside a surface, whose centre is `depth` mm below it."""
    return np.clip(0.5 + depth / EDGE, 0, 1)


def directions(rng: np.random.Generator, n: int) -> Floats:
    """Draw `n` unit vectors, (n, 3)."""
    vectors = rng.standard_normal((n, 3), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def vessels(points: Floats, rng: np.random.Generator) -> Floats:
    """Return the share of each voxel that is vessel: bent tubes that get thinner on their way, (n,)."""
    reach = float(np.abs(points).max())  # a patch of 32 mm has 16
    deepest = np.full(points.shape[1], -EDGE, np.float32)
    for _ in range(int(rng.integers(3, 9) * max(1, round(reach / 16)))):
        along, other, towards = directions(rng, 3)
        bent = np.cross(along, other)
        bent /= np.linalg.norm(bent)
        frame = np.stack([along, bent, np.cross(along, bent)])
        through = towards * np.float32(reach * rng.uniform(0.15, 0.9))
        radius = np.float32(np.clip(0.9 * np.exp(0.45 * rng.normal()), 0.4, 3.0))
        t, a, b = frame @ points - (frame @ through)[:, None]
        a -= np.float32(rng.normal(0, 0.02) / 2) * t * t
        thinner = np.clip(1 - np.float32(0.012) * t, 0.3, 1.5)
        np.maximum(deepest, radius * thinner - np.sqrt(a * a + b * b), out=deepest)
    return filled(deepest)


def chest_wall(points: Floats, rng: np.random.Generator, clear: float) -> Floats:
    """Return the share of each voxel that is chest wall: 3 in 10 have one, `clear` mm or more away, (n,)."""
    present, inward, away, curvature = rng.random() < 0.3, directions(rng, 1).T, rng.uniform(0, 1), rng.uniform(50, 90)
    if not present:
        return np.zeros(points.shape[1], np.float32)
    distance = np.float32(curvature - clear - 12 * away)  # of the middle of a wide sphere, outside which the wall is
    return filled(length(points - distance * inward) - np.float32(curvature))


def body(points: Floats, nodule: Nodule, rng: np.random.Generator) -> Floats:
    """Return the share of each voxel that is nodule: a sphere with lobes and spicules, (n,)."""
    radius = np.float32(nodule.diameter / 2)
    lobes, spikes = directions(rng, 6), directions(rng, MOST_SPICULES)
    height = rng.uniform(-1, 1, 6).astype(np.float32)
    longest = (rng.uniform(2.0, 5.0, (MOST_SPICULES, 1)) + 0.4 * radius).astype(np.float32)
    width = rng.uniform(0.7, 1.2, (MOST_SPICULES, 1)).astype(np.float32)
    share = np.zeros(points.shape[1], np.float32)
    r = length(points)
    near = np.flatnonzero(r < 1.7 * radius + longest.max() + EDGE)
    r = r[near]
    u = points[:, near] / np.maximum(r, 1e-3)
    waves = height @ np.exp(5 * (lobes @ u - 1))
    depth = radius * (1 + np.float32(nodule.lobulation) * waves) - r
    if n := nodule.spicules:
        cosine = spikes[:n] @ u
        off = r * np.sqrt(np.clip(1 - cosine * cosine, 0, None))
        beyond = (r - radius) / longest[:n]
        spike = width[:n] * np.clip(1 - beyond, 0, 1) - off
        spike[(cosine <= 0) | (beyond > 1)] = -EDGE
        depth = np.maximum(depth, spike.max(0))
    share[near] = filled(depth)
    return share


def length(vectors: Floats) -> Floats:
    """Return the length of each of the vectors (3, n)."""
    return np.sqrt(np.einsum("an,an->n", vectors, vectors))
