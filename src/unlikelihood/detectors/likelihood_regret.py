"""How far the encoder's answer is from the best one: likelihood regret."""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal

from unlikelihood.contract.detector import fitted
from unlikelihood.contract.search import frozen
from unlikelihood.contract.trained import Variational, precise
from unlikelihood.contract.wrapper import MapOfPart
from unlikelihood.nn.descents import AdamDescent, Descent
from unlikelihood.parameters import Range, Steps


class LikelihoodRegret(MapOfPart):
    r"""Scores by how far a sample's bound is from what the best posterior would give it.

    .. math:: -\Bigl[\max_{\mu, \log \sigma^2} \mathrm{ELBO}(x; \mu, \sigma)
              - \mathrm{ELBO}(x; \mu(x), \sigma(x))\Bigr] \le 0

    .. math:: \mathrm{ELBO}(x; \mu, \sigma) = \frac{1}{L} \sum_l \bigl[\log p(x \mid z^{(l)}) + \log p(z^{(l)})\bigr]
              + H[N(\mu, \sigma^2)], \qquad z^{(l)} = \mu + \sigma \epsilon^{(l)}

    The paper optimises the encoder's weights, for one sample at a time. Here the mean and the log-variance of each
    sample's posterior are optimised instead, from the encoder's answer on, so that a batch goes at once. The best of
    all steps counts, so the regret is never negative. The noise ε follows from the fitted seed, the same for all
    samples and steps; it is scaled to mean 0 and variance 1 in each dimension. The optimisation is in the
    network's precision and its result is measured in float64: in other batches a regret of images or volumes may differ
    by one part in ten thousand, where float32 cannot tell two steps apart.

    Parameters
    ----------
    vae : Variational
        The model.
    steps : int
        Steps of the optimisation.
    samples : int
        L.
    descent : Descent
        The optimiser, which minimises -ELBO: `MomentumDescent` or `AdamDescent`.

    References
    ----------
    Xiao, Yan and Amit, "Likelihood regret: an out-of-distribution detection score for variational auto-encoder", 2020,
    equation 5.
    """

    vae: Variational
    steps: Steps = 50
    samples: Annotated[int, Range(2)] = 8
    descent: Descent = AdamDescent()

    mapped = "vae_"

    unexportable = "its score is a search that takes gradients"

    def _fit(self, X: np.ndarray) -> None:
        self.vae_ = fitted(self.vae, X)

    @torch.no_grad()
    def _score(self, X: np.ndarray) -> np.ndarray:
        vae, exact, regrets = self.vae_, precise(self.vae_), []
        at_once = max(1, vae.batch_size // self.samples)  # so that a step takes the memory of one in training
        with frozen(vae.net_):
            for batch in vae.batches(X, "Optimising posteriors"):
                for x in batch.split(at_once):
                    answer = vae.encode(x)
                    start = torch.cat([answer.loc, 2 * answer.scale.log()], 1)
                    noise = vae.noise(self.samples, 1, answer.loc.shape[1])
                    noise = (noise - noise.mean(0)) / noise.std(0, correction=0)
                    best = ascend(partial(elbo, vae, x, noise=noise), start, self.steps, self.descent)
                    # The regret is a small difference of large numbers.
                    bound = partial(elbo, exact, x.double(), noise=noise.double())
                    regrets.append((bound(best.double()) - bound(start.double())).clamp_min(0).cpu().numpy())
        return -np.concatenate(regrets)


def elbo(vae: Variational, x: Tensor, q: Tensor, *, noise: Tensor) -> Tensor:
    r"""Return the bound in nats, (B,), of samples (B, \*shape) with posteriors `q`, for the noise (L, 1, latent).

    `q` holds the means and then the log-variances, (B, 2 · latent).
    """
    mean, log_variance = q.chunk(2, dim=1)
    posterior = Normal(mean, (log_variance / 2).exp(), validate_args=False)
    z = (posterior.loc + posterior.scale * noise).flatten(0, 1)
    log_joint = vae.log_likelihood(torch.cat([x] * len(noise)), z) + vae.log_prior(z)
    return log_joint.view(len(noise), len(x)).mean(0) + posterior.entropy().sum(1)


def ascend(bound: Callable[[Tensor], Tensor], q: Tensor, steps: int, descent: Descent) -> Tensor:
    """Return the best of the posteriors (B, 2 · latent) on the way up from `q`; each row goes its own way."""
    q, best, most = q.clone(), q.clone(), q.new_full((len(q),), -torch.inf)
    optimizer = descent([q])
    for step in range(steps + 1):
        with torch.enable_grad():
            here = q.detach().requires_grad_(True)
            reached = bound(here)
            (q.grad,) = torch.autograd.grad(-reached.sum(), here)
        better = reached.detach() > most
        best[better], most[better] = q[better], reached.detach()[better]
        if step < steps:
            optimizer.step()
    return best
