"""Forms of the VAE that the thesis' text leaves open: layers, optimiser and pace, the rest as `VAE` has it."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import nn
from typing_extensions import override

from unlikelihood.detectors.vae import VAE, Autoencoder
from unlikelihood.nn.networks import Decoder, Encoder
from unlikelihood.nn.spatial import batch_norm
from unlikelihood.training.loop import Objective


class FullyConnected(VAE):
    """Takes the pixels of an image as a vector, through layers of eight times `width` units."""

    @override
    def build(self, shape: Sequence[int]) -> Autoencoder:
        net = super().build(shape)
        pixels = (math.prod(shape),)
        net.encoder = nn.Sequential(nn.Flatten(), Encoder(pixels, net.approximation.n_features, self.width))
        net.decoder = nn.Sequential(Decoder(pixels, self.latent, self.width), nn.Unflatten(1, tuple(shape)))
        return net


class BatchNormalised(VAE):
    """Normalises the channels of every convolution but the last over the batch."""

    @override
    def build(self, shape: Sequence[int]) -> Autoencoder:
        net = super().build(shape)
        net.encoder, net.decoder = normalised(net.encoder), normalised(net.decoder)
        return net


def normalised(layers: nn.Sequential) -> nn.Sequential:
    """Return the layers with batch normalisation after each convolution but a last one."""
    found: list[nn.Module] = []
    for layer in layers:
        found.append(layer)
        if isinstance(layer, nn.Conv2d) and layer is not layers[-1]:
            found.append(batch_norm(2, layer.out_channels))
    return nn.Sequential(*found)


class SigmoidOutput(VAE):
    """Keeps what it draws inside the range of the training samples."""

    @override
    def build(self, shape: Sequence[int]) -> Autoencoder:
        net = super().build(shape)
        net.decoder = nn.Sequential(*net.decoder, nn.Sigmoid())
        return net


class ConstantRate(VAE):
    """Adam without a schedule."""

    optimizer: ClassVar[Callable[..., torch.optim.Optimizer]] = torch.optim.Adam

    @override
    def objectives(self, net: Autoencoder) -> list[Objective]:
        made = partial(self.optimizer, lr=self.learning_rate)
        return [Objective("negative ELBO", net, net.negative_elbo, optimizer=made)]


class RMSprop(ConstantRate):
    """RMSprop without a schedule, as the VAE among the examples of Keras had it."""

    optimizer = torch.optim.RMSprop
