"""Synthetic lungs in HU: parenchyma with vessels, a chest wall and nodules, as a scanner sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Floats = NDArray[np.float32]

PARENCHYMA, BLOOD, WALL, SOLID, GROUND_GLASS, CALCIUM = -870.0, 45.0, 30.0, 30.0, -550.0, 420.0  # HU
BLUR = 1.2  # mm over which a surface fades: partial volume and the scanner's point spread
DIAMETERS = (4.0, 20.0)  # mm, the least and the largest of nodules
MAX_SPICULES = 16
SEPARATION = 3.0  # standard deviations between the traits of benign and malignant nodules at difficulty 0


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


def draw_nodule(
    rng: np.random.Generator, centre: tuple[float, float, float], difficulty: float, *, malignant: bool
) -> Nodule:
    """Draw the traits of a nodule at `centre`; see `Phantom`."""
    spiculation, lobulation, texture = rng.normal(size=3) + SEPARATION * (1 - difficulty) * malignant
    diameter = np.clip(8.0 * np.exp(0.35 * rng.normal() + 0.19 * malignant), *DIAMETERS)
    kind = rng.random()  # of density: most nodules are solid, some are ground glass, a few hold calcium
    density = GROUND_GLASS if kind < 0.1 else CALCIUM if kind > 0.95 else SOLID
    return Nodule(
        centre=centre,
        diameter=float(diameter),
        lobulation=float(np.clip(0.15 * (lobulation + 0.5), 0, 0.6)),
        spicules=int(np.clip(round(4 * spiculation), 0, MAX_SPICULES)),
        heterogeneity=float(np.clip(80 * (texture + 0.5), 0, 400)),
        density=density + float(rng.normal(0, 30)),
        malignant=malignant,
    )


def render(
    points: Floats,
    spacing: tuple[float, float, float],
    nodules: Sequence[Nodule],
    centres: Sequence[NDArray[np.floating]],
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Return the HU that a scanner sees at `points`, and how much of each voxel is nodule.

    Parameters
    ----------
    points : ndarray of shape (3, D, H, W)
        Where the voxels are, in mm from the middle.
    spacing : tuple of float
        Their size in mm.
    nodules : sequence of Nodule
        What is in there.
    centres : sequence of ndarray of shape (3,)
        Where they are, as `points`.
    rng : Generator

    Returns
    -------
    hu : ndarray of float32, shape (D, H, W)
    filled : ndarray of float32, shape (D, H, W)
        From 0 to 1.
    """
    space, flat = points.shape[1:], points.reshape(3, -1).astype(np.float32)

    def mottle(size: float) -> Floats:
        """Noise of unit variance that is alike over `size` mm."""
        white = rng.standard_normal(space, dtype=np.float32)
        smooth = gaussian_filter(white, [size / step for step in spacing], mode="wrap", truncate=3)
        return (smooth / smooth.std()).ravel()

    hu = PARENCHYMA + rng.normal(0, 25) + 28 * mottle(2.0)
    hu = mix(hu, BLOOD, vessel_share(flat, rng))
    clear = max(float(np.linalg.norm(at)) + 0.35 * one.diameter for one, at in zip(nodules, centres, strict=True))
    hu = mix(hu, WALL + 12 * mottle(1.5), wall_share(flat, rng, clear))
    filled = np.zeros_like(hu)
    for one, centre in zip(nodules, centres, strict=True):
        inside = nodule_share(flat - np.asarray(centre, np.float32)[:, None], one, rng)
        texture = one.density + one.heterogeneity * mottle(1.2) if one.heterogeneity else one.density
        hu = mix(hu, texture, inside)
        np.maximum(filled, inside, out=filled)
    hu = (hu + rng.uniform(15, 50) * mottle(0.5)).astype(np.float32)
    return hu.reshape(space), filled.reshape(space)


def mix(hu: Floats, other: Floats | float, share: Floats) -> Floats:
    """Return the HU of voxels of which a `share` is filled by something of `other` HU."""
    return hu + share * (other - hu)


def share_inside(depth: Floats) -> Floats:
    """Return the share of a voxel that lies inside a surface, whose centre is `depth` mm below it."""
    return np.clip(0.5 + depth / BLUR, 0, 1)


def directions(rng: np.random.Generator, n: int) -> Floats:
    """Draw `n` unit vectors, (n, 3)."""
    vectors = rng.standard_normal((n, 3), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def vessel_share(points: Floats, rng: np.random.Generator) -> Floats:
    """Return the share of each voxel that is vessel: bent tubes that get thinner on their way, (n,)."""
    reach = float(np.abs(points).max())  # a patch of 32 mm has 16
    deepest = np.full(points.shape[1], -BLUR, np.float32)
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
    return share_inside(deepest)


def wall_share(points: Floats, rng: np.random.Generator, clear: float) -> Floats:
    """Return the share of each voxel that is chest wall: 3 in 10 have one, `clear` mm or more away, (n,)."""
    present, inward, away, curvature = rng.random() < 0.3, directions(rng, 1).T, rng.uniform(0, 1), rng.uniform(50, 90)
    if not present:
        return np.zeros(points.shape[1], np.float32)
    distance = np.float32(curvature - clear - 12 * away)  # of the middle of a wide sphere, outside which the wall is
    return share_inside(length(points - distance * inward) - np.float32(curvature))


def nodule_share(points: Floats, nodule: Nodule, rng: np.random.Generator) -> Floats:
    """Return the share of each voxel that is nodule: a sphere with lobes and spicules, (n,)."""
    radius = np.float32(nodule.diameter / 2)
    lobes, spikes = directions(rng, 6), directions(rng, MAX_SPICULES)
    height = rng.uniform(-1, 1, 6).astype(np.float32)
    longest = (rng.uniform(2.0, 5.0, (MAX_SPICULES, 1)) + 0.4 * radius).astype(np.float32)
    width = rng.uniform(0.7, 1.2, (MAX_SPICULES, 1)).astype(np.float32)
    share = np.zeros(points.shape[1], np.float32)
    r = length(points)
    near = np.flatnonzero(r < 1.7 * radius + longest.max() + BLUR)
    r = r[near]
    u = points[:, near] / np.maximum(r, 1e-3)
    waves = height @ np.exp(5 * (lobes @ u - 1))
    depth = radius * (1 + np.float32(nodule.lobulation) * waves) - r
    if n := nodule.spicules:
        cosine = spikes[:n] @ u
        off = r * np.sqrt(np.clip(1 - cosine * cosine, 0, None))
        beyond = (r - radius) / longest[:n]
        spike = width[:n] * np.clip(1 - beyond, 0, 1) - off
        spike[(cosine <= 0) | (beyond > 1)] = -BLUR
        depth = np.maximum(depth, spike.max(0))
    share[near] = share_inside(depth)
    return share


def length(vectors: Floats) -> Floats:
    """Return the length of each of the vectors (3, n)."""
    return np.sqrt(np.einsum("an,an->n", vectors, vectors))
