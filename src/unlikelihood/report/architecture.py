"""The layers of the networks that a fitted detector has: seen by running each once, whatever it is made of."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from unlikelihood.contract.detector import learners

SAME = {"average": "generator"}  # the moving average of a generator is one


@dataclass(frozen=True)
class Layer:
    r"""A layer: what it is, the shape of its output for one sample, (C, \*space), and how many parameters it has."""

    name: str
    size: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Network:
    """A network and its layers in the order in which they work."""

    name: str
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """How many there are in all."""
        return sum(layer.parameters for layer in self.layers)


def networks(detector: object) -> list[Network]:
    """Return the networks of a fitted detector and of its parts, those of a part but once; none if it has none."""
    found: dict[str, Network] = {}
    for learner in learners(detector):
        for network in _networks(learner):
            found.setdefault(network.name, network)
    return list(found.values())


def _networks(learner: Any) -> list[Network]:
    import torch  # only here: judging scores needs no torch

    net, of = learner.net_, type(learner).__name__
    seen: dict[str, list[Layer]] = {}
    done: set[str] = set()

    def hook(path: str) -> Any:
        def record(module: Any, _inputs: Any, output: Any) -> None:
            if path not in done and torch.is_tensor(output):
                done.add(path)
                whole = isinstance(net, torch.nn.Sequential) or "." not in path
                group = type(net).__name__.lower() if whole else path.split(".")[0]
                _append(seen.setdefault(SAME.get(group, group), []), module, tuple(output.shape[1:]))

        return record

    hooks = [
        module.register_forward_hook(hook(path))
        for path, module in net.named_modules()
        if path and (not any(module.children()) or any(True for _ in module.parameters(recurse=False)))
    ]
    try:
        with torch.no_grad():
            _run(learner)
    finally:
        for each in hooks:
            each.remove()
    made = [Network(f"{of}: {name}", tuple(layers)) for name, layers in seen.items()]
    return [network for network in made if network.parameters]


def _run(learner: Any) -> None:
    """Make every module of a detector's network work, on one sample of zeros."""
    import torch

    if hasattr(learner, "score_batch"):
        learner.score_batch(torch.zeros(1, *learner.shape_).to(next(learner.net_.parameters())))
    elif hasattr(learner, "embed"):
        learner.embed(np.zeros((1, *learner.shape_), np.float32))
    else:
        learner.net_(torch.zeros(1, *learner.shape_).to(next(learner.net_.parameters())))
    if hasattr(learner, "decode"):
        learner.generate(1)


def _append(layers: list[Layer], module: Any, size: tuple[int, ...]) -> None:
    """Add a layer; one without parameters that keeps the shape, such as a rectifier, is named beside the one before."""
    own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
    name = _described(module)
    if layers and not own and size == layers[-1].size:
        layers[-1] = Layer(f"{layers[-1].name}, {name}", size, layers[-1].parameters)
    else:
        layers.append(Layer(name, size, own))


def _described(module: Any) -> str:
    name = type(module).__name__
    kernel, stride = getattr(module, "kernel_size", None), getattr(module, "stride", None)
    if isinstance(kernel, tuple):
        name += f" {'×'.join(map(str, kernel))}"
        name += "" if not isinstance(stride, tuple) or set(stride) == {1} else f", stride {stride[0]}"
    return name
