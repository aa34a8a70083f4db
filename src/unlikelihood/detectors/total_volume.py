"""The volume of what is in the middle of a sample: size alone."""

import numpy as np
from scipy.ndimage import distance_transform_edt, label

from unlikelihood.contract.detector import Detector
from unlikelihood.nn.statistics import inside_distance
from unlikelihood.parameters import NonNegative


class TotalVolume(Detector):
    r"""Scores a sample by the volume of the bright object in its middle, larger = less normal: the size baseline.

    .. math:: -\#\{i \in P : x_i > t\}

    with P the connected part above the threshold t that is nearest to the middle, without what the whole touches by
    necks thinner than `neck`. That anomalies are the larger ones, as cancers are, is assumed and not learnt.

    Parameters
    ----------
    threshold : float
        t, in the samples' unit, of the mean over the channels.
    neck : float
        Width in pixels of the thinnest connection that holds a part together; 0 keeps all that touches.
    """

    threshold: float = 0.5
    neck: NonNegative = 0.0

    unexportable = "its score measures regions by algorithms that no graph has operations for"

    def _fit(self, X: np.ndarray) -> None:
        pass

    def _score(self, X: np.ndarray) -> np.ndarray:
        return -np.array([self._volume(x) for x in X], np.float64)

    def _volume(self, x: np.ndarray) -> int:
        bright = (x.mean(axis=0) if x.ndim > 1 else x) > self.threshold
        # An opening by a ball of the neck's width: the core that is deep enough, and what lies near it.
        reach = self.neck / 2
        core = inside_distance(bright) > reach
        if not core.any():
            return 0
        places = np.argwhere(core)
        middle = places[np.square(places - (np.array(core.shape) - 1) / 2).sum(1).argmin()]
        parts, _ = label(core)
        return int((bright & (distance_transform_edt(parts != parts[tuple(middle)]) <= reach)).sum())
