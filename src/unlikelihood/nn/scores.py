r"""Scores of a variational autoencoder, in nats, from the same L samples z⁽ˡ⁾ ~ q(z|x).

A score maps the function that gives log p(x|z⁽ˡ⁾), (L, B), the samples z⁽ˡ⁾, (L, B, latent), the posterior q(z|x) and
the prior p(z) to a number for each sample, (B,), higher = more normal.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.distributions import Normal
from typing_extensions import override

from unlikelihood.nn.levels import log_mean_exp
from unlikelihood.nn.posteriors import Flowed
from unlikelihood.nn.priors import PriorModule
from unlikelihood.parameters import Component, Count

LogLikelihood = Callable[[Tensor], Tensor]  # of latents


@dataclass(frozen=True)
class Score(Component, ABC):
    """A score in nats from L samples of the posterior.

    Parameters
    ----------
    samples : int
        L, the number of samples z⁽ˡ⁾ ~ q(z|x).
    antithetic : bool
        Draw them in pairs on opposite sides of the posterior's mean, in which what is linear in z cancels.
    """

    samples: Count = 4
    antithetic: bool = True

    @abstractmethod
    def __call__(self, log_px_z: LogLikelihood, z: Tensor, q: Normal | Flowed, p: PriorModule) -> Tensor:
        """Return the score, (B,)."""


class Reconstruction(Score):
    r"""The thesis' score: the reconstruction term of the ELBO alone, **not** a bound of log p(x).

    .. math:: \frac{1}{L} \sum_l \log p(x \mid z^{(l)}), \qquad z^{(l)} \sim q(z \mid x)

    It drops the KL divergence and so is never below `ELBO`. Source: the VAE-AD score of Santos Buitrago, 2018.
    """

    @override
    def __call__(self, log_px_z: LogLikelihood, z: Tensor, q: Normal | Flowed, p: PriorModule) -> Tensor:
        return log_px_z(z).mean(0)


class ELBO(Score):
    r"""The evidence lower bound of log p(x).

    .. math:: \frac{1}{L} \sum_l \bigl[ \log p(x \mid z^{(l)}) + \log p(z^{(l)}) \bigr] + H[q(z \mid x)] \le \log p(x)

    which is the reconstruction term less KL(q(z|x) ‖ p(z)). The entropy H is in closed form
    for a Gaussian posterior. Source: Kingma and Welling, "Auto-encoding variational Bayes", 2014, equation 3.
    """

    @override
    def __call__(self, log_px_z: LogLikelihood, z: Tensor, q: Normal | Flowed, p: PriorModule) -> Tensor:
        return (log_px_z(z) + p.log_prob(z)).mean(0) + q.entropy().sum(-1)


class IWAE(Score):
    r"""The importance-weighted bound of log p(x), tighter with every sample.

    .. math:: \log \frac{1}{L} \sum_l \frac{p(x \mid z^{(l)}) \, p(z^{(l)})}{q(z^{(l)} \mid x)} \le \log p(x)

    Source: Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", 2016, equation 8.
    """

    samples: Count = 16

    @override
    def __call__(self, log_px_z: LogLikelihood, z: Tensor, q: Normal | Flowed, p: PriorModule) -> Tensor:
        log_weight = log_px_z(z) + p.log_prob(z) - q.log_prob(z).sum(-1)
        return log_mean_exp(log_weight)


class LatentDensity(Score):
    r"""How likely the latents are under the prior: the term of the ELBO that reconstruction leaves out.

    .. math:: \frac{1}{L} \sum_l \log p(z^{(l)}), \qquad z^{(l)} \sim q(z \mid x)

    **Not** a bound of log p(x): it tells whether the encoder puts the sample where it puts normal ones, which
    takes a prior that has learnt where that is, `Exemplars`. Under the standard normal it tells little.
    """

    @override
    def __call__(self, log_px_z: LogLikelihood, z: Tensor, q: Normal | Flowed, p: PriorModule) -> Tensor:
        return p.log_prob(z).mean(0)
