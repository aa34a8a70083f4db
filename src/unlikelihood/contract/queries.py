"""What a search of a generator's latent space minimises for a sample, and how it goes down."""

from collections.abc import Iterator

import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.trained import Generator
from unlikelihood.nn.descents import Descent


class Query:
    r"""The loss of latents z as stand-ins for samples x: equations 13 to 15 of the thesis.

    .. math:: L_R(z) = \sum |x - G(z)|, \qquad L_D(z) = \sum |f(x) - f(G(z))|, \qquad
              L(z) = (1 - \lambda) L_R(z) + \lambda L_D(z)

    Parameters
    ----------
    generator : Generator
        Fitted: G, and the features f of its critic.
    x : Tensor
        The samples (B, \*shape).
    discrimination : float
        λ.
    layer : int
        Which of the critic's layers f is.
    """

    def __init__(self, generator: Generator, x: Tensor, discrimination: float, layer: int) -> None:
        self.generator = generator
        self.x = x
        self.discrimination = discrimination
        self.layer = layer
        self.f = self.features(x)

    def features(self, x: Tensor) -> Tensor:
        """Return f(x), (B, features)."""
        layers = self.generator.features(x) if self.discrimination else [x[:, :0]]
        return layers[self.layer if self.discrimination else 0].flatten(1)

    def losses(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the residual, the discrimination and the loss of both, each (B,), and G(z)."""
        made = self.generator.decode(z)
        residual = (self.x - made).abs().flatten(1).sum(1)
        discrimination = (self.f - self.features(made)).abs().sum(1)
        loss = (1 - self.discrimination) * residual + self.discrimination * discrimination
        return residual, discrimination, loss, made

    def slope(self, z: Tensor) -> Tensor:
        """Return the gradient of the loss, (B, latent)."""
        with torch.enable_grad():
            z = z.detach().requires_grad_(True)
            return torch.autograd.grad(self.losses(z)[2].sum(), z)[0]


class SquaredQuery(Query):
    r"""The loss of f-AnoGAN, for samples of D values and features of F.

    .. math:: A_R(z) = \frac{1}{D} \lVert x - G(z) \rVert^2, \qquad
              A_D(z) = \frac{1}{F} \lVert f(x) - f(G(z)) \rVert^2, \qquad A(z) = A_R(z) + \kappa A_D(z)

    Its `discrimination` is κ.
    """

    @override
    def losses(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        made = self.generator.decode(z)
        residual = (self.x - made).square().flatten(1).mean(1)
        if not self.discrimination:
            return residual, torch.zeros_like(residual), residual, made
        discrimination = (self.f - self.features(made)).square().mean(1)
        return residual, discrimination, residual + self.discrimination * discrimination, made


def descend(query: Query, z: Tensor, steps: int, descent: Descent) -> Tensor:
    """Return where a descent from `z`, (B, latent), is after a number of steps; each row goes its own way."""
    *_, end = descending(query, z, steps, descent)
    return end


def descending(query: Query, z: Tensor, steps: int, descent: Descent) -> Iterator[Tensor]:
    """Yield `z`, (B, latent), and what a descent from it makes of that, in place, after each step."""
    z = z.detach().clone()
    optimizer = descent([z])
    yield z
    for _ in range(steps):
        z.grad = query.slope(z)
        optimizer.step()
        yield z
