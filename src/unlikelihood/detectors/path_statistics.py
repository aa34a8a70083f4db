"""A density of the statistics that a variational autoencoder computes on a sample's way through it."""

import math

import numpy as np
import torch
from sklearn.base import clone
from sklearn.neighbors import KernelDensity
from torch import Tensor

from unlikelihood.detector import Detector, fitted
from unlikelihood.parameters import Count
from unlikelihood.trained import Variational, precise


class PathStatistics(Detector):
    r"""Scores by how usual the statistics of a sample's way through a variational autoencoder are.

    .. math:: \sum_j \log \hat{p}_j(T_j(x))

    with a Gaussian kernel density p̂ for each statistic T of normals, standardised, of bandwidth :math:`n^{-1/5}`. With
    L samples z⁽ˡ⁾ of the posterior the statistics are, in the papers' words,

    - the path: ‖x − x̂‖ with x̂ the decoder's mean at the posterior's mean μ, ‖μ‖ and ‖σ‖ (LPath),
    - the distortion :math:`\frac{1}{L} \sum_l \log p(x \mid z^{(l)})`,
    - the rate :math:`\frac{1}{L} \sum_l \log q(z^{(l)} \mid x) - \log p(z^{(l)})`,
    - the likelihood :math:`\log \frac{1}{L} \sum_l p(x, z^{(l)}) / q(z^{(l)} \mid x)` (DoSE).

    A sample whose likelihood is usual can still be odd in one of the others, or be too likely. `FeatureSpace` puts any
    other detector on them.

    Parameters
    ----------
    vae : Variational
        What gives the statistics. One that is fitted already is used as it is and not trained again.
    samples : int
        L.

    References
    ----------
    Morningstar et al., "Density of states estimation for out-of-distribution detection", 2021, equation 4 and
    section 3.2; Huang et al., "Rethinking test-time likelihood: the likelihood path principle and its application to
    OOD detection", 2024.
    """

    vae: Variational
    samples: Count = 16

    def _fit(self, X: np.ndarray) -> None:
        self.vae_ = fitted(self.vae, X)
        statistics = self._embed(X)
        self.mean_ = statistics.mean(0)
        self.scale_ = np.maximum(statistics.std(0), 1e-9 * np.maximum(1, np.abs(self.mean_)))
        self.train_ = (statistics - self.mean_) / self.scale_

    def _restore(self) -> None:
        kernel = KernelDensity(bandwidth=len(self.train_) ** -0.2)
        self._densities = [clone(kernel).fit(column[:, None]) for column in self.train_.T]

    def _score(self, X: np.ndarray) -> np.ndarray:
        statistics = (self._embed(X) - self.mean_) / self.scale_
        columns = zip(self._densities, statistics.T, strict=True)
        return np.sum([density.score_samples(column[:, None]) for density, column in columns], 0)

    @torch.inference_mode()
    def _embed(self, X: np.ndarray) -> np.ndarray:
        part = precise(self.vae_)
        batches = self.vae_._batches(X, "Following paths")
        return np.concatenate([self._statistics(part, x.double()).cpu().numpy() for x in batches])

    def _statistics(self, vae: Variational, x: Tensor) -> Tensor:
        """Return the statistics (B, 6)."""
        q = vae.posterior(x)
        z = q.loc + q.scale * vae._noise(self.samples, 1, q.loc.shape[1])
        log_px_z = torch.stack([vae.log_likelihood(x, z_l) for z_l in z])
        log_ratio = q.log_prob(z).sum(-1) - vae.log_prior(z)
        path = [(x - vae.decode(q.loc)).flatten(1).norm(dim=1), q.loc.norm(dim=1), q.scale.norm(dim=1)]
        likelihood = torch.logsumexp(log_px_z - log_ratio, 0) - math.log(self.samples)
        return torch.stack([*path, log_px_z.mean(0), log_ratio.mean(0), likelihood], 1)
