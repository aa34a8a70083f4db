"""The variational autoencoder: the thesis' VAE-AD."""

import copy
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.distributions import Normal
from typing_extensions import override

from unlikelihood.contract.trained import Variational
from unlikelihood.nn.likelihoods import Gaussian, Likelihood
from unlikelihood.nn.networks import Decoder, Encoder
from unlikelihood.nn.noise import normal, normal_like, uniform
from unlikelihood.nn.posteriors import DiagonalGaussian, Flowed, Posterior
from unlikelihood.nn.priors import Prior, StandardNormal
from unlikelihood.nn.scores import Reconstruction, Score
from unlikelihood.parameters import Count
from unlikelihood.training.loop import Objective, one_cycle
from unlikelihood.training.seeding import seeded


class Autoencoder(nn.Module):
    """Encoder, decoder and the distributions that give their outputs a meaning."""

    def __init__(
        self,
        shape: Sequence[int],
        latent: int,
        width: int,
        likelihood: Likelihood,
        prior: Prior,
        posterior: Posterior,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(shape, posterior.features(latent), width)
        self.decoder = Decoder(shape, latent, width)
        self.likelihood = likelihood
        self.prior = prior
        self.approximation = posterior

    def posterior(self, x: Tensor) -> Normal | Flowed:
        r"""Return q(z|x), (B, latent), of samples (B, \*shape)."""
        # Autocast hands over half precision, in which the exponential of a variance overflows.
        return self.approximation(self.encoder(x).to(x.dtype))

    def negative_elbo(self, x: Tensor) -> Tensor:
        r"""Return the training loss, -ELBO in nats, averaged over the batch, with one sample from q(z|x).

        .. math:: -\log p(x \mid z) + \mathrm{KL}(q(z \mid x) \,\|\, N(0, I)), \qquad z \sim q(z \mid x)
        """
        z, divergence = self.approximation.divergence(self.posterior(x))
        log_px_z = self.likelihood(x, self.decoder(z).to(x.dtype))
        return (divergence - log_px_z).mean()


class VAE(Variational[Autoencoder]):
    r"""Variational autoencoder, scored by what it says about log p(x): the thesis' VAE-AD.

    It maximises the evidence lower bound (equations 3 and 12 of the thesis) on normal samples,

    .. math:: \log p(x) \ge E_{q(z \mid x)}[\log p(x \mid z)] - \mathrm{KL}(q(z \mid x) \,\|\, p(z)).

    The defaults are the thesis' recipe.

    Parameters
    ----------
    latent : int
        Dimensions of z.
    width : int
        Channels of the convolutions at full size; deeper levels have up to eight times as many.
    likelihood : Likelihood
        p(x|z): `Gaussian`, `LearntGaussian`, `OptimalGaussian`, `CorrelatedGaussian` or `Bernoulli`.
    prior : Prior
        p(z) of scoring and generating: `StandardNormal` or `Exemplars`.
    scoring : Score
        What `score_samples` returns, in nats: `Reconstruction`, `ELBO`, `IWAE` or `LatentDensity`.
    posterior : Posterior
        q(z|x): `DiagonalGaussian` or `InverseAutoregressive`.

    References
    ----------
    Kingma and Welling, "Auto-encoding variational Bayes", 2014; Santos Buitrago, 2018, equations 3, 12 and 16.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).random((64, 1, 8, 8), dtype=np.float32)
    >>> VAE(latent=2, epochs=1, width=4).fit(X).score_samples(X[:3]).shape
    (3,)
    """

    latent: Count = 20
    width: Count = 32
    likelihood: Likelihood = Gaussian()
    prior: Prior = StandardNormal()
    scoring: Score = Reconstruction()
    posterior: Posterior = DiagonalGaussian()

    def build(self, shape: Sequence[int]) -> Autoencoder:
        """Return the untrained encoder and decoder for samples of `shape`."""
        likelihood, prior, posterior = copy.deepcopy((self.likelihood, self.prior, self.posterior))
        likelihood.prepare(shape)
        prior.prepare(self.n_samples_, self.latent)
        posterior.prepare(self.latent, self.width)
        return Autoencoder(shape, self.latent, self.width, likelihood, prior, posterior)

    def objectives(self, net: Autoencoder) -> list[Objective]:
        """Return the one turn: the whole network steps down the negative ELBO."""
        adam = partial(torch.optim.Adam, lr=self.learning_rate)
        return [Objective("negative ELBO", net, net.negative_elbo, optimizer=adam, schedule=one_cycle)]

    @torch.no_grad()
    def _finish(self, X: np.ndarray) -> None:
        posteriors, residuals = [], []
        with seeded(self.seed, device=next(self.net_.parameters()).device):
            for x in self.batches(X, "Settling VAE"):
                q = self.net_.posterior(x)
                posteriors.append((q.loc, q.scale))
                residuals.append((x - self.decode(self.net_.approximation.at(q, normal_like(q.scale)))).flatten(1))
        self.net_.likelihood.settle(torch.cat(residuals))
        mean, scale = map(torch.cat, zip(*posteriors, strict=True))
        self.net_.prior.settle(Normal(mean, scale, validate_args=False))

    @override
    def score_batch(self, x: Tensor) -> Tensor:
        net = self.net_
        q = net.posterior(x)
        z = net.approximation.at(q, self.noise(self.scoring.samples, 1, self.latent))
        log_px_z = torch.stack([net.likelihood(x, net.decoder(z_l)) for z_l in z])
        return self.scoring(log_px_z, z, q, net.prior)

    def decode(self, z: Tensor) -> Tensor:
        r"""Return E[x|z], (B, \*shape), differentiably."""
        return self.net_.likelihood.mean(self.net_.decoder(z))

    def encode(self, x: Tensor) -> Normal:
        r"""Return q(z|x), (B, latent), or the Gaussian around its `loc` where it is none."""
        q = self.net_.posterior(x)
        return q if isinstance(q, Normal) else Normal(q.loc, q.scale, validate_args=False)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x|z) in nats, (B,)."""
        return self.net_.likelihood(x, self.net_.decoder(z))

    def log_prior(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats, (...)."""
        return self.net_.prior.log_prob(z)

    def activations(self, x: Tensor) -> list[Tensor]:
        """Return the samples and what each non-linear layer of the encoder makes of them."""
        found = [x]
        for layer in self.net_.encoder:
            x = layer(x)
            if isinstance(layer, nn.SiLU):
                found.append(x)
        return found

    def draw(self, n: int, *key: int) -> Tensor:
        """Return `n` latents from the prior."""
        with seeded(self.seed, *key):
            noise, choice = normal(n, self.latent), uniform(n)
        weight = next(self.net_.parameters())
        return self.net_.prior.draw(noise.to(weight), choice.to(weight))

    @torch.inference_mode()
    def reconstruct(self, X: np.ndarray) -> np.ndarray:
        r"""Return what the model makes of samples: E[x|z] at the posterior's `loc`, a Gaussian's mean.

        Parameters
        ----------
        X : ndarray
            Samples of the shape that `fit` saw.

        Returns
        -------
        ndarray of shape (n, \*shape), float32
        """
        check_is_fitted(self, "shape_")
        X = self._checked(X, reset=False)
        return self.map_batches(lambda x: self.decode(self.net_.posterior(x).loc).float(), X, "")
