"""The variational autoencoder: the thesis' VAE-AD."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.distributions import Normal
from typing_extensions import override

from unlikelihood.contract.density import Density
from unlikelihood.contract.reconstructor import Reconstructor
from unlikelihood.contract.trained import Variational
from unlikelihood.nn.draws import over_draws
from unlikelihood.nn.levels import Standardised
from unlikelihood.nn.likelihoods import Gaussian, Likelihood, LikelihoodModule
from unlikelihood.nn.networks import Decoder, Encoder
from unlikelihood.nn.noise import normal, normal_like, uniform
from unlikelihood.nn.posteriors import DiagonalGaussian, Flowed, Posterior, PosteriorModule
from unlikelihood.nn.priors import Prior, PriorModule, StandardNormal
from unlikelihood.nn.scores import Reconstruction, Score
from unlikelihood.parameters import Count
from unlikelihood.training.loop import Objective, adam, one_cycle
from unlikelihood.training.seeding import seeded


class Autoencoder(nn.Module):
    r"""Encoder, decoder and the distributions that give their outputs a meaning.

    Samples x, (B, \*shape), are in their own unit and y standardised.

    Parameters
    ----------
    continuous : bool
        Whether p(x|z) is a density, which depends on the unit of x.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int,
        width: int,
        likelihood: LikelihoodModule,
        prior: PriorModule,
        posterior: PosteriorModule,
        standardised: Standardised,
        continuous: bool,
    ) -> None:
        super().__init__()
        self.encoder: nn.Sequential = Encoder(shape, posterior.n_features, width)
        self.decoder: nn.Sequential = Decoder(shape, latent, width)
        self.likelihood = likelihood
        self.prior = prior
        self.approximation = posterior
        self.standardised = standardised
        self.continuous = continuous

    def posterior(self, x: Tensor) -> Normal | Flowed:
        """Return q(z|x), (B, latent)."""
        # Autocast hands over half precision, in which the exponential of a variance overflows.
        return self.approximation(self.encoder(self.standardised(x)[0]).to(x.dtype))

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x|z) in nats, (B,), of latents (B, latent)."""
        y, log_det = self.standardised(x)
        log_py_z = self.likelihood(y, self.decoder(z).to(y.dtype))
        return log_py_z + log_det if self.continuous else log_py_z

    def negative_elbo(self, x: Tensor) -> Tensor:
        r"""Return the training loss, -ELBO in nats, averaged over the batch, with one sample from q(z|x).

        .. math:: -\log p(x \mid z) + \mathrm{KL}(q(z \mid x) \,\|\, N(0, I)), \qquad z \sim q(z \mid x)
        """
        z, divergence = self.approximation.divergence(self.posterior(x))
        return (divergence - self.log_likelihood(x, z)).mean()


class VAE(Reconstructor, Density[Autoencoder], Variational[Autoencoder]):
    r"""Variational autoencoder, scored by what it says about log p(x): the thesis' VAE-AD.

    It maximises the evidence lower bound (equations 3 and 12 of the thesis) on normal samples,

    .. math:: \log p(x) \ge E_{q(z \mid x)}[\log p(x \mid z)] - \mathrm{KL}(q(z \mid x) \,\|\, p(z)).

    Inside, images and volumes are mapped from the range of the training samples to [0, 1], and vectors are standardised
    feature by feature. Densities, scores in nats and decoded samples are in the samples' own unit: of D values in a
    unit s times finer, every score is less by D log s. The defaults are the thesis' recipe.

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

    @override
    def _location_and_scale(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if len(self.shape_) == 1 and self.likelihood.continuous:
            return super()._location_and_scale(X)
        low, high = self.range_
        return np.full(self.shape_[0], low), np.full(self.shape_[0], (high - low) or 1.0)

    @override
    def build(self, shape: Sequence[int]) -> Autoencoder:
        parts = (
            self.likelihood(shape),
            self.prior(self.n_samples_, self.latent),
            self.posterior(self.latent, self.width),
            self._standardised(),
        )
        return Autoencoder(shape, self.latent, self.width, *parts, self.likelihood.continuous)

    @override
    def objectives(self, net: Autoencoder) -> list[Objective]:
        return [
            Objective("negative ELBO", net, net.negative_elbo, optimizer=adam(self.learning_rate), schedule=one_cycle)
        ]

    @override
    @torch.no_grad()
    def _finish(self, X: np.ndarray) -> None:
        # A likelihood or a prior with nothing to fit takes no batch, and so none is computed.
        with seeded(self.seed, device=next(self.net_.parameters()).device):
            self.net_.likelihood.fit_residuals(self._residuals(X))
        self.net_.prior.fit_posteriors(map(self.encode, self.batches(X, "Fitting the prior")))

    def _residuals(self, X: np.ndarray) -> Iterator[Tensor]:
        """Yield the standardised x - E[x|z], (B, D), at a z drawn for each sample."""
        net = self.net_
        for x in self.batches(X, "Fitting residuals"):
            q = net.posterior(x)
            y = net.likelihood.mean(net.decoder(net.approximation.at(q, normal_like(q.scale))))
            yield (net.standardised(x)[0] - y).flatten(1)

    @override
    def score_batch(self, x: Tensor) -> Tensor:
        net = self.net_
        q = net.posterior(x)
        score = self.scoring
        z = net.approximation.at(q, self.draws_of_noise(score.samples, 1, self.latent, antithetic=score.antithetic))

        return score(partial(over_draws, net.log_likelihood, x), z, q, net.prior)

    @override
    def decode(self, z: Tensor) -> Tensor:
        r"""Return E[x|z], (B, \*shape), differentiably."""
        return self.net_.standardised.inverse(self.net_.likelihood.mean(self.net_.decoder(z)))

    @override
    def encode(self, x: Tensor) -> Normal:
        r"""Return q(z|x), (B, latent), or the Gaussian around its `loc` where it is none."""
        q = self.net_.posterior(x)
        return q if isinstance(q, Normal) else Normal(q.loc, q.scale, validate_args=False)

    @override
    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        return self.net_.log_likelihood(x, z)

    @override
    def log_prior(self, z: Tensor) -> Tensor:
        return self.net_.prior.log_prob(z)

    @override
    def activations(self, x: Tensor) -> list[Tensor]:
        """Return the standardised samples and what each non-linear layer of the encoder makes of them."""
        y = self.net_.standardised(x)[0]
        found = [y]
        for layer in self.net_.encoder:
            y = layer(y)
            if isinstance(layer, nn.SiLU):
                found.append(y)
        return found

    @override
    def draw(self, n: int, *key: int) -> Tensor:
        with seeded(self.seed, *key):
            noise, choice = normal(n, self.latent), uniform(n)
        weight = next(self.net_.parameters())
        return self.net_.prior.draw(noise.to(weight), choice.to(weight))

    @override
    @torch.inference_mode()
    def reconstruct(self, X: np.ndarray) -> np.ndarray:
        r"""Return what the model makes of samples: E[x|z] at the posterior's mean, (n, \*shape), float32."""
        check_is_fitted(self, "shape_")
        X = self._checked(X, reset=False)
        return self.map_batches(lambda x: self.decode(self.net_.posterior(x).loc).float(), X, "")
