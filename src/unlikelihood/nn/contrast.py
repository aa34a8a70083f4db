"""Telling samples apart: a task that gives a network features without labels."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unlikelihood.nn.augment import Affine, Augment, Swap
from unlikelihood.parameters import Count, Positive, check_parameters


@dataclass(frozen=True)
class Contrast:
    r"""The contrastive loss: two views of a sample are to be alike, and unlike those of all others.

    With the cosine similarity s of the embeddings of the 2B views of a batch, and j the other view of i's sample,

    .. math:: -\frac{1}{2B} \sum_i \log \frac{\exp(s_{ij} / \tau)}{\sum_{k \ne i} \exp(s_{ik} / \tau)}

    Parameters
    ----------
    views : Augment or None
        Draws a view of every sample. None takes `Affine` for images and volumes and `Swap` for vectors.
    temperature : float
        τ.
    weight : float
        Of the loss beside the one that it is added to.
    dimensions : int
        Of the embedding.

    References
    ----------
    Chen et al., "A simple framework for contrastive learning of visual representations", 2020, equation 1; Jeong and
    Shin, "Training GANs with stronger augmentations via contrastive discriminator", 2021, for its use in a GAN.
    """

    views: Augment | None = None
    temperature: Positive = 0.5
    weight: Positive = 1.0
    dimensions: Count = 64

    def __post_init__(self) -> None:
        check_parameters(self)

    def __call__(self, embed: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Return the weighted loss of a batch of samples under `embed`, in nats."""
        view = self.views or (Affine() if x.ndim > 2 else Swap())
        embedded = embed(torch.cat([view(x), view(x)])).to(x.dtype)
        return self.weight * contrast(F.normalize(embedded, dim=1), self.temperature)


def contrast(embedding: Tensor, temperature: float) -> Tensor:
    """Return the contrastive loss in nats, averaged, of unit embeddings (2B, F) whose halves are partners in order."""
    n = len(embedding)
    similarity = embedding @ embedding.T / temperature
    similarity = similarity.masked_fill(torch.eye(n, dtype=torch.bool, device=embedding.device), -torch.inf)
    partner = (torch.arange(n, device=embedding.device) + n // 2) % n
    return F.cross_entropy(similarity, partner)
