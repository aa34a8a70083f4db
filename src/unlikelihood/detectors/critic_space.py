"""Another detector, on what a critic sees in samples."""

import numpy as np
import torch

from unlikelihood.detector import Detector, Generator, fitted
from unlikelihood.search import check_judge
from unlikelihood.training import batches_of


class CriticSpace(Detector):
    r"""Scores a sample by what a detector of vectors says of its features f(x), f a layer of the critic.

    Where the discrimination loss of `LatentSearch` compares f(x) with f of the nearest generation found, this compares
    it with f of all training samples: with `KNN`, the score is the negative distance to the nearest of them.

    Parameters
    ----------
    generator
        `DCGAN`, best with a `Contrast`, or `WGANGP`. One that is fitted is kept as it is, by a clone of this detector
        too; of any other, `fit` trains a clone.
    detector
        Of vectors. As `generator`, one that is fitted is kept.
    layer
        Which of the critic's layers f is; -1 is the last before its answer.
    unit
        Scale every f(x) to length 1: distances are then of its direction alone.

    Examples
    --------
    >>> import numpy as np
    >>> from unlikelihood import DCGAN, KNN
    >>> X = np.random.default_rng(0).random((64, 1, 8, 8), dtype=np.float32)
    >>> CriticSpace(DCGAN(latent=2, width=4, epochs=1), KNN()).fit(X).score_samples(X[:3]).shape
    (3,)
    """

    generator: Generator
    detector: Detector
    layer: int = -1
    unit: bool = True

    def _fit(self, X: np.ndarray) -> None:
        self.generator_ = fitted(self.generator, X)
        self.alarms_ = tuple(getattr(self.generator_, "alarms_", ()))
        check_judge(self.generator_, X, self.layer)
        self.detector_ = fitted(self.detector, self._features(X))

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self.detector_.score_samples(self._features(X))

    @torch.no_grad()
    def _features(self, X: np.ndarray) -> np.ndarray:
        weight = next(self.generator_.net_.parameters())
        batch_of = batches_of(X, weight.device, weight.dtype)
        size = self.generator_.batch_size
        parts = []
        for start in range(0, len(X), size):
            f = self.generator_.features(batch_of(np.arange(start, min(start + size, len(X)))))[self.layer].flatten(1)
            parts.append((torch.nn.functional.normalize(f, dim=1) if self.unit else f).cpu().numpy())
        return np.concatenate(parts)
