"""Detectors and data that are small enough to fit in a moment."""

import pickle
from collections.abc import Sequence
from dataclasses import MISSING, fields
from functools import cache

import numpy as np
from sklearn.svm import OneClassSVM
from torch import nn

import unlikelihood
from unlikelihood.detectors.estimator import OutlierEstimator
from unlikelihood.storage.discovery import subclasses

DETECTORS = subclasses(unlikelihood.Detector, "detectors")
SHAPES = {"vectors": (6,), "images": (1, 8, 8), "colour": (3, 9, 16), "volumes": (1, 8, 8, 8)}
SMALL = {
    "epochs": 2,
    "batch_size": 16,
    "width": 2,
    "hidden": 4,
    "latent": 2,
    "n_estimators": 5,
    "n_components": 3,
    "critic_steps": 2,
    "steps": 3,
    "layers": 2,
    "size": 6,
    "samples": 2,
}


PARTS = {
    unlikelihood.Embedder: lambda: tiny("Contrastive"),
    unlikelihood.DenseEmbedder: lambda: tiny("Contrastive"),
    unlikelihood.Generator: lambda: tiny("DCGAN"),
    unlikelihood.Detector: lambda: tiny("KNN"),
    Sequence[unlikelihood.Detector]: lambda: [tiny("KNN"), tiny("IsolationForest")],
    OutlierEstimator: lambda: OneClassSVM(),
    nn.Module: lambda: nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(5)),
    unlikelihood.Trained: lambda: tiny("VAE"),
    unlikelihood.Variational: lambda: tiny("VAE"),
}


def tiny(name, **parameters):
    """Return a small unfitted detector of the class `name`, around small ones where it is a wrapper."""
    known = {field.name: field for field in fields(DETECTORS[name])}
    parts = {key: PARTS[field.type]() for key, field in known.items() if field.default is MISSING}
    return DETECTORS[name](**{key: value for key, value in (SMALL | parts | parameters).items() if key in known})


def normals(shape, n=40, seed=0):
    """Return smooth samples in [0, 1]: blobs of random place and brightness."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape[1:] or shape], indexing="ij")
    place = rng.uniform(-0.5, 0.5, (n, len(axes)))
    distance = sum((axis[None] - p.reshape(-1, *[1] * axis.ndim)) ** 2 for axis, p in zip(axes, place.T, strict=True))
    blob = np.exp(-4 * distance) * rng.uniform(0.5, 1, (n, *[1] * axes[0].ndim))
    channels = blob[:, None].repeat(shape[0], axis=1) if len(shape) > 1 else blob
    return channels.astype(np.float32)


def tiny_fitted(name, shape):
    """Return a copy of the one `tiny` detector `name` that is fitted to `normals` of a shape."""
    return pickle.loads(_fitted(name, shape))


@cache
def _fitted(name, shape):
    X = normals(shape)
    X.flags.writeable = False  # to change the samples is an error
    return pickle.dumps(tiny(name).fit(X))  # several times as fast to copy as the objects
