"""Where and in which layout a network computes."""

import math
import os
import warnings
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import nn

from unlikelihood.nn.shares import size

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def device_for(device: str) -> torch.device:
    """Return a device by its name, as of `fabric_for`; in a process group of torch, that of this rank.

    Raises
    ------
    ValueError
        If there is no such device here; the message says which there are.
    """
    if device not in (known := available()):
        raise ValueError(f"device is {device!r}, expected one of those that there are here: {', '.join(known)}")
    if size() > 1 and ":" in device:
        raise ValueError(
            f"device is {device!r}, expected one without a number, for each of {size()} ranks takes its own"
        )
    kind, _, index = device.partition(":")
    if kind == "auto":
        kind = next(name for name in ("cuda", "mps", "cpu") if name in known)
    kind = {"gpu": "cuda"}.get(kind, kind)
    if kind == "cpu":
        return torch.device(kind)
    return torch.device(kind, int(index or (os.environ["LOCAL_RANK"] if size() > 1 else 0)))


def fabric_for(device: str, precision: str) -> "Fabric":
    """Return the Fabric of one device; in a process group of torch, that of this rank's device among those of all.

    Parameters
    ----------
    device : str
        ``auto`` (an accelerator if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    precision : str
        ``auto`` (bfloat16 mixed where a CUDA device has it, else float32) or Fabric's own name for one.

    Raises
    ------
    ValueError
        If there is no such device here; the message says which there are.
    """
    if size() > 1 and "LOCAL_WORLD_SIZE" not in os.environ:
        raise ValueError(f"LOCAL_WORLD_SIZE is not set: expected the {size()} ranks to be started by torchrun")
    found = device_for(device)
    if precision == "auto":
        precision = "bf16-mixed" if found.type == "cuda" and torch.cuda.is_bf16_supported() else "32-true"
    if size() == 1:
        return deepcopy(_unused(found.type, found.index if ":" in device else None, precision))
    # It imports the compiler of torch, for more than a second, which only training needs.
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    here = int(os.environ["LOCAL_WORLD_SIZE"])
    # Of a kernel with one channel, channels first and last are one layout by two names.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    strategy = DDPStrategy(cluster_environment=TorchElasticEnvironment())
    fabric = Fabric(
        accelerator=found.type,
        devices=here,
        num_nodes=size() // here,
        strategy=strategy,
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


@cache  # for each that is made looks for callbacks in all that is installed, which takes as long as a small fit
def _unused(kind: str, index: int | None, precision: str) -> "Fabric":
    """Return a Fabric of one device that is only copied, for in use it holds the state of a training."""
    from lightning_fabric import Fabric

    devices = 1 if index is None else [index]
    return Fabric(accelerator=kind, devices=devices, precision=precision)  # type: ignore[arg-type]


def available() -> list[str]:
    """Return the names of the devices that can compute here."""
    cuda = ["cuda", "gpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    return ["auto", "cpu", *(cuda if torch.cuda.is_available() else []), *["mps"] * torch.backends.mps.is_available()]


def memory_format(shape: Sequence[int]) -> torch.memory_format:
    """Return the layout in which convolutions over samples of `shape` are fast."""
    return {3: torch.channels_last, 4: torch.channels_last_3d}.get(len(shape), torch.contiguous_format)


def place(net: nn.Module, device: torch.device, shape: Sequence[int]) -> nn.Module:
    """Move `net` to `device`, in the layout for samples of `shape`, and return it."""
    return net.to(device=device).to(memory_format=memory_format(shape))  # type: ignore[call-overload]


def free_memory(device: torch.device) -> float:
    """Return the free memory of `device` in bytes, infinite where it is unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return math.inf
