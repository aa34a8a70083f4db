"""Small CT scans whose truth is known: spheres in a lung."""

import csv

import numpy as np
from scipy.spatial.transform import Rotation

from unlikelihood import Scan

LUNG, TISSUE = -850, 40  # HU
OBLIQUE = Rotation.from_euler("xyz", (8, -5, 12), degrees=True).as_matrix()
CENTRE = (12.3, -57.1, 155.2)  # mm
FORMATS = ("a.mha", "b.mhd", "c.nii", "d.nii.gz", "e.nrrd", "dicom")


def sphere(
    centre=CENTRE,
    diameter=14.0,
    shape=(20, 72, 76),
    spacing=(0.7, 0.7, 2.5),
    direction=OBLIQUE,
    off=(3, -2, 4),
    **known,
):
    """Return a scan of a ball; its middle lies `off` mm beside that of the grid."""
    half = (np.array(shape)[::-1] - 1) / 2 * spacing
    empty = Scan(np.zeros(shape), np.array(centre) - off - np.asarray(direction) @ half, spacing, direction)
    fine = (np.arange(3) - 1) / 3  # a voxel is a mean over its volume, as in a scanner
    share = np.zeros(shape)
    for part in np.stack(np.meshgrid(fine, fine, fine), axis=-1).reshape(-1, 3):
        world = empty.to_world(np.moveaxis(np.indices(shape), 0, -1) + part)
        share += np.linalg.norm(world - centre, axis=-1) <= diameter / 2
    hu = np.rint(LUNG + (TISSUE - LUNG) * share / 27).astype(np.int16)
    return Scan(hu, empty.origin, spacing, direction, **known)


def middle_and_diameter(hu, spacing=1.0):
    """Return the centre of mass of a ball in voxels from the middle of a cube, and its diameter in mm."""
    share = (hu.astype(np.float64) - LUNG) / (TISSUE - LUNG)
    at = [np.arange(n) - (n - 1) / 2 for n in hu.shape]
    mass = share.sum()
    middle = [share.sum(axis=tuple({0, 1, 2} - {k})) @ at[k] / mass for k in range(3)]
    return np.array(middle), (6 * mass * spacing**3 / np.pi) ** (1 / 3)


def write_table(file, rows, columns=("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")):
    """Write a CSV table as LUNA16's."""
    with file.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([columns, *rows])
    return file
