"""Telling samples apart: a task that gives a network features without labels."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unlikelihood.nn.augment import Affine, Augment
from unlikelihood.parameters import Count, Positive, check_parameters


@dataclass(frozen=True)
class Contrast:
    r"""The contrastive loss: two views of a sample are to be alike, and unlike those of all others.

    With the cosine similarity s of the embeddings of the 2B views of a batch, and j the other view of i's sample,

    .. math:: -\frac{1}{2B} \sum_i \log \frac{\exp(s_{ij} / \tau)}{\sum_{k \ne i} \exp(s_{ik} / \tau)}

    Parameters
    ----------
    views
        Draws a view of every sample.
    temperature
        τ.
    weight
        Of the loss beside the one that it is added to.
    dimensions
        Of the embedding.

    References
    ----------
    Chen et al., "A simple framework for contrastive learning of visual representations", 2020, equation 1; Jeong and
    Shin, "Training GANs with stronger augmentations via contrastive discriminator", 2021, for its use in a GAN.
    """

    views: Augment = Affine()
    temperature: Positive = 0.5
    weight: Positive = 1.0
    dimensions: Count = 64

    def __post_init__(self) -> None:
        check_parameters(self)

    def __call__(self, embed: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Return the weighted loss of a batch of samples under `embed`, in nats."""
        views = F.normalize(embed(torch.cat([self.views(x), self.views(x)])).float(), dim=1)
        likeness = views @ views.T / self.temperature
        likeness = likeness.masked_fill(torch.eye(len(views), dtype=torch.bool, device=x.device), -torch.inf)
        other = torch.arange(len(views), device=x.device).roll(len(x))
        return self.weight * F.cross_entropy(likeness, other)
