"""MedMNIST v2 and MedMNIST+: biomedical images and volumes with an official split."""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unlikelihood.data.arrays import npz_array, numpy_file
from unlikelihood.data.download import fetch
from unlikelihood.data.images import Images, numbered
from unlikelihood.data.mapped import Mapped, Stored, held, joined
from unlikelihood.data.medmnist_sets import SETS, MedSet
from unlikelihood.data.source import Source, cache, data_folders, existing, first_file
from unlikelihood.data.splits import Split, balance

URL = "https://zenodo.org/records/10519652/files/"
PARTS = ("train", "val", "test")
NEITHER = -1


@dataclass(frozen=True, kw_only=True)
class MedMNIST(Source):
    """A set of MedMNIST in its published parts; intensities in [0, 1] (the stored 8-bit values divided by 255).

    Images are (1, size, size) or (3, size, size), volumes (1, size, size, size), in the order train, val, test, named
    "train/00000" and so on; with the spacing where the authors state it. The normals of the official training part are
    trained on, those of the validation part calibrate, and the official test is the test; the anomalies of the first
    two are left out. A part of more than 64 MiB is unpacked once into the cache, and mapped.

    No patient is published, so every image is a group of its own. The authors cut the parts by patient where they knew
    them, but intervals are too narrow where a patient gave several images, as both glands in AdrenalMNIST3D.

    The file is looked for in `path` if that is given, else in `$UNLIKELIHOOD_DATA` and in the cache
    (`$UNLIKELIHOOD_CACHE` or `~/.cache/unlikelihood`), else it is downloaded there and checked by hash.

    =================  ==========================================================================================
    name               normal, unless `normal` or `anomalous` says otherwise
    =================  ==========================================================================================
    pathmnist          0 adipose, 1 background, 3 lymphocytes, 4 mucus, 5 smooth muscle, 6 normal colon mucosa;
                       anomalous are 7 cancer-associated stroma and 8 adenocarcinoma, debris is neither
    chestmnist         no finding; the labels are 14 findings, of which an image has any number
    dermamnist         5 melanocytic nevi; some of the other lesions are benign too
    octmnist           3 normal
    pneumoniamnist     0 normal
    retinamnist        0, no retinopathy; the labels are grades
    breastmnist        1 normal or benign; 0 is malignant
    bloodmnist         all but 2 erythroblasts and 3 immature granulocytes, which healthy adults' blood has none of
    tissuemnist        all but 4 leukocytes; no cell is ill
    organamnist,       all but 6 liver, which is held out; no organ is ill
    organcmnist,
    organsmnist
    organmnist3d       all but 0 liver, as above: its labels are in another order
    nodulemnist3d      0 benign
    adrenalmnist3d     0 normal; 1 is a mass
    fracturemnist3d    0 buckle fractures, the mildest; no rib is whole
    vesselmnist3d      0 vessel; 1 is an aneurysm
    synapsemnist3d     1 excitatory; no synapse is ill
    =================  ==========================================================================================

    Parameters
    ----------
    name : str
        Name of the set in lower case, which is the name of its file of size 28 without ".npz".
    size : int
        Pixels along each axis: 28, or of MedMNIST+ 64, 128 and 224 for images, 64 for volumes.
    normal : tuple of int, optional
        Labels that count as normal; what they stand for differs between the sets. If only `anomalous` is given, the
        others are normal. In ChestMNIST no finding is, and with it images of findings named here alone.
    anomalous : tuple of int, optional
        Labels that count as anomalous; if only `normal` is given, the others are. Where both are given, images of
        other labels are left out. In ChestMNIST one such finding is enough.
    path : str or Path, optional
        The .npz file, or the folder that holds it.
    balanced : bool
        Leave images out of the test, at random, until it holds as many normals as anomalies.
    mirrors : tuple of str
        Addresses of the folders to download from, tried in this order.

    References
    ----------
    Yang, Shi, Wei, Liu, Zhao, Ke, Pfister and Ni, "MedMNIST v2 - a large-scale lightweight benchmark for 2D and 3D
    biomedical image classification", 2023.
    """

    name: str = "adrenalmnist3d"
    size: int = 28
    normal: tuple[int, ...] | None = None
    anomalous: tuple[int, ...] | None = None
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
        left_out = {"anomalies of train and val": train.counts["anomalous"] + calibration.counts["anomalous"]}
        if self.balanced:
            left_out["images of the more frequent kind"] = len(test)
            test = balance(test, np.random.default_rng(self.seed))
            left_out["images of the more frequent kind"] -= len(test)
        return Split(train=train.normal, calibration=calibration.normal, test=test, left_out=left_out)

    def file(self) -> Path | None:
        """Return where the file is on this machine, None if it would have to be downloaded."""
        self._check()
        if self.path is not None:
            path = existing("path", self.path)
            return path if path.is_file() else existing("path", path / self._filename)
        return first_file(data_folders(), self._filename)

    @property
    def _filename(self) -> str:
        return f"{self.name}.npz" if self.size == 28 else f"{self.name}_{self.size}.npz"

    def _check(self) -> None:
        if self.name not in SETS:
            raise ValueError(f"name={self.name!r}: expected one of {', '.join(SETS)}")
        if self.size not in (sizes := SETS[self.name].md5):
            raise ValueError(f"size={self.size}: expected one of {list(sizes)}, in which {self.name} is published")

    def _fetched(self) -> Path:
        urls = [f"{mirror.rstrip('/')}/{self._filename}" for mirror in self.mirrors]
        return fetch(urls, cache() / self._filename, SETS[self.name].md5[self.size])

    def _read(self) -> tuple[Images, NDArray[np.str_]]:
        file, published = self.file() or self._fetched(), SETS[self.name]
        normal, anomalous = self._classes(published)
        pixels, label, name, part = [], [], [], []
        with numpy_file(file) as arrays:
            if missing := [key for one in PARTS for key in _keys(one) if key not in arrays]:
                raise ValueError(f"{file} lacks {missing}: expected the images and labels of {', '.join(PARTS)}")
            for one in PARTS:
                stored, labels = (npz_array(file, arrays, key) for key in _keys(one))
                _refuse_images(f"{file}, {one}_images", stored, published.stored(self.size))
                has = _has(f"{file}, {one}_labels", labels, len(stored), published)
                kind = np.where(has[:, anomalous].any(1), 1, np.where(np.delete(has, normal, 1).any(1), NEITHER, 0))
                channels_first = stored[:, None] if published.channels == 1 else np.moveaxis(stored, -1, 1)
                pixels.append(Mapped([Stored(channels_first, (0, 255))]).choose(kind != NEITHER))
                label.append(kind)
                name.append(numbered(one, len(kind)))
                part.append(np.full(len(kind), one))
        kind = np.concatenate(label)
        known = kind != NEITHER
        spacing = published.spacing.get(self.size)
        images = Images(
            pixels=held(joined(pixels)),
            label=kind[known],
            spacing=None if spacing is None else (spacing,) * published.axes,
            name=np.concatenate(name)[known],
            layout=f"{self.name}: normal {published.words(normal)}; anomalous {published.words(anomalous)}",
            left_out={"images of other classes": int((~known).sum())} if not known.all() else {},
        )
        return images, np.concatenate(part)[known]

    def _classes(self, published: MedSet) -> tuple[list[int], list[int]]:
        """Return the labels that are normal, and those that are anomalous."""
        known = range(len(published.classes))
        normal, anomalous = self.normal, self.anomalous
        if normal is None and anomalous is None:
            normal, anomalous = published.normal, published.anomalous
        if normal is None:  # where an image may have no label, that is what is normal
            normal = published.normal if published.multi_label else _others(known, anomalous or ())
        if anomalous is None:
            anomalous = _others(known, normal)
        for parameter, given in (("normal", normal), ("anomalous", anomalous)):
            some = given or (published.multi_label and parameter == "normal")
            if not some or not set(given) <= set(known):
                asked = f"normal={self.normal!r} and anomalous={self.anomalous!r}"
                listed = ", ".join(f"{label} {published.classes[label]}" for label in known)
                raise ValueError(f"{asked}: expected some, but not all, of the labels of {self.name}: {listed}")
        if both := sorted(set(normal) & set(anomalous)):
            raise ValueError(f"normal={self.normal!r} and anomalous={self.anomalous!r} both name {both[0]}")
        return list(normal), list(anomalous)


def _keys(part: str) -> tuple[str, str]:
    return f"{part}_images", f"{part}_labels"


def _others(known: Iterable[int], given: Container[int]) -> tuple[int, ...]:
    return tuple(label for label in known if label not in given)


def _refuse_images(where: str, images: NDArray[Any], shape: tuple[int, ...]) -> None:
    if images.dtype != np.uint8:
        raise ValueError(f"{where}: images of type {images.dtype}, expected uint8")
    if images.shape[1:] != shape:
        raise ValueError(f"{where}: images of shape {images.shape[1:]}, expected {shape}")


def _has(where: str, labels: NDArray[Any], n: int, published: MedSet) -> NDArray[np.bool_]:
    """Return which labels each image has, (n, labels)."""
    known = len(published.classes)
    columns = (n, known) if published.multi_label else (n, 1)
    if labels.shape != columns:
        raise ValueError(f"{where}: labels of shape {labels.shape}, expected {columns}")
    values = range(2) if published.multi_label else range(known)
    if not np.isin(labels, values).all():
        wrong = labels[~np.isin(labels, values)][0]
        raise ValueError(f"{where}: label {wrong}, expected {values[0]} to {values[-1]}")
    return labels == 1 if published.multi_label else labels == np.arange(known)
