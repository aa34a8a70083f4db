"""References that see labelled anomalies in training, which no detector here does: what labels are worth."""

from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from unlikelihood import Objective, Radiomics
from unlikelihood.data.images import Images
from unlikelihood.nn.networks import Encoder
from unlikelihood.training.devices import fabric_for
from unlikelihood.training.loop import one_cycle, train
from unlikelihood.training.seeding import initialising


@dataclass(eq=False)
class BoostedRadiomics:
    """Boosted trees on radiomic features; both kinds count alike."""

    seed: int

    def fit(self, labelled: Images) -> Self:
        self.radiomics_ = Radiomics(seed=self.seed).fit(labelled.normal.pixels)
        trees = HistGradientBoostingClassifier(class_weight="balanced", random_state=self.seed)
        self.trees_ = trees.fit(self.radiomics_.embed(labelled.pixels), labelled.label)
        return self

    def score_samples(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of being normal."""
        normal, _ = self.trees_.predict_proba(self.radiomics_.embed(X)).T
        return normal


@dataclass(eq=False)
class Network:
    """A convolutional network, the encoder of our VAE with a logit; both kinds count alike."""

    width: int
    epochs: int
    seed: int

    def fit(self, labelled: Images) -> Self:
        label, shape = np.asarray(labelled.label), labelled.shape
        with initialising(self.seed):
            self.net_ = Encoder(shape, 1, self.width)
        weight = torch.tensor(label.sum() / (1 - label).sum())

        def loss(samples: Tensor) -> Tensor:
            logit = self.net_(samples[:, :-1].unflatten(1, shape)).squeeze(1)
            return F.binary_cross_entropy_with_logits(logit, 1 - samples[:, -1], pos_weight=weight.to(logit))

        # The loop knows of no labels, so that every sample carries its own as its last value.
        samples = np.column_stack([labelled.pixels.reshape(len(labelled), -1), label]).astype(np.float32)
        adam = partial(torch.optim.Adam, lr=1e-3)
        train(
            self.net_,
            [Objective("cross_entropy", self.net_, loss, optimizer=adam, schedule=one_cycle)],
            samples,
            epochs=self.epochs,
            batch_size=64,
            seed=self.seed,
            fabric=fabric_for("cpu", "32-true"),
        )
        return self

    @torch.inference_mode()
    def score_samples(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the logit of being normal."""
        self.net_.eval()
        return np.concatenate([self.net_(x).squeeze(1).double().numpy() for x in torch.from_numpy(X).split(64)])
