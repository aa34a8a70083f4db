"""Single pictures of single samples, as PNG files inside the page."""

import base64
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.image import imsave
from numpy.typing import NDArray

HEAT = "inferno"  # brightness rises with the value, so it reads alike with any colour vision, and in print
LARGEST = 320  # pixels along a side


def still(sample: NDArray[Any], limits: tuple[float, float], colours: str = "gray", whole: bool = True) -> str:
    """Return a sample as the address of a picture that holds itself.

    Parameters
    ----------
    sample : ndarray, shape (C, H, W), (C, D, H, W) or (F,)
        An image is drawn as it is, a volume as a montage of up to 25 slices, a vector as a strip. Three channels are
        red, green and blue, any other number is averaged.
    limits : tuple of float
        Values of the first and the last colour.
    colours : str
        Name of a matplotlib colour map.
    whole : bool
        Draw all of a volume; otherwise its middle slice.

    Returns
    -------
    str
        ``data:image/png;base64,…``
    """
    low, high = limits
    plane = _plane(np.asarray(sample, np.float64), whole)
    step = max(1, -(-max(plane.shape[:2]) // LARGEST))
    shown = np.clip((plane[::step, ::step] - low) / ((high - low) or 1.0), 0, 1)
    buffer = BytesIO()
    imsave(buffer, shown if shown.ndim == 3 else colormaps[colours](shown)[..., :3], format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def heat(values: NDArray[Any], scale: float, whole: bool = True) -> str:
    r"""Return an anomaly map as the address of a picture.

    Parameters
    ----------
    values : ndarray, shape \*space or (F,)
        The map.
    scale : float
        Value of the strongest colour; 0 is black.
    whole : bool
        As in `still`.

    Returns
    -------
    str
        ``data:image/png;base64,…``
    """
    return still(values if values.ndim == 1 else values[None], (0.0, scale), HEAT, whole)


def _plane(sample: NDArray[np.float64], whole: bool) -> NDArray[np.float64]:
    """Return (H, W) or (H, W, 3)."""
    if sample.ndim == 1:
        return np.tile(sample, (max(1, len(sample) // 6), 1))
    if sample.ndim == 3:
        return sample.transpose(1, 2, 0) if len(sample) == 3 else sample.mean(axis=0)
    if not whole:
        return _plane(sample[:, sample.shape[1] // 2], whole)
    depth = sample.shape[1]
    planes = [_plane(sample[:, z], whole) for z in np.linspace(0, depth - 1, min(depth, 25)).round().astype(int)]
    columns = int(np.ceil(np.sqrt(len(planes))))
    planes += [np.full_like(planes[0], planes[0].min())] * (-len(planes) % columns)
    return np.vstack([np.hstack(planes[row : row + columns]) for row in range(0, len(planes), columns)])
