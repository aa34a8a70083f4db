"""Made-up sets of MedMNIST, of a few images of every class."""

import numpy as np

from unlikelihood.data.medmnist_sets import SETS

COUNTS = {"train": 4, "val": 2, "test": 3}  # of each class


def labels(published, each):
    """Return the labels of some images of every class, or of none, of each one and of all labels."""
    known = len(published.classes)
    if published.multi_label:
        rows = np.vstack([np.zeros((1, known)), np.eye(known), np.ones((1, known))])
        return np.tile(rows.astype(np.uint8), (each, 1))
    return np.tile(np.arange(known, dtype=np.uint8), each)[:, None]


def write(folder, name, size=28, **changed):
    """Write a set of a few images of every class, with some arrays changed, and return all arrays."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, each in COUNTS.items():
        arrays[f"{part}_labels"] = labels(SETS[name], each)
        shape = (len(arrays[f"{part}_labels"]), *SETS[name].stored(size))
        arrays[f"{part}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
    arrays |= changed
    np.savez(folder / (f"{name}.npz" if size == 28 else f"{name}_{size}.npz"), **arrays)
    return arrays
