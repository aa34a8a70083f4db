"""The state of an unfinished fit, on disk."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from unlikelihood.storage.files import leftovers, replacing


class Checkpoint:
    """The state of an unfinished fit, in one safetensors file.

    Random numbers and the order of the data follow from the seed and the step alone, so the step, the network and
    the optimisers are all the state there is.

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
        """Whether the time between two saves has passed."""
        return time.monotonic() - self.saved_at >= self.seconds

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
        with replacing(self.path) as path:
            save_file(tensors, path, {"checkpoint": json.dumps(meta)})
        self.saved_at = time.monotonic()

    def resume(
        self, net: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
    ) -> tuple[int, list[list[float]]] | None:
        """Load the file, if there is one, and return the steps done and each objective's losses.

        A ValueError says that the file is broken or belongs to another fit.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                meta = json.loads(file.metadata()["checkpoint"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"checkpoint {self.path} cannot be read ({error}); delete it to start again") from error
        if meta.get("fit_hash") != self.fit_hash:
            raise ValueError(
                f"checkpoint {self.path} belongs to a fit of other data or parameters; "
                "delete it, or name another checkpoint"
            )
        net.load_state_dict({name[4:]: tensor for name, tensor in tensors.items() if name.startswith("net.")})
        for objective, optimizer in enumerate(optimizers):
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in tensors.items():
                if name.startswith(f"optimizer.{objective}."):
                    _, _, index, key = name.split(".")
                    state.setdefault(int(index), {})[key] = tensor
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        return meta["step"], meta["losses"]

    def remove(self) -> None:
        """Delete the file, and what a killed process left beside it: the fit is done."""
        self.path.unlink(missing_ok=True)
        for stale in leftovers(self.path):
            shutil.rmtree(stale)


def fit_hash(description: str, X: np.ndarray) -> str:
    """Return a hash of a fit: `description` in text and every value of `X`."""
    digest = hashlib.sha256(f"{description} {X.shape} {X.dtype}".encode())
    for start in range(0, len(X), 1024):
        digest.update(np.ascontiguousarray(X[start : start + 1024]).data)
    return digest.hexdigest()
