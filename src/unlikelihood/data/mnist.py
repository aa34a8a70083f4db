"""MNIST, as in the thesis: one digit is the anomaly, the other nine are normal."""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unlikelihood.data.digit_source import DigitSource, StoredDigits
from unlikelihood.data.download import fetch, is_gzip, opened
from unlikelihood.data.images import numbered
from unlikelihood.data.mapped import WHOLE, joined
from unlikelihood.data.source import cache, data_folders, existing, first_file
from unlikelihood.data.unpacked import unpacked
from unlikelihood.storage.reading import naming

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
# Of the unzipped files: the same pixels are about under more than one gzip header.
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


@dataclass(frozen=True, kw_only=True)
class MNIST(DigitSource):
    """Handwritten digits of 28×28 pixels, 60,000 in the train file and 10,000 in the test file.

    The default is the protocol of the thesis: 1,024 training images of each normal digit (9,216 for nine of them),
    further normals of the same file for calibration, and 450 normals and 450 anomalies of the test file. Images are
    named "train/00000" and so on.

    The four files are looked for in `path` if that is given, else in `$UNLIKELIHOOD_DATA/mnist` and in the
    cache (`$UNLIKELIHOOD_CACHE` or `~/.cache/unlikelihood`), else they are downloaded there, checked by hash.

    Further parameters are those of `DigitSource`.

    Parameters
    ----------
    path : str or Path, optional
        Folder with the four IDX files, gzipped or not. Other data in this format will do too.
    mirrors : tuple of str
        Addresses of the folders to download from, tried in this order.
    """

    full_scale: ClassVar[int] = 255
    train_per_digit: int = 1024
    calibration_per_digit: int = 200
    test: int = 450
    path: str | Path | None = None
    mirrors: tuple[str, ...] = MIRRORS

    @override
    def digits(self) -> StoredDigits:
        pixels, digit, name = [], [], []
        for part, title in (("train", "train"), ("t10k", "test")):
            images, labels = (self._file(f"{part}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
            pixels.append(read_idx(images, axes=3))
            digit.append(read_idx(labels, axes=1))
            if len(pixels[-1]) != len(digit[-1]):
                raise ValueError(
                    f"{images} holds {len(pixels[-1])} images, {labels} {len(digit[-1])} labels, expected as many"
                )
            size, first = pixels[-1].shape[1:], pixels[0].shape[1:]
            if size != first or 0 in size:
                expected = f"{first} as in the other file" if size != first else "a pixel at least"
                raise ValueError(f"{images} holds images of shape {size}, expected {expected}")
            if digit[-1].max(initial=0) > 9:
                raise ValueError(f"{labels} holds the label {digit[-1].max()}, expected the digits 0 to 9")
            name.append(numbered(title, len(digit[-1])))
        trainable = np.arange(sum(map(len, digit))) < len(digit[0])
        return StoredDigits(joined(pixels), np.concatenate(digit), np.concatenate(name), trainable, ~trainable)

    def _file(self, name: str) -> Path:
        folders = data_folders("mnist") if self.path is None else [existing("path", self.path)]
        if file := first_file(folders, name, f"{name}.gz"):
            return file
        if self.path is not None:
            raise FileNotFoundError(f"path={str(self.path)!r}: expected it to hold {name} or {name}.gz")
        urls = [f"{mirror.rstrip('/')}/{name}.gz" for mirror in self.mirrors]
        return fetch(urls, cache() / "mnist" / f"{name}.gz", MD5[name])


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Read a file in the IDX format of 8-bit numbers, gzipped or not; more than 64 MiB are mapped.

    Parameters
    ----------
    path : Path
        The file.
    axes : int
        Number of axes it must have: 1 for labels, 3 for images.

    Returns
    -------
    ndarray of uint8, in the shape that the file gives

    Raises
    ------
    ValueError
        If the file is not of this format, or not whole.
    """
    header = 4 + 4 * axes
    with naming(path, "a file of digits"), opened(path) as file:
        read = file.read(header + WHOLE // 4 + 1)
        content = np.frombuffer(read, np.uint8) if len(read) <= header + WHOLE // 4 else _mapped(path)
    magic = bytes([0, 0, 8, axes])  # 8 stands for unsigned bytes
    if bytes(content[:4]) != magic:
        raise ValueError(
            f"{path} begins with {bytes(content[:4]).hex()}: expected {magic.hex()}, 8-bit IDX of {axes} axes"
        )
    if len(content) < header:
        raise ValueError(f"{path} ends after {len(content)} bytes: expected a header of {header}")
    shape = struct.unpack(f">{axes}I", content[4:header].data)
    if len(content) != header + math.prod(shape):
        raise ValueError(
            f"{path} holds {len(content) - header} numbers: expected {math.prod(shape)} for its shape {shape}"
        )
    return content[header:].reshape(shape)


def _mapped(path: Path) -> NDArray[np.uint8]:
    """Return the bytes of a large file in a map, unzipped into the cache if it is a gzip file."""
    plain = unpacked(path, "content", lambda: opened(path)) if is_gzip(path) else path
    return np.memmap(plain, np.uint8, "r")
