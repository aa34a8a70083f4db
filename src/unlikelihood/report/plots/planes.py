"""Flat views of samples of any shape: an image as it is, a volume slice by slice in one of three planes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MONTAGE = 25  # slices: five rows of five, as in the thesis
OPPOSITE = {"S": "I", "I": "S", "P": "A", "A": "P", "L": "R", "R": "L"}


@dataclass(frozen=True)
class Plane:
    """A plane through volumes (C, D, H, W), and how its slices are laid on the page.

    The first axis of a volume grows upward where it is seen from the side, the second downward where it is seen from
    above and to the right otherwise, the third to the right. With axes that grow to the head, the back and the left,
    as readers of CT have them, that is how radiologists look at them.

    Parameters
    ----------
    name : str
        What it is called where the axes grow so.
    across : int
        The spatial axis along which slices are numbered.
    rows, columns : int
        The spatial axes that a slice shows.
    upward : bool
        Whether the rows grow upward.
    """

    name: str
    across: int
    rows: int
    columns: int
    upward: bool

    def slices(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Return all slices of a volume (C, D, H, W) as images (n, C, height, width)."""
        slices = np.moveaxis(volume, self.across + 1, 0)
        return slices[:, :, ::-1] if self.upward else slices

    def aspect(self, spacing: Sequence[float] | None) -> float:
        """Return the height of a pixel over its width, for a spacing in mm along D, H and W."""
        return 1.0 if spacing is None else spacing[self.rows] / spacing[self.columns]

    def edges(self, orientation: str | None) -> tuple[str, str, str, str]:
        """Return what to write at the left, right, top and bottom.

        Parameters
        ----------
        orientation : str or None
            Where D, H and W grow to, such as "SPL": S or I, A or P, L or R, or a space where an axis is not shown;
            nothing is written if it is not known.
        """
        if orientation is None:
            return "", "", "", ""
        right, bottom = orientation[self.columns], orientation[self.rows]
        top = OPPOSITE[bottom]
        return (OPPOSITE[right], right, bottom, top) if self.upward else (OPPOSITE[right], right, top, bottom)


AXIAL = Plane("axial", 0, 1, 2, upward=False)
CORONAL = Plane("coronal", 1, 0, 2, upward=True)
SAGITTAL = Plane("sagittal", 2, 0, 1, upward=True)
PLANES = (AXIAL, CORONAL, SAGITTAL)


def evenly(depth: int, most: int = MONTAGE) -> NDArray[np.intp]:
    """Return the numbers of at most `most` slices out of `depth`, the first and the last among them."""
    return np.linspace(0, depth - 1, min(depth, most)).round().astype(np.intp)


def rows_and_columns(count: int) -> tuple[int, int]:
    """Return the rows and columns in which slices are laid out: a square, or as near to one as their number allows."""
    columns = math.isqrt(max(count - 1, 0)) + 1
    return -(-count // columns), columns


def flat(image: NDArray[Any]) -> NDArray[np.float64]:
    """Return what is drawn of a sample that is no volume: (H, W), (H, W, 3) or (F,)."""
    shown = np.asarray(image, np.float64)
    if shown.ndim == 1:
        return shown
    return shown.transpose(1, 2, 0) if len(shown) == 3 else shown.mean(axis=0)


def view(sample: NDArray[Any], at: int | None = None) -> NDArray[np.float64]:
    """Return what is drawn of any sample, of a volume the axial slice number `at`, or that in its middle."""
    if sample.ndim < 4:
        return flat(sample)
    return flat(AXIAL.slices(sample)[sample.shape[1] // 2 if at is None else at])


def ratio(shape: Sequence[int], spacing: Sequence[float] | None, slices: int = 1) -> float:
    r"""Return the width over the height of what is drawn of a sample of `shape`, (C, \*space), in mm.

    Parameters
    ----------
    shape : sequence of int
        Of an image or a volume.
    spacing : sequence of float or None
        In mm along each spatial axis.
    slices : int
        How many axial slices are laid out beside each other.
    """
    (height, width), (down, right) = shape[-2:], (spacing or (1.0, 1.0))[-2:]
    rows, columns = rows_and_columns(slices)
    return columns * width * right / (rows * height * down)
