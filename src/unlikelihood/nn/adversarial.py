"""Generator and critic of an adversarial network, for vectors, images and volumes from one definition each.

`shape` and `width` are those of `nn.networks`, `width` at half the size; `intensities` is the samples' range.
"""

import copy
import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from unlikelihood.nn.networks import WIDEST, pyramid, widths
from unlikelihood.nn.spatial import batch_norm, conv, linear
from unlikelihood.nn.upscaling import Upscaling

MIN_AXIS = 4  # the DCGAN paper starts from a 4x4 map and doubles it
KERNEL = 5  # and its convolutions are 5x5
SLOPE = 0.2


class Intensities:
    """Maps intensities from `low` to `high` to [-1, 1], where the networks work, and back."""

    def __init__(self, low: float, high: float) -> None:
        self.middle = (low + high) / 2
        self.half = (high - low) / 2 or 1.0

    def scaled(self, x: Tensor) -> Tensor:
        """Return intensities as numbers, those of the range in [-1, 1]."""
        return (x - self.middle) / self.half

    def restored(self, u: Tensor) -> Tensor:
        """Return the intensities of numbers."""
        return u * self.half + self.middle


class Synthesis(nn.Module):
    r"""Maps latents (B, latent) to samples (B, \*shape): the generator G.

    Layers that double axes of about 4, transposed convolutions unless `upscaling` says otherwise, with batch
    normalisation and ReLU; fully connected layers for vectors. The output ends in tanh, whose [-1, 1] stands for the
    intensities' range.

    References
    ----------
    Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative adversarial
    networks", 2016, figure 1: with a width of 128, 64x64 images have its 1024, 512, 256 and 128 channels.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int,
        width: int,
        intensities: Intensities,
        upscaling: Upscaling,
    ) -> None:
        super().__init__()
        self.intensities = intensities
        channels, *space = shape
        if not space:
            hidden = WIDEST * width
            self.layers = nn.Sequential(
                *(linear(latent, hidden), batch_norm(0, hidden), nn.ReLU()),
                *(linear(hidden, hidden), batch_norm(0, hidden), nn.ReLU()),
                *(linear(hidden, channels), nn.Tanh()),
            )
            return
        axes = len(space)
        sizes = pyramid(space, MIN_AXIS)[::-1]
        wide = widths(width, max(1, len(sizes) - 1))[::-1]
        layers = [
            linear(latent, wide[0] * math.prod(sizes[0])),
            nn.Unflatten(1, (wide[0], *sizes[0])),
            batch_norm(axes, wide[0]),
            nn.ReLU(),
        ]
        for before, after, size, target in zip(wide, wide[1:], sizes, sizes[1:], strict=False):
            layers += [upscaling(before, after, size, target), batch_norm(axes, after), nn.ReLU()]
        last = upscaling(wide[-1], channels, *sizes[-2:]) if len(sizes) > 1 else conv(axes, wide[-1], channels, KERNEL)
        self.layers = nn.Sequential(*layers, last, nn.Tanh())

    @override
    def forward(self, z: Tensor) -> Tensor:
        return self.intensities.restored(self.layers(z))


class Critic(nn.Module):
    r"""Maps samples (B, \*shape) to a number each, (B,): DCGAN's discriminator, as a logit, or the critic of WGAN-GP.

    Convolutions of stride 2 with LeakyReLU, the mirror of `Synthesis`, and if `normalised` batch
    normalisation in all layers but the first. The gradient penalty of WGAN-GP allows none, for it is of one sample at a
    time.
    """

    def __init__(self, shape: Sequence[int], width: int, intensities: Intensities, *, normalised: bool) -> None:
        super().__init__()
        self.intensities = intensities
        channels, *space = shape
        axes = len(space)
        sizes = pyramid(space, MIN_AXIS) if space else [(), ()]
        wide = widths(width, max(1, len(sizes) - 1)) if space else [WIDEST * width] * 2
        self.layers = nn.ModuleList()
        for level, after in enumerate(wide):
            stride = 2 if len(sizes) > 1 else 1
            step = conv(axes, channels, after, KERNEL, stride)
            between = [batch_norm(axes, after)] if normalised and level else []
            self.layers.append(nn.Sequential(step, *between, nn.LeakyReLU(SLOPE)))
            channels = after
        flat = channels * math.prod(sizes[-1])
        self.head = linear(flat, 1)

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the outputs of all layers but the last: the f of L_D."""
        found, h = [], self.intensities.scaled(x)
        for layer in self.layers:
            h = layer(h)
            found.append(h)
        return found

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x)[-1].flatten(1))[:, 0]


class GAN(nn.Module):
    r"""Generator and critic, the generator's moving average, and snapshots of what that made in training.

    After the t-th step of the generator, its average θ' moves by

    .. math:: \theta' \leftarrow \beta_t \theta' + (1 - \beta_t) \theta, \qquad
              \beta_t = \min\bigl(\beta, \tfrac{1 + t}{10 + t}\bigr)

    so that it does not remember the initial weights. All of this is state of the network: a checkpoint holds it.

    `z`, (k, latent), are the latents of the snapshots, one of which is taken after each of the `moments`, steps of the
    generator.

    References
    ----------
    Yazıcı et al., "The unusual effectiveness of averaging in GAN training", 2019.
    """

    steps: Tensor
    z: Tensor
    snapshots: Tensor

    def __init__(self, generator: Synthesis, critic: Critic, decay: float, z: Tensor, moments: Sequence[int]) -> None:
        super().__init__()
        self.generator = generator
        self.critic = critic
        self.average = copy.deepcopy(generator)
        self.decay = decay
        self.moments = tuple(moments)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("z", z)
        with torch.no_grad():
            made = self.average.eval()(z)
        # Flat, for a module in a layout for convolutions may hold no other tensors of as many axes.
        self.register_buffer("snapshots", torch.zeros(len(moments), *made.flatten(1).shape, dtype=torch.float32))
        self._taken: int | None = None  # steps, without asking an accelerator for it

    def followed(self, make: Callable[..., torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
        """Return `make` of an optimiser after whose every step the average follows the generator."""

        def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
            made = make(parameters)
            made.register_step_post_hook(lambda *_: self.follow())
            return made

        return optimizer

    @torch.no_grad()
    def follow(self) -> None:
        """Move the average after a step of the generator, and take a snapshot at its moments."""
        taken = int(self.steps) if self._taken is None else self._taken
        decay = min(self.decay, (1 + taken) / (10 + taken))
        live = self.generator.state_dict()
        for name, mean in self.average.state_dict().items():
            if mean.is_floating_point():
                mean.lerp_(live[name], 1 - decay)
            else:
                mean.copy_(live[name])
        self.steps += 1
        self._taken = taken + 1
        for k in (k for k, moment in enumerate(self.moments) if moment == self._taken):
            self.snapshots[k] = self.average.eval()(self.z).flatten(1)
