"""The deep convolutional generative adversarial network: the thesis' generator of digits."""

from collections.abc import Sequence
from dataclasses import KW_ONLY
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from unlikelihood.contract.adversarial import Adversarial
from unlikelihood.nn.adversarial import GAN, Critic, Intensities
from unlikelihood.parameters import Fraction, Positive
from unlikelihood.training.loop import Objective, adam


class DCGAN(Adversarial):
    r"""Generator and discriminator of a zero-sum game, scored by the discriminator.

    .. math:: \min_G \max_D \; E_x \log D(x) + E_z \log(1 - D(G(z)))

    (equations 6 and 7 of the thesis). The generator minimises -log D(G(z)), which has the same fixed point and does
    not vanish when the discriminator wins. The defaults are the paper's: widths, N(0, 0.02) weights, Adam at 2e-4 with
    β₁ = 0.5, uniform latents of size 100. The score is the logit of D(x). Further parameters are those of
    `Adversarial`.

    Parameters
    ----------
    smoothing : float
        The discriminator's target for training samples is 1 - smoothing, and 0 for generated ones.

    References
    ----------
    Goodfellow et al., "Generative adversarial nets", 2014; Radford, Metz and Chintala, "Unsupervised representation
    learning with deep convolutional generative adversarial networks", 2016; Salimans et al., "Improved techniques for
    training GANs", 2016, section 3.4, for the one-sided smoothing.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).random((64, 1, 8, 8), dtype=np.float32)
    >>> DCGAN(latent=2, width=4, epochs=1).fit(X).generate(3).shape
    (3, 1, 8, 8)
    """

    smoothing: Fraction = 0.0
    _: KW_ONLY
    learning_rate: Positive = 2e-4

    @override
    def critic(self, shape: Sequence[int], intensities: Intensities) -> Critic:
        return Critic(shape, self.width, intensities, normalised=True)

    @override
    def build(self, shape: Sequence[int]) -> GAN:
        net = super().build(shape)
        net.generator.apply(small_weights)
        net.critic.apply(small_weights)
        net.average.load_state_dict(net.generator.state_dict())
        return net

    @override
    def objectives(self, net: GAN) -> list[Objective]:
        optimizer = adam(self.learning_rate, betas=(0.5, 0.999))
        return [
            Objective("discriminator", net.critic, partial(self.discriminator_loss, net), optimizer=optimizer),
            Objective("generator", net.generator, partial(self.generator_loss, net), optimizer=net.followed(optimizer)),
        ]

    def discriminator_loss(self, net: GAN, x: Tensor) -> Tensor:
        r"""Return the discriminator's loss in nats.

        .. math:: -E[(1 - s) \log D(x) + s \log(1 - D(x))] - E \log(1 - D(G(z)))
        """
        with torch.no_grad():
            made = net.generator(self.latents(len(x), self.latent, x.device))
        real, fake = net.critic(x), net.critic(made)
        return (F.softplus(-real) + self.smoothing * real).mean() + F.softplus(fake).mean()

    def generator_loss(self, net: GAN, x: Tensor) -> Tensor:
        """Return the generator's loss in nats, -E log D(G(z)), of as many latents as samples in `x`."""
        made = net.generator(self.latents(len(x), self.latent, x.device))
        return F.softplus(-net.critic(made)).mean()


def small_weights(module: nn.Module) -> None:
    """Draw the weights of a layer from N(0, 0.02), those of batch normalisation from N(1, 0.02)."""
    if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)
