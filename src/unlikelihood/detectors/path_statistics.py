"""A density of the statistics that a variational autoencoder computes on a sample's way through it."""

import math
from functools import partial

import numpy as np
import torch
from sklearn.base import clone
from sklearn.neighbors import KernelDensity
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import drawn
from unlikelihood.contract.detector import fitted
from unlikelihood.contract.embedder import Embedder
from unlikelihood.contract.trained import Variational
from unlikelihood.contract.wrapper import MapOfPart
from unlikelihood.nn.levels import log_mean_exp
from unlikelihood.parameters import Count

MOST = 2**14  # normals whose statistics make a density: a score takes time for each of them


class PathStatistics(MapOfPart, Embedder):
    r"""Scores by how usual the statistics of a sample's path through a variational autoencoder are.

    .. math:: \sum_j \log \hat{p}_j(T_j(x))

    with a Gaussian kernel density p̂ for each statistic T of n normals, standardised, of bandwidth :math:`n^{-1/5}`; of
    more than 16,384 normals, so many are drawn at random. With L samples z⁽ˡ⁾ of the posterior the statistics are, in
    the papers' words,

    - the path: ‖x − x̂‖ with x̂ the decoder's mean at the posterior's mean μ, ‖μ‖ and ‖σ‖ (LPath),
    - the distortion :math:`\frac{1}{L} \sum_l \log p(x \mid z^{(l)})`,
    - the rate :math:`\frac{1}{L} \sum_l \log q(z^{(l)} \mid x) - \log p(z^{(l)})`,
    - the likelihood, as `IWAE` bounds it, :math:`\log \frac{1}{L} \sum_l p(x, z^{(l)}) / q(z^{(l)} \mid x)` (DoSE).

    A sample whose likelihood is usual can still be odd in one of the others, or be too likely. Standardised, they are
    the sample's embedding too: `FeatureSpace` puts any other detector on them.

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

    mapped = "vae_"

    @override
    def _fit(self, X: np.ndarray) -> None:
        self.vae_ = fitted(self.vae, X)
        found = self._statistics(drawn(X, MOST, self.seed))
        self.mean_ = found.mean(0)
        self.scale_ = np.maximum(found.std(0), 1e-9 * np.maximum(1, np.abs(self.mean_)))
        self.train_ = (found - self.mean_) / self.scale_

    @override
    def _restore(self) -> None:
        kernel = KernelDensity(bandwidth=len(self.train_) ** -0.2)
        self._densities = [clone(kernel).fit(column[:, None]) for column in self.train_.T]

    @override
    def _embed(self, X: np.ndarray) -> np.ndarray:
        return (self._statistics(X) - self.mean_) / self.scale_

    @override
    def _score(self, X: np.ndarray) -> np.ndarray:
        columns = zip(self._densities, self._embed(X).T, strict=True)
        return np.sum([density.score_samples(column[:, None]) for density, column in columns], 0)

    @override
    def _embed_tensor(self, x: Tensor) -> Tensor:
        found = statistics(self.vae_, self.vae_.cast(x), samples=self.samples).double()
        return (found - torch.from_numpy(self.mean_)) / torch.from_numpy(self.scale_)

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        bandwidth = len(self.train_) ** -0.2
        z = (self._embed_tensor(x)[:, None] - torch.from_numpy(self.train_)) / bandwidth
        whole = math.log(len(self.train_) * bandwidth * math.sqrt(2 * math.pi))
        return (torch.logsumexp(-z.square() / 2, 1) - whole).sum(1)

    def _statistics(self, X: np.ndarray) -> np.ndarray:
        """Return the statistics as they are, (n, 6)."""
        found = self.vae_.map_batches(
            partial(statistics, self.vae_, samples=self.samples), X, "Computing path statistics"
        )
        return np.asarray(found, np.float64)


def statistics(vae: Variational, x: Tensor, *, samples: int) -> Tensor:
    r"""Return T(x), (B, 6), of samples (B, \*shape), with L = `samples`."""
    q = vae.encode(x)
    z = q.loc + q.scale * vae.noise(samples, 1, q.loc.shape[1])
    log_px_z = torch.stack([vae.log_likelihood(x, z_l) for z_l in z])
    rate = q.log_prob(z).sum(-1) - vae.log_prior(z)
    path = [(x - vae.decode(q.loc)).flatten(1).norm(dim=1), q.loc.norm(dim=1), q.scale.norm(dim=1)]
    return torch.stack([*path, log_px_z.mean(0), rate.mean(0), log_mean_exp(log_px_z - rate)], 1)
