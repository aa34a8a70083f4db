"""How much a sample would change the weights of a model that has learnt normal ones."""

import copy
from collections.abc import Iterator
from functools import reduce

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from unlikelihood.contract.detector import fitted
from unlikelihood.contract.trained import Trained
from unlikelihood.contract.wrapper import MapOfPart
from unlikelihood.parameters import Positive

AT_ONCE = 2**25  # numbers in the gradients that are held together


class GradientNorm(MapOfPart):
    r"""Scores by the gradient that a sample's log-likelihood has with respect to the weights of its model.

    .. math:: -g^\top F^{-1} g, \qquad g = \nabla_\theta \log p_\theta(x), \qquad
              F = \mathrm{diag}\Bigl(\frac{1}{n} \sum_j g_j \odot g_j\Bigr)
              + \epsilon \, \frac{\mathrm{tr} \, F}{\lvert \theta \rvert} I

    Samples like those that a model has learnt have small gradients. The Fisher information F is that of the samples
    which `fit` is given, its diagonal alone: so a weight counts by how far it moves in comparison with normal samples.
    The gradients of a batch are computed together, in chunks that bound the memory.

    Parameters
    ----------
    detector : Trained
        p: any whose score is a log-likelihood, or a bound of one, of which torch can take the gradient, such as `VAE`.
    damping : float
        ε: keeps weights that no normal sample moves from counting for everything.

    References
    ----------
    Kwon, Prabhushankar, Temel and AlRegib, "Backpropagated gradient representations for anomaly detection", 2020;
    Bergamin et al., "Model-agnostic out-of-distribution detection using combined statistical tests", 2022 (Rao's
    score statistic with a diagonal Fisher information).
    """

    detector: Trained
    damping: Positive = 1e-3

    unexportable = "its score takes a gradient for every sample"

    def _fit(self, X: np.ndarray) -> None:
        self.detector_ = fitted(self.detector, X)
        self._check_gradient(X)
        squares = reduce(torch.add, (g.double().square().sum(0) for g in self._gradients(X)))
        self.fisher_ = (squares / len(X)).cpu().numpy()

    def _score(self, X: np.ndarray) -> np.ndarray:
        fisher = self.fisher_ + self.damping * self.fisher_.mean()
        weight = torch.from_numpy(1 / fisher)
        return -np.concatenate([(g.double().square() @ weight.to(g.device)).cpu().numpy() for g in self._gradients(X)])

    def _check_gradient(self, X: np.ndarray) -> None:
        """Raise if the detector's score is not one that torch can take the gradient of."""
        try:
            next(self._gradients(X[:1]))
        except (RuntimeError, NotImplementedError) as error:
            raise ValueError(
                f"detector is a {type(self.detector_).__name__}, whose score has no gradient, expected a model of a "
                f"likelihood such as VAE: {error}"
            ) from error

    def _gradients(self, X: np.ndarray) -> Iterator[Tensor]:
        """Yield ∇ log p(x) of the samples, (B, weights), in batches that memory holds."""
        # Of a copy, as torch puts the weights that it differentiates by into the network itself, for all threads.
        part = copy.copy(self.detector_)
        part.net_ = copy.deepcopy(part.net_)
        model = LogLikelihood(part)
        weights = {name: weight.detach() for name, weight in model.named_parameters()}
        each = vmap(grad(lambda theta, x: functional_call(model, theta, (x,))), (None, 0), randomness="same")
        at_once = max(1, AT_ONCE // sum(weight.numel() for weight in weights.values()))
        for batch in self.detector_.batches(X, "Taking gradients"):
            for x in batch.split(at_once):
                yield torch.cat([g.flatten(1) for g in each(weights, x).values()], 1)


class LogLikelihood(nn.Module):
    """The network of a fitted detector, whose answer to one sample is that sample's score."""

    def __init__(self, detector: Trained) -> None:
        super().__init__()
        self.net = detector.net_
        self.score_batch = detector.score_batch

    def forward(self, x: Tensor) -> Tensor:
        r"""Return the score, (), of a sample (\*shape)."""
        return self.score_batch(x[None])[0]
