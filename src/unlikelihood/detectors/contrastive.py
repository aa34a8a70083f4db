"""A contrastive encoder of normal samples, and the distance to their embeddings."""

from collections.abc import Sequence
from dataclasses import KW_ONLY

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.embedder import DenseEmbedder, NearestEmbeddings
from unlikelihood.contract.trained import Learner
from unlikelihood.nn.augment import Affine, Augment, Chain, Elastic, Swap
from unlikelihood.nn.contrast import contrast
from unlikelihood.nn.networks import Embedding
from unlikelihood.nn.shares import gathered
from unlikelihood.nn.spatial import side_by_side
from unlikelihood.parameters import Count, Positive
from unlikelihood.training.loop import Objective, adam, one_cycle


class Contrastive(Learner[Embedding], DenseEmbedder, NearestEmbeddings):
    r"""Learns to tell normal samples apart however they are changed, and scores by the nearest of them.

    Two random changes v, v' of each of the B samples of a batch are embedded on the unit sphere. Training lets each
    find its partner among all 2B:

    .. math:: -\log \frac{\exp(e_v \cdot e_{v'} / \tau)}{\sum_{u \neq v} \exp(e_v \cdot e_u / \tau)}

    So the embedding keeps what makes a sample this sample and drops what `views` may change. What `augment`
    makes of a sample, such as its mirror image by `Reflections`, is another sample in training, which the embedding
    learns to tell from the first too. The score is the mean distance to the nearest embeddings of the normals as they
    are, with a minus sign; `FeatureSpace` puts any other detector on them.

    Parameters
    ----------
    features : int
        Dimensions of the embedding.
    width : int
        Channels of the first convolution.
    temperature : float
        τ: the lower, the more the closest other samples count.
    views : Augment or None
        The changes that leave a normal sample the same sample; two draws of it are partners. None takes `Affine` and
        `Elastic` for images and volumes and `Swap` for vectors.

    References
    ----------
    Chen, Kornblith, Norouzi and Hinton, "A simple framework for contrastive learning of visual representations",
    2020, equation 1; Sohn et al., "Learning and evaluating representations for deep one-class classification", 2021.
    """

    features: Count = 64
    width: Count = 32
    temperature: Positive = 0.5
    views: Augment | None = None
    _: KW_ONLY
    epochs: Count = 16
    batch_size: Count = 256
    learning_rate: Positive = 2e-3

    @override
    def build(self, shape: Sequence[int]) -> Embedding:
        return Embedding(shape, self.features, self.width)

    @override
    def objectives(self, net: Embedding) -> list[Objective]:
        view = self.views or (Chain((Affine(), Elastic())) if len(self.shape_) > 1 else Swap())

        def pair(x: Tensor) -> tuple[Tensor, Tensor]:
            return view(x), view(x)

        def loss(one: Tensor, other: Tensor) -> Tensor:
            embedding = F.normalize(net(torch.cat([one, other])).to(one.dtype), dim=1)
            return contrast(torch.cat([gathered(half) for half in embedding.chunk(2)]), self.temperature)

        return [
            Objective(
                "contrastive loss", net, loss, prepare=pair, optimizer=adam(self.learning_rate), schedule=one_cycle
            )
        ]

    @override
    def _finish(self, X: np.ndarray) -> None:
        self._remember(self._embed(X))

    @override
    def _embed(self, X: np.ndarray) -> np.ndarray:
        return self.map_batches(self._embed_batch, X, "Embedding")

    @override
    def _embed_tensor(self, x: Tensor) -> Tensor:
        return self._embed_batch(self.cast(x))

    def _embed_batch(self, x: Tensor) -> Tensor:
        return F.normalize(self.net_(x), dim=1)

    @override
    def _feature_maps(self, X: np.ndarray) -> np.ndarray:
        return self.map_batches(self._feature_maps_of_batch, X, "Feature maps")

    @override
    def _feature_maps_tensor(self, x: Tensor) -> Tensor:
        return self._feature_maps_of_batch(self.cast(x))

    def _feature_maps_of_batch(self, x: Tensor) -> Tensor:
        return side_by_side(self.net_.feature_maps(x))
