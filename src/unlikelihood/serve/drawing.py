"""Samples and their maps as a page shows them: pictures of images, voxels of volumes."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.contract.detector import Detector
from unlikelihood.contract.refusals import NoVerdict
from unlikelihood.report import plots
from unlikelihood.report.browser import NEAREST
from unlikelihood.report.exhibits import spread
from unlikelihood.report.maps import UNIT, common_scale
from unlikelihood.report.nearest import Nearest
from unlikelihood.report.triage import Unusual

FEW = 50  # normals whose maps say what is usual
ALONG = 96  # voxels along an axis that a page is sent
LEVELS = 2**16 - 1  # of the intensities of a volume, between its lowest and its highest


class Drawing:
    r"""Draws samples, and where they are anomalous.

    Parameters
    ----------
    detector : Detector
        Fitted; its maps are drawn.
    spacing : float
        Size of a voxel of a scan in mm.
    orientation : str, optional
        Where the axes of a scan grow to in the patient, such as "SPL".
    normals : ndarray, shape (n, \*shape), optional
        With them, maps are in standard deviations of those of normals, and on one scale. Without, each is on its own,
        in the detector's unit: its brightest places need not be unusual. The nearest of them are drawn beside samples.
    """

    def __init__(
        self,
        detector: Detector,
        spacing: float = 1.0,
        orientation: str | None = None,
        normals: NDArray[Any] | None = None,
    ) -> None:
        self.detector, self.spacing, self.orientation = detector, spacing, orientation
        self.limits: tuple[float, float] | None = getattr(detector, "range_", None)
        self.unusual: Unusual | None = None
        self._nearest: Nearest | None = None
        if normals is not None:
            few = np.asarray(normals[spread(len(normals), FEW)])
            self.limits, self.unusual, self._nearest = plots.limits_of(few), Unusual.of(detector, few), Nearest(normals)

    @property
    def unit(self) -> str:
        """Of the values of the maps."""
        return self.detector.map_kind.unit if self.unusual is None else UNIT

    def maps(self, samples: NDArray[Any]) -> list[NDArray[np.float32] | None]:
        r"""Return the maps of samples (n, \*shape), None where nothing can be said."""
        if self.unusual is not None:
            values, failed = self.unusual(samples)
            return [None if row in failed else each for row, each in enumerate(values)]
        try:
            return list(self.detector.anomaly_map(samples))
        except NoVerdict:
            return [None] if len(samples) == 1 else [one for x in samples for one in self.maps(x[None])]

    def nearest(self, samples: NDArray[Any]) -> list[dict[str, Any]]:
        r"""Return the normals that look most like samples (n, \*shape), as what JSON can hold; of none, nothing."""
        if self._nearest is None:
            return [{} for _ in samples]
        limits = self.limits or (0.0, 1.0)
        return [
            {
                "nearest": [
                    {"picture": plots.still(normal, limits, whole=False, largest=NEAREST), "distance": float(far)}
                    for normal, far in zip(normals, distance, strict=True)
                ]
            }
            for normals, distance in zip(*self._nearest(samples), strict=True)
        ]

    def shown(self, sample: NDArray[Any], values: NDArray[np.float32] | None, *, scan: bool) -> dict[str, Any]:
        r"""Return a sample (\*shape) and its map as what JSON can hold: ``picture`` and ``map``, or ``volume``.

        Of a `scan` it is known how large it is and how it lies.
        """
        limits = self.limits or (float(sample.min()), float(sample.max()))
        scale = 1.0 if values is None else self.unusual.scale if self.unusual else common_scale(values)
        if sample.ndim == 4:
            spacing, orientation = (self.spacing, self.orientation) if scan else (1.0, None)
            edges = [plane.edges(orientation) for plane in (plots.AXIAL, plots.CORONAL, plots.SAGITTAL)]
            volume = self._volume(sample, values, scale)
            mm = [spacing * step for step in volume.pop("step")]
            return {"volume": volume | {"mm": mm, "edges": edges, "limits": list(map(float, limits))}}
        shown = {"picture": plots.still(sample, limits)}
        if values is not None:
            shown["map"] = plots.heat(values, scale) if values.ndim == 1 else plots.hot_still(values, scale)
        return shown

    def _volume(self, sample: NDArray[Any], values: NDArray[np.float32] | None, scale: float) -> dict[str, Any]:
        """Return the voxels of a volume (C, D, H, W), the mean of its channels, thinned to what a page can hold."""
        step = tuple(-(-size // ALONG) for size in sample.shape[1:])
        thin = tuple(slice(None, None, each) for each in step)
        voxels = np.asarray(sample[(slice(None), *thin)], np.float32).mean(axis=0)
        low, high = float(voxels.min()), float(voxels.max())
        levels = np.rint((voxels - low) / ((high - low) or 1.0) * LEVELS).astype("<u2")
        volume: dict[str, Any] = {"shape": voxels.shape, "step": step, "ends": (low, high), "voxels": _packed(levels)}
        if values is not None:
            heat = np.clip(np.rint(values[thin] / scale * 255), 0, 255).astype(np.uint8)
            start = np.unravel_index(int(heat.argmax()), heat.shape)
            volume |= {"map": _packed(heat), "start": list(map(int, start))}
        return volume


def _packed(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()
