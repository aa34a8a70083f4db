"""The state of an unfinished fit, on disk."""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from unlikelihood.nn.shares import first, rank
from unlikelihood.storage.files import recover, replacing
from unlikelihood.storage.locks import SOON, alone


class Checkpoint:
    """The state of an unfinished fit, in one safetensors file.

    Random numbers and the order of the data follow from the seed and the step alone, so the step, the network and
    the optimisers are all the state there is. It is that of every rank of a process group, whose first writes and reads
    the file for all: a fit resumes with as many ranks as there are then.

    Parameters
    ----------
    path : path
        The file.
    fit_hash : str
        What is being fitted: see `fit_hash`. A checkpoint of anything else is refused.
    seconds : float
        Time between two saves.
    """

    def __init__(self, path: str | os.PathLike[str], fit_hash: str, seconds: float) -> None:
        self.path = Path(path)
        self.fit_hash = fit_hash
        self.seconds = seconds
        self.saved_at = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether this process is to save, as the time between two saves has passed."""
        return rank() == 0 and time.monotonic() - self.saved_at >= self.seconds

    def save(
        self,
        step: int,
        losses: Sequence[Sequence[float]],
        net: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> None:
        """Replace the file by the state after `step` steps."""
        tensors = {f"net.{name}": tensor.contiguous() for name, tensor in net.state_dict().items()}
        for objective, optimizer in enumerate(optimizers):
            for index, state in optimizer.state_dict()["state"].items():
                for name, tensor in state.items():
                    tensors[f"optimizer.{objective}.{index}.{name}"] = tensor.contiguous()
        meta = {"fit_hash": self.fit_hash, "step": step, "losses": losses}
        meta["checksum"] = checksum(meta, tensors)
        with replacing(self.path) as path:
            try:
                save_file(tensors, path, {"checkpoint": json.dumps(meta)})
            except SafetensorError as error:  # a full disk, for example
                raise OSError(f"checkpoint {self.path} cannot be written: {error}") from error
        self.saved_at = time.monotonic()

    def resume(
        self, net: nn.Module, optimizers: Sequence[torch.optim.Optimizer], steps: int
    ) -> tuple[int, list[list[float]]] | None:
        """Load the file, if there is one, and return how many of the `steps` are done and each objective's losses.

        A ValueError says that the file is broken or belongs to another fit, or that another rank fits something else.
        """
        known = self._read(net, len(optimizers), steps) if rank() == 0 else None
        fit_hash, known = first((self.fit_hash, known))
        if fit_hash != self.fit_hash:
            raise ValueError(
                f"rank {rank()} has other data or parameters than rank 0: expected the same on every machine"
            )
        if known is None:
            return None
        meta, tensors = known
        net.load_state_dict({name[4:]: tensor for name, tensor in tensors.items() if name.startswith("net.")})
        for objective, optimizer in enumerate(optimizers):
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in tensors.items():
                if name.startswith(f"optimizer.{objective}."):
                    _, _, index, key = name.split(".")
                    state.setdefault(int(index), {})[key] = tensor
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
            for weight, loaded in optimizer.state.items():
                for key, tensor in loaded.items():
                    if tensor.shape == weight.shape:  # in the weight's layout, which a fused step takes for granted
                        loaded[key] = torch.empty_like(weight).copy_(tensor)
        return meta["step"], meta["losses"]

    def _read(self, net: nn.Module, objectives: int, steps: int) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        recover(self.path)
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                meta = json.loads(file.metadata()["checkpoint"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            other = meta["fit_hash"] != self.fit_hash
            if not other:
                check(meta, tensors, net, objectives, steps)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"checkpoint {self.path} cannot be read ({error}); delete it to start again") from error
        if other:
            raise ValueError(
                f"checkpoint {self.path} belongs to a fit of other data or parameters; "
                "delete it, or name another checkpoint"
            )
        return meta, tensors

    def remove(self) -> None:
        """Delete the file: the fit is done."""
        if rank() == 0:
            self.path.unlink(missing_ok=True)


@contextmanager
def checkpoint_of(
    path: str | None, seconds: float, describe: Callable[[], str], X: np.ndarray
) -> Iterator[Checkpoint | None]:
    """Yield the checkpoint of one fit at a path, which no other fit may use meanwhile; None without a path.

    Parameters
    ----------
    path : str or None
        The file.
    seconds : float
        Time between two saves.
    describe : callable
        Returns in text what is fitted.
    X : ndarray
        What it is fitted to.
    """
    if path is None:
        yield None
        return
    with alone(Path(path), SOON) if rank() == 0 else nullcontext():
        yield Checkpoint(path, fit_hash(describe(), X), seconds)


def checksum(meta: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of all that a checkpoint holds."""
    digest = hashlib.sha256(json.dumps({key: meta[key] for key in ("fit_hash", "step", "losses")}).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check(meta: Mapping[str, Any], tensors: Mapping[str, Tensor], net: nn.Module, objectives: int, steps: int) -> None:
    """Raise a ValueError if a checkpoint has changed, or is not one of `net` within `steps`."""
    if meta["checksum"] != checksum(meta, tensors):
        raise ValueError("it was changed after it was written: its checksum does not fit")
    step, losses = meta["step"], meta["losses"]
    if type(step) is not int or not 1 <= step <= steps or len(losses) != objectives:
        raise ValueError(f"step is {step!r} with {len(losses)} losses, expected one of {steps} with {objectives}")
    if any(len(past) != step or not all(map(math.isfinite, past)) for past in losses):
        raise ValueError(f"losses are {[len(past) for past in losses]} numbers, expected {step} finite ones each")
    held = {name[4:]: tuple(tensor.shape) for name, tensor in tensors.items() if name.startswith("net.")}
    made = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    if held != made:
        raise ValueError(f"its network has weights {sorted(held)}, expected {sorted(made)} in the same shapes")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{name} holds values that are not finite")


def fit_hash(description: str, X: np.ndarray) -> str:
    """Return a hash of a fit: `description` in text and every value of `X`."""
    digest = hashlib.sha256(f"{description} {X.shape} {X.dtype}".encode())
    for start in range(0, len(X), 1024):
        digest.update(np.ascontiguousarray(X[start : start + 1024]).data)
    return digest.hexdigest()
