"""References that see labelled anomalies in training, which no detector here does: what labels are worth."""

from functools import partial

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

Scores = NDArray[np.float64]


def boosted_radiomics(labelled: Images, test: NDArray[np.float32], seed: int) -> Scores:
    """Score by boosted trees on radiomic features; higher = more anomalous."""
    radiomics = Radiomics(seed=seed).fit(labelled.normal.pixels)
    trees = HistGradientBoostingClassifier(class_weight="balanced", random_state=seed)
    trees.fit(radiomics.embed(labelled.pixels), labelled.label)
    return trees.decision_function(radiomics.embed(test))


def network(labelled: Images, test: NDArray[np.float32], seed: int, *, width: int, epochs: int) -> Scores:
    """Score by a convolutional network, the encoder of our VAE with a logit; higher = more anomalous."""
    shape, label = labelled.shape, labelled.label
    assert label is not None
    with initialising(seed):
        net = Encoder(shape, 1, width)
    weight = torch.tensor((label == 0).sum() / label.sum())  # both kinds count alike

    def loss(samples: Tensor) -> Tensor:
        logit = net(samples[:, :-1].unflatten(1, shape)).squeeze(1)
        return F.binary_cross_entropy_with_logits(logit, samples[:, -1], pos_weight=weight.to(logit))

    # The loop knows of no labels, so that every sample carries its own as its last value.
    samples = np.column_stack([labelled.pixels.reshape(len(labelled), -1), label]).astype(np.float32)
    adam = partial(torch.optim.Adam, lr=1e-3)
    train(
        net,
        [Objective("cross_entropy", net, loss, optimizer=adam, schedule=one_cycle)],
        samples,
        epochs=epochs,
        batch_size=64,
        seed=seed,
        fabric=fabric_for("cpu", "32-true"),
    )
    with torch.inference_mode():
        return np.concatenate([net.eval()(x).squeeze(1).double().numpy() for x in torch.from_numpy(test).split(64)])
