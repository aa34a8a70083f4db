"""MedMNIST v2: small biomedical images and volumes with an official split."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unlikelihood.data.arrays import numpy_file
from unlikelihood.data.download import fetch
from unlikelihood.data.images import Images, numbered
from unlikelihood.data.source import Source, cache, data_folders, existing, first_file
from unlikelihood.data.splits import Split, balance

URL = "https://zenodo.org/record/6496656/files/"
PARTS = ("train", "val", "test")
# As published with MedMNIST 2.1. ChestMNIST is not here: its images have many labels each.
MD5 = {
    "pathmnist": "a8b06965200029087d5bd730944a56c1",
    "dermamnist": "0744692d530f8e62ec473284d019b0c7",
    "octmnist": "c68d92d5b585d8d81f7112f81e2d0842",
    "pneumoniamnist": "28209eda62fecd6e6a2d98b1501bb15f",
    "retinamnist": "bd4c0672f1bba3e3a89f0e4e876791e4",
    "breastmnist": "750601b1f35ba3300ea97c75c52ff8f6",
    "bloodmnist": "7053d0359d879ad8a5505303e11de1dc",
    "tissuemnist": "ebe78ee8b05294063de985d821c1c34b",
    "organamnist": "866b832ed4eeba67bfb9edee1d5544e6",
    "organcmnist": "0afa5834fb105f7705a7d93372119a21",
    "organsmnist": "e5c39f1af030238290b9557d9503af9d",
    "organmnist3d": "21f0a239e7f502e6eca33c3fc453c0b6",
    "nodulemnist3d": "8755a7e9e05a4d9ce80a24c3e7a256f3",
    "adrenalmnist3d": "bbd3c5a5576322bc4cdfea780653b1ce",
    "fracturemnist3d": "6aa7b0143a6b42da40027a9dda61302f",
    "vesselmnist3d": "2ba5b80617d705141f3f85627108fce8",
    "synapsemnist3d": "1235b78a3cd6280881dd7850a78eadb6",
}
# In mm, where the authors state it: a 64 mm cube resized to 28 voxels, or 1 mm voxels cropped.
SPACING = {"adrenalmnist3d": 64 / 28, "fracturemnist3d": 64 / 28, "nodulemnist3d": 1.0}


@dataclass(frozen=True, kw_only=True)
class MedMNIST(Source):
    """A set of MedMNIST in its published parts; intensities in [0, 1] (the stored 8-bit values divided by 255).

    Images are (1, 28, 28) or (3, 28, 28), volumes (1, 28, 28, 28), in the order train, val, test, named "train/00000"
    and so on; with the spacing where the authors state it. The normals of the official training part are trained on,
    those of the validation part calibrate, and the official test is the test; the anomalies of the first two are
    left out.

    The file is looked for in `path` if that is given, else in `$UNLIKELIHOOD_DATA` and in the cache
    (`$UNLIKELIHOOD_CACHE` or `~/.cache/unlikelihood`), else it is downloaded there and checked by hash.

    Parameters
    ----------
    name : str
        Name of the set in lower case, which is the name of its file without ".npz".
    anomalous : tuple of int
        The class labels that count as anomalies; the others are normal. What they stand for differs between
        the sets: 1 is a mass in AdrenalMNIST3D, but "normal or benign" in BreastMNIST.
    path : str or Path, optional
        The .npz file, or the folder that holds it.
    balanced : bool
        Leave images out of the test, at random, until it holds as many normals as anomalies.
    mirrors : tuple of str
        Addresses of the folders to download from, tried in this order.
    """

    name: str = "adrenalmnist3d"
    anomalous: tuple[int, ...] = (1,)
    path: str | Path | None = None
    balanced: bool = False
    mirrors: tuple[str, ...] = (URL,)

    @override
    def read(self) -> Images:
        return self._read()[0]

    @override
    def split(self) -> Split:
        images, part = self._read()
        train, calibration, test = (images[part == one] for one in PARTS)
        left_out = {"anomalies of train and val": len(train.anomalous) + len(calibration.anomalous)}
        if self.balanced:
            left_out["images of the more frequent kind"] = len(test)
            test = balance(test, np.random.default_rng(self.seed))
            left_out["images of the more frequent kind"] -= len(test)
        return Split(train=train.normal, calibration=calibration.normal, test=test, left_out=left_out)

    def _read(self) -> tuple[Images, NDArray[np.str_]]:
        file = self._file()
        with numpy_file(file) as arrays:
            missing = [key for part in PARTS for key in _keys(part) if key not in arrays]
            if missing:
                raise ValueError(f"{file} lacks {missing}: expected the images and labels of {', '.join(PARTS)}")
            stored, kinds = zip(*([arrays[key] for key in _keys(part)] for part in PARTS), strict=True)
        pixels = np.concatenate(stored)
        if pixels.dtype != np.uint8:
            raise TypeError(f"{file} holds images of type {pixels.dtype}: expected uint8")
        part = np.repeat(PARTS, [len(kind) for kind in kinds])
        images = Images(
            pixels=_channels_first(pixels) / np.float32(255),
            label=self._label(file, np.concatenate(kinds)),
            spacing=(SPACING[file.stem],) * 3 if file.stem in SPACING else None,
            name=np.concatenate([numbered(part, len(kind)) for part, kind in zip(PARTS, kinds, strict=True)]),
        )
        return images, part

    def _label(self, file: Path, kind: NDArray[np.integer]) -> NDArray[np.int64]:
        if kind.size != len(kind):
            raise ValueError(f"{file} has {kind.shape[1]} labels an image: expected one")
        known = np.unique(kind).tolist()
        if not self.anomalous or not set(self.anomalous) < set(known):
            raise ValueError(f"anomalous={self.anomalous!r}: expected some, but not all, of the labels {known}")
        return np.isin(kind.ravel(), self.anomalous).astype(np.int64)

    def _file(self) -> Path:
        name = f"{self.name}.npz"
        if self.path is not None:
            path = existing("path", self.path)
            return path if path.is_file() else existing("path", path / name)
        if file := first_file(data_folders(), name):
            return file
        if self.name not in MD5:
            raise ValueError(f"name={self.name!r}: expected one of {', '.join(MD5)}, or the path of a file")
        return fetch([f"{mirror.rstrip('/')}/{name}" for mirror in self.mirrors], cache() / name, MD5[self.name])


def _keys(part: str) -> tuple[str, str]:
    return f"{part}_images", f"{part}_labels"


def _channels_first(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # MedMNIST stores (N, H, W), (N, H, W, 3) or (N, D, H, W), and no volume of it is 3 voxels wide.
    if pixels.ndim == 4 and pixels.shape[-1] == 3:
        return np.moveaxis(pixels, -1, 1)
    return pixels[:, None]
