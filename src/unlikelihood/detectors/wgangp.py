"""The Wasserstein generative adversarial network with gradient penalty: the thesis' generator of nodules."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY
from functools import partial
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.adversarial import Adversarial
from unlikelihood.nn.adversarial import GAN, Critic, Intensities
from unlikelihood.nn.latents import NormalLatents
from unlikelihood.nn.noise import uniform
from unlikelihood.parameters import Count, NonNegative, Positive
from unlikelihood.training.loop import Objective, adam


class WGANGP(Adversarial):
    r"""Generator against a critic f that is kept about 1-Lipschitz, scored by the critic.

    .. math:: \min_f \; E_z f(G(z)) - E_x f(x) + w \, E_{\hat{x}} (\lVert \nabla f(\hat{x}) \rVert_2 - 1)^2,
              \qquad \min_G \; -E_z f(G(z))

    (equations 8 and 9 of the thesis), x̂ uniform on the lines between samples and generated ones. The critic has no
    batch normalisation. The score is f(x). Further parameters are those of `Adversarial`.

    Parameters
    ----------
    critic_steps : int
        Steps of the critic for each of the generator.
    penalty : float
        w, the weight of the gradient penalty. It pulls the slope to 1 from below too, also where the best critic is
        flat; of vectors in separate clusters, 10 keeps it from telling those apart, and 1 or less does not.

    References
    ----------
    Gulrajani et al., "Improved training of Wasserstein GANs", 2017, algorithm 1; Petzka, Fischer and Lukovnikov, "On
    the regularization of Wasserstein GANs", 2018, for what a large penalty of both sides does.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).random((64, 6), dtype=np.float32)
    >>> WGANGP(latent=2, width=4, epochs=1).fit(X).generate(3).shape
    (3, 6)
    """

    critic_steps: Count = 5
    penalty: NonNegative = 10.0
    _: KW_ONLY
    learning_rate: Positive = 1e-4

    @property
    @override
    def critic_repeats(self) -> int:
        return self.critic_steps

    @override
    def critic(self, shape: Sequence[int], intensities: Intensities) -> Critic:
        return Critic(shape, self.width, intensities, normalised=False)

    @override
    def objectives(self, net: GAN) -> list[Objective]:
        optimizer = adam(self.learning_rate, betas=(0.0, 0.9))
        return [
            Objective(
                "critic", net.critic, partial(self.critic_loss, net), optimizer=optimizer, repeat=self.critic_steps
            ),
            Objective("generator", net.generator, partial(self.generator_loss, net), optimizer=net.followed(optimizer)),
        ]

    def critic_loss(self, net: GAN, x: Tensor) -> Tensor:
        """Return the critic's loss."""
        with torch.no_grad():
            made = net.generator(self.latents(len(x), self.latent, x.device)).to(x.dtype)
        difference = net.critic(made).mean() - net.critic(x).mean()
        # A distance is in units of half the range, as the critic sees it, whatever the intensities' own unit.
        unit = net.critic.intensities.half
        return difference + self.penalty * gradient_penalty(net.critic, x, made, unit)

    def generator_loss(self, net: GAN, x: Tensor) -> Tensor:
        """Return the generator's loss, of as many latents as samples in `x`."""
        return -net.critic(net.generator(self.latents(len(x), self.latent, x.device))).mean()


def of_embeddings(**changes: Any) -> WGANGP:
    """Return an unfitted `WGANGP` for vectors in clusters, as embeddings are; `changes` are its other parameters."""
    settings: dict[str, Any] = {"latent": 32, "width": 32, "latents": NormalLatents(), "average": 0.99}
    return WGANGP(**settings | {"critic_steps": 2, "penalty": 1.0, "learning_rate": 5e-4} | changes)


def gradient_penalty(critic: Callable[[Tensor], Tensor], x: Tensor, made: Tensor, unit: float = 1.0) -> Tensor:
    r"""Return how far the critic's slope is from 1 between samples and generated ones.

    .. math:: E (\lVert \nabla f(\hat{x}) \rVert_2 - 1)^2, \qquad \hat{x} = \epsilon x + (1 - \epsilon) G(z), \;
              \epsilon \sim U[0, 1]

    Parameters
    ----------
    critic : callable
        f.
    x, made : Tensor
        Samples and generated ones, (B, \*shape).
    unit : float
        The distance, in the samples' unit, along which f may change by 1.
    """
    epsilon = uniform(len(x), *[1] * (x.ndim - 1), device=x.device, dtype=x.dtype)
    between = (epsilon * x + (1 - epsilon) * made).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (unit * slope.flatten(1).norm(dim=1) - 1).square().mean()
