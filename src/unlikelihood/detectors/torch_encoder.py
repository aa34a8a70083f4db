"""Any torch module as an encoder, such as a network that was trained for another task."""

import copy
import hashlib
import os
from dataclasses import KW_ONLY
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_in
from torch import Tensor, nn
from typing_extensions import override

from unlikelihood.contract.embedder import DenseEmbedder, NearestEmbeddings
from unlikelihood.nn.spatial import side_by_side
from unlikelihood.parameters import Count
from unlikelihood.training.batches import in_order
from unlikelihood.training.devices import device_for, place


class TorchEncoder(DenseEmbedder, NearestEmbeddings):
    r"""Embeds samples with a given network, which is not trained, and scores by the nearest normals.

    `fit` copies the network, in evaluation mode; what happens to the original afterwards does not matter. A model
    file holds its weights but, as nothing is ever pickled, not its code: ``load(path, module=network)`` takes them
    into a copy of `network`, which has to be built in the same way.

    Parameters
    ----------
    module : Module
        Maps a batch (B, \*shape) to embeddings: (B, features), (B, C, H, W) or (B, C, D, H, W), or to a list of
        feature maps, the finest first, which are put side by side. For vectors it is run in double precision.
    batch_size : int
        Samples in a batch.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    References
    ----------
    Santos Buitrago, 2018, future work: features of the nodule detector.

    Examples
    --------
    >>> X = np.random.default_rng(0).random((64, 1, 8, 8), dtype=np.float32)
    >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten())
    >>> TorchEncoder(network).fit(X).embed(X[:3]).shape
    (3, 144)
    """

    module: nn.Module
    _: KW_ONLY
    batch_size: Count = 128
    device: str = "auto"

    runtime = ("device", "module")

    @classmethod
    def from_safetensors(
        cls, module: nn.Module, path: str | os.PathLike[str], sha256: str | None = None, **parameters: Any
    ) -> Self:
        """Return an encoder whose weights are read from a local file, from which nothing is unpickled.

        Parameters
        ----------
        module : Module
            Of the architecture that the file belongs to; a copy takes the weights.
        path : path
            A safetensors file.
        sha256 : str or None
            What the hash of the file has to be, in hexadecimal; None takes any.
        **parameters : Any
            The encoder's other parameters.

        Raises
        ------
        ValueError
            If the file is no safetensors file, has another hash, or its weights are not those of `module`.
        """
        content = Path(path).read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if sha256 is not None and found != sha256.lower():
            raise ValueError(f"{path} has the SHA-256 {found}, expected {sha256}")
        module = copy.deepcopy(module)
        try:
            module.load_state_dict(tensors_in(content))
        except SafetensorError as error:
            raise ValueError(f"{path} is no safetensors file: {error}") from None
        except RuntimeError as error:
            raise ValueError(f"{path} does not hold the weights of this {type(module).__name__}: {error}") from None
        return cls(module, **parameters)

    def __sklearn_clone__(self) -> Self:
        # It is never changed, so that clones can share it.
        return type(self)(**self.get_params(deep=False))

    def _fit(self, X: np.ndarray) -> None:
        self._take(self.module)
        self._remember(self._embed(X))

    def _take(self, module: nn.Module) -> None:
        net = copy.deepcopy(module).eval().requires_grad_(False)
        place(net, device_for(self.device), self.shape_)
        # As in `Trained`: convolutions in double precision would be many times slower, and nothing else needs it.
        self.net_ = net.double() if len(self.shape_) == 1 else net

    @torch.inference_mode()
    def _embed(self, X: np.ndarray) -> np.ndarray:
        dtype = torch.float64 if len(self.shape_) == 1 else torch.float32
        device = device_for(self.device)
        return np.concatenate([self._finite(x) for x in in_order(X, self.batch_size, "Embedding", device, dtype)])

    @override
    def _embed_tensor(self, x: Tensor) -> Tensor:
        return self._embed_batch(x.float().double() if len(self.shape_) == 1 else x.float())

    @override
    def _feature_maps_tensor(self, x: Tensor) -> Tensor:
        return self._embed_tensor(x)

    @override
    def _feature_maps(self, X: np.ndarray) -> np.ndarray:
        return self._embed(X)

    def _finite(self, x: Tensor) -> np.ndarray:
        embedding = self._embed_batch(x)
        if not embedding.isfinite().all():
            raise ValueError(f"{type(self).__name__}: module makes values that are not finite")
        return embedding.cpu().numpy()

    def _embed_batch(self, x: Tensor) -> Tensor:
        embedding = self.net_(x)
        if isinstance(embedding, (list, tuple)) and embedding and all(_is_map(level, x) for level in embedding):
            embedding = side_by_side(embedding)
        if not isinstance(embedding, Tensor) or embedding.shape[:1] != x.shape[:1] or embedding.ndim < 2:
            made = tuple(embedding.shape) if isinstance(embedding, Tensor) else type(embedding).__name__
            raise ValueError(
                f"{type(self).__name__}: module makes {made} of a batch {tuple(x.shape)}, expected a tensor with a "
                "row, image or volume for each sample"
            )
        return embedding

    @override
    def state(self) -> dict[str, Any]:
        # The file does not hold the module, so a number stands for which it was.
        state = {**super().state(), "module": np.array(digest(self.module), np.uint64)}
        if hasattr(self, "net_"):
            state |= {f"net.{name}": tensor.cpu().numpy() for name, tensor in self.net_.state_dict().items()}
        return state

    @override
    def set_state(self, state: dict[str, Any]) -> None:
        state.pop("module")
        if not state:
            return
        weights = {name[4:]: torch.from_numpy(state.pop(name)) for name in list(state) if name.startswith("net.")}
        self._take_state(state)
        self._take(self.module)
        try:
            self.net_.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(
                f"{type(self).__name__}: module is not built like the one that was saved: {error}"
            ) from None
        self._restore()


def _is_map(level: object, x: Tensor) -> bool:
    return isinstance(level, Tensor) and level.ndim == x.ndim and len(level) == len(x)


def digest(module: nn.Module) -> int:
    """Return a number that follows from the architecture and the weights of a network."""
    total = hashlib.blake2b(repr(module).encode(), digest_size=8)
    for name, tensor in module.state_dict().items():
        total.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return int.from_bytes(total.digest())
