"""Arrays out of what people keep samples in."""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.images import Images, refuse_channels_last
from unlikelihood.data.source import Source
from unlikelihood.data.splits import Split


def as_array(X: Any) -> Any:
    """Return samples as an array: of a tensor, a torch Dataset or a DataLoader; all else that is fit for it as it is.

    Of items that are tuples or lists the first entry is the sample, as in torchvision; labels beside it are ignored.

    Parameters
    ----------
    X : Any
        Samples.

    Returns
    -------
    Any
        An array, a memory map as it is, or what scikit-learn takes for one: a list, a data frame.

    Raises
    ------
    TypeError
        If they are no samples, or in no fixed order; the message says what to pass.
    ValueError
        If the last axis looks like channels.

    Examples
    --------
    >>> import torch
    >>> as_array(torch.utils.data.TensorDataset(torch.zeros(3, 1, 8, 8), torch.zeros(3))).shape
    (3, 1, 8, 8)
    """
    if "torch" in sys.modules:  # as it is where there is a tensor; judging scores needs no torch
        X = _of_torch(X)
    if expected := _instead(X):
        raise TypeError(f"X is a {type(X).__name__}, expected an array: pass {expected}")
    if hasattr(X, "shape"):
        refuse_channels_last("X", tuple(X.shape))
    return X


def _instead(X: Any) -> str:
    """Return what to pass instead of what is no array but has one in it."""
    if isinstance(X, Images):
        return "images.pixels, to fit images.normal.pixels"
    if isinstance(X, Split):
        return "split.train.pixels to fit, split.test.pixels to score"
    if isinstance(X, Source):
        return "source.split().train.pixels to fit, source.read().pixels to score"
    if type(X).__module__.split(".")[0] == "datasets":  # Hugging Face's
        return (
            'images = X.with_format("numpy")["image"][:], then images[:, None] if grey or '
            "np.moveaxis(images, -1, 1) if in colour"
        )
    if isinstance(X, (str, os.PathLike)):
        return "Folder(X).read().pixels for images in a folder, Volumes for CT, Arrays for a .npy file"
    if isinstance(X, Mapping) and not hasattr(X, "shape"):  # which a sparse matrix has
        return "one of its arrays"
    return "np.stack(list(X))" if isinstance(X, Iterable) and not hasattr(X, "__len__") else ""


def _of_torch(X: Any) -> Any:
    import torch
    from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler

    def sample(item: Any) -> NDArray[Any]:
        first = item[0] if isinstance(item, (tuple, list)) else item
        if isinstance(first, torch.Tensor):
            return first.detach().cpu().numpy()
        if isinstance(first, (np.ndarray, np.generic)):
            return np.asarray(first)
        raise TypeError(
            f"X has items of type {type(first).__name__}, expected tensors or arrays (C, H, W), alone or first in a "
            "tuple: give the Dataset a transform that makes them, such as ToTensor()"
        )

    if isinstance(X, torch.Tensor):
        return X.detach().cpu().numpy()
    if isinstance(X, DataLoader):
        ordered = isinstance(X.dataset, IterableDataset) or isinstance(X.sampler, SequentialSampler)
        if X.drop_last or not ordered:
            raise TypeError(
                f"X is a DataLoader with a {type(X.sampler).__name__} and drop_last={X.drop_last}, expected one in "
                "order and whole, so that each score has its sample: shuffle=False, drop_last=False"
            )
        return np.concatenate([sample(batch) for batch in X])
    if isinstance(X, Dataset):
        items = X if isinstance(X, IterableDataset) else (X[i] for i in range(len(X)))  # type: ignore[arg-type]
        return np.stack([sample(item) for item in items])
    return X
