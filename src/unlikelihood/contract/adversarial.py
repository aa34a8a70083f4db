"""What detectors with a generator and a critic have in common."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, asdict
from typing import ClassVar

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.detector import fitted
from unlikelihood.contract.embedder import Embedder
from unlikelihood.contract.trained import Generator
from unlikelihood.metrics.generators import ENOUGH, quality_of
from unlikelihood.nn.adversarial import GAN, Critic, Intensities, Synthesis
from unlikelihood.nn.latents import Latents, UniformLatents
from unlikelihood.nn.upscaling import TransposedConvolution, Upscaling
from unlikelihood.parameters import Count, Fraction
from unlikelihood.training.seeding import seeded


class Adversarial(Generator[GAN], Embedder):
    """A generator that learnt against a critic, scores by what that critic says, and embeds by its last map.

    Intensities are mapped from the range of the training samples to [-1, 1] and back, so any unit will do; the
    features of vectors should be on one scale. After training, generated samples are compared with the normals:
    ``quality_`` holds the figures, and ``alarms_`` what is wrong, of which every score warns.

    Parameters
    ----------
    latent : int
        Dimensions of z.
    width : int
        Channels of the maps at half size, doubled level by level up to eight times.
    latents : Latents
        p(z): `UniformLatents` or `NormalLatents`.
    average : float
        Decay of the generator's moving average, which is what generates; 0 keeps none.
    encoder : Embedder or None
        By whose features generated samples are compared with normals, for the alarms: `Contrastive`, say, fitted or
        not; None takes the principal components of the normals.
    upscaling : Upscaling
        How the generator doubles its maps: `TransposedConvolution` or `UpsampledConvolution`.
    """

    latent: Count = 100
    width: Count = 128
    latents: Latents = UniformLatents()
    average: Fraction = 0.999
    _: KW_ONLY
    epochs: Count = 50
    encoder: Embedder | None = None
    upscaling: Upscaling = TransposedConvolution()

    n_snapshots: ClassVar[int] = 6  # over the training, of what the generator makes
    n_shown: ClassVar[int] = 6  # samples in each

    @abstractmethod
    def critic(self, shape: Sequence[int], intensities: Intensities) -> Critic:
        """Return the untrained critic for samples of `shape`."""

    @property
    def critic_repeats(self) -> int:
        """Steps of the critic for each of the generator."""
        return 1

    @override
    def build(self, shape: Sequence[int]) -> GAN:
        intensities = Intensities(*self.range_)
        steps = max(1, self.epochs * math.ceil(self.n_samples_ / self.batch_size) // self.critic_repeats)
        # Most happens early, so the moments are evenly spaced in the square root of the steps.
        moments = [max(1, round(steps * (k / self.n_snapshots) ** 2)) for k in range(1, self.n_snapshots + 1)]
        synthesis = Synthesis(shape, self.latent, self.width, intensities, self.upscaling)
        z = self.latents(self.n_shown, self.latent)
        return GAN(synthesis, self.critic(shape, intensities), self.average, z, moments)

    def _fit(self, X: np.ndarray) -> None:
        smallest = len(X) // math.ceil(len(X) / self.batch_size)
        if smallest < 2:
            raise ValueError(
                f"{type(self).__name__}: {len(X)} sample(s) make batches of {smallest} sample at batch_size="
                f"{self.batch_size}, expected batches of at least 2: batch normalisation needs a variance"
            )
        super()._fit(X)

    def _finish(self, X: np.ndarray) -> None:
        found = None
        if len(X) >= ENOUGH:
            found = quality_of(self, X, None if self.encoder is None else fitted(self.encoder, X))
        self.quality_ = asdict(found) if found else {}
        self.alarms_ = found.alarms if found else ()

    @override
    def score_batch(self, x: Tensor) -> Tensor:
        return self.net_.critic(x)

    @override
    def decode(self, z: Tensor) -> Tensor:
        return self.net_.average(z)

    @override
    def draw(self, n: int, *key: int) -> Tensor:
        with seeded(self.seed, *key):
            z = self.latents(n, self.latent)
        return z.to(next(self.net_.parameters()))

    @override
    def features(self, x: Tensor) -> list[Tensor]:
        return self.net_.critic.features(x)

    def _embed(self, X: np.ndarray) -> np.ndarray:
        return self.map_batches(self._embed_batch, X, "Embedding")

    @override
    def _embed_tensor(self, x: Tensor) -> Tensor:
        return self._embed_batch(self.cast(x))

    def _embed_batch(self, x: Tensor) -> Tensor:
        return F.normalize(self.features(x)[-1].flatten(1), dim=1)

    def snapshots(self) -> np.ndarray:
        r"""Return what the generator made of the same latents at several moments of training.

        Returns
        -------
        ndarray of shape (moments, k, \*shape), float32
            The last is of the fitted generator.
        """
        return self.net_.snapshots.unflatten(2, self.shape_).float().cpu().numpy()
