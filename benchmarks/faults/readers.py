"""What is read of every format, and how."""

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import SimpleITK
import tifffile

import unlikelihood as u
from benchmarks.faults import examples
from benchmarks.faults.examples import ENCODERS, OTHERS, OWN, picture, pillow, volume, x_ray
from unlikelihood.evaluation.evaluation import Evaluation

Facts = Mapping[str, Any]


class Reader(NamedTuple):
    """A reader: how a whole example is written into a folder, which of its files is damaged, and how it is read.

    `rest` reads the folder and leaves out what cannot be read; None where that is not to be had. `checksum` says what
    of the file changes no bit unseen: all, its voxels or nothing; then `instead` is what is checked.
    """

    name: str
    victim: str
    write: Callable[[Path], object]
    read: Callable[[Path], Facts]
    rest: Callable[[Path], Any] | None = None
    kinds: tuple[str, ...] = ()
    checksum: str = "nothing"
    instead: str = "sizes, types and ranges"


def facts(images: Any) -> Facts:
    """Return what may differ in what a source reads."""
    names = ("pixels", "label", "group", "spacing", "name")
    return {name: None if (value := getattr(images, name)) is None else np.asarray(value) for name in names}


# Images of a folder.


def image_reader(name: str, suffix: str, writer: Callable[[Path, np.ndarray], object], **how: Any) -> Reader:
    def write(folder: Path) -> None:
        for place, k in ((OTHERS, 1), (OTHERS, 2), (OWN, 0)):
            (folder / place).mkdir(exist_ok=True)
            writer(folder / place / f"{k}.{suffix}", picture(k))

    def rest(folder: Path) -> Any:
        return u.Folder(folder, anomalous=(), skip_unreadable=True).read()

    return Reader(
        name, f"{OWN}/0.{suffix}", write, lambda at: facts(u.Folder(at / OWN, anomalous=()).read()), rest, **how
    )


def images() -> Iterator[Reader]:
    yield image_reader("PNG", "png", pillow, kinds=("png",), checksum="all")
    yield image_reader("JPEG", "jpg", pillow, kinds=("jpg",), instead="end of the stream, its codes and its size")
    yield image_reader("TIFF", "tif", tifffile.imwrite, kinds=("tif",), instead="strips that are there, sizes, types")
    packed = partial(tifffile.imwrite, compression="zlib")
    yield image_reader("TIFF, deflated", "tif", packed, kinds=("tif",), checksum="voxels")
    yield image_reader("WebP", "webp", pillow, kinds=("webp",), instead="its codes and its size")
    yield image_reader("BMP", "bmp", pillow, kinds=("bmp",), instead="its size")
    yield image_reader("GIF", "gif", pillow, kinds=("gif",), instead="its codes and its size")

    def jpeg2000(file: Path, image: np.ndarray) -> None:
        file.write_bytes(imagecodecs.jpeg2k_encode(image))

    yield image_reader("JPEG 2000", "jp2", jpeg2000, kinds=("jp2",), instead="end of the stream and its size")
    yield image_reader("NPY of a folder", "npy", np.save, kinds=("npy", "array"), instead="its size and type")
    yield image_reader("DICOM image", "dcm", x_ray, kinds=("dcm", "x-ray"), instead="its size and bits")
    for codec in ("JPEG2000Lossless", "JPEGLosslessSV1", "RLELossless"):
        made = partial(x_ray, codec=codec)
        yield image_reader(f"DICOM image, {codec}", "dcm", made, kinds=("dcm", "x-ray"), instead="its size and end")


# CT scans.


def scan_facts(folder: Path, name: str) -> Facts:
    scan = u.Scan.read(folder / OWN / name if name else folder / OWN)
    return {name: getattr(scan, name) for name in ("hu", "origin", "spacing", "direction")}


def scan_rest(folder: Path) -> Any:
    return u.Volumes(folder, skip_unreadable=True, jobs=1, anomalous=()).read()


def scan_reader(name: str, file: str, victim: str = "", packed: bool = False, **how: Any) -> Reader:
    def write(folder: Path) -> None:
        for place, k in ((OTHERS, 1), (OWN, 0)):
            (folder / place).mkdir()
            target = folder / place / (f"b{file[1:]}" if k else file)
            if packed:
                SimpleITK.WriteImage(volume(k)._image(), str(target), useCompression=True)
            elif target.suffix == ".nhdr":
                SimpleITK.WriteImage(volume(k)._image(), str(target))
            else:
                volume(k).save(target)

    return Reader(name, f"{OWN}/{victim or file}", write, lambda at: scan_facts(at, file), scan_rest, **how)


def scans() -> Iterator[Reader]:
    yield scan_reader("NIfTI", "a.nii", kinds=("nii",))
    yield scan_reader("NIfTI, gzip", "a.nii.gz", kinds=("nii",), checksum="all")
    yield scan_reader("MetaImage", "a.mha", kinds=("mha",))
    yield scan_reader("MetaImage, zlib", "a.mha", packed=True, kinds=("mha",), checksum="voxels")
    yield scan_reader("MetaImage header", "a.mhd", kinds=("mha",))
    yield scan_reader("MetaImage .raw", "a.mhd", "a.raw")
    yield scan_reader("MetaImage .zraw", "a.mhd", "a.zraw", packed=True, checksum="voxels")
    yield scan_reader("NRRD", "a.nrrd", kinds=("nrrd",))
    yield scan_reader("NRRD, gzip", "a.nrrd", packed=True, kinds=("nrrd",), checksum="voxels")
    yield scan_reader("NRRD header", "a.nhdr", kinds=("nrrd",))
    for codec in ("", *ENCODERS, "RLELossless"):
        yield Reader(
            f"DICOM series{', ' * bool(codec)}{codec}",
            f"{OWN}/0002.dcm",
            partial(examples.series, codec=codec),
            lambda at: scan_facts(at, ""),
            scan_rest,
            ("dcm", "ct"),
            instead="sizes, bits, signs and places, ends of streams",
        )
    yield Reader(
        "DICOM, enhanced", f"{OWN}/a.dcm", examples.enhanced, lambda at: scan_facts(at, ""), scan_rest, ("dcm",)
    )


# Arrays, and data sets of one file.


def sets() -> Iterator[Reader]:
    def arrays(at: Path) -> Facts:
        return facts(u.Arrays(at / "a.npz", label="label", group="patient").read())

    yield Reader("NPY", "a.npy", examples.array, lambda at: facts(u.Arrays(at / "a.npy").read()), None, ("npy",))
    yield Reader("NPZ", "a.npz", examples.archive, arrays, None, ("npz",), checksum="all")
    for packed in (False, True):
        file = f"train-images-idx3-ubyte{'.gz' if packed else ''}"
        yield Reader(
            f"MNIST{', gzip' * packed}",
            file,
            partial(examples.mnist, packed=packed),
            lambda at: facts(u.MNIST(path=at).read()),
            None,
            ("idx",),
            "all" if packed else "nothing",
        )

    def set_of(at: Path) -> Facts:
        return facts(u.MedMNIST(name="breastmnist", path=at).read())

    yield Reader("MedMNIST", "breastmnist.npz", examples.medmnist, set_of, None, ("breastmnist",), checksum="all")
    yield Reader(
        "LIDC", "lidc.npz", examples.lidc, lambda at: facts(u.LIDC(path=at / "lidc.npz").read()), None, ("lidc",), "all"
    )


# Files that hold many images.


def many() -> Iterator[Reader]:
    def parquet(at: Path) -> Facts:
        return facts(u.Parquet(at / OWN / "a.parquet", label="label").read())

    def numbers(at: Path) -> Facts:
        return facts(u.Parquet(at / "a.parquet", label="label", group="patient").read())

    def tar(at: Path) -> Facts:
        return facts(u.WebDataset(at / OWN / "a.tar").read())

    own = partial(examples.packed, write=examples.parquet, suffix=".parquet")
    yield Reader("Parquet", f"{OWN}/a.parquet", own, parquet, None, checksum="voxels", instead="checksums of pages")
    yield Reader("Parquet of numbers", "a.parquet", examples.parquet_of_numbers, numbers, None)
    own = partial(examples.packed, write=examples.tar, suffix=".tar")
    instead = "checksums of headers and of each PNG"
    yield Reader("WebDataset", f"{OWN}/a.tar", own, tar, None, ("tar",), "voxels", instead)
    for name, form, victim, what in (
        ("a.zarr", 2, ".zarray", "head of format 2"),
        ("a.zarr", 2, "0.0.0.0", "chunk of Blosc"),
        ("a.zarr", 3, "zarr.json", "head of format 3"),
        ("a.zarr", 3, "1.0.0.0", "chunk of Zstandard"),
        ("a.zip", 3, "", "zipped"),
    ):
        yield Reader(
            f"Zarr, {what}",
            f"{name}/{victim}" if victim else name,
            partial(examples.zarr_store, name=name, form=form),
            partial(lambda at, name: facts(u.Zarr(at / name).read()), name=name),
            None,
            checksum="nothing" if victim else "all",
            instead="sizes, types and ends of chunks",
        )


# Tables, and what this library writes itself.


def tables() -> Iterator[Reader]:
    def volumes(at: Path) -> Facts:
        return facts(u.Volumes(at / "in", table=at / "in" / "table.csv", jobs=1).read())

    def nodules(at: Path) -> Facts:
        return facts(u.Nodules(path=at / "in", table=at / "in" / "table.csv", size=4, jobs=1).read())

    victim, instead = "in/table.csv", "columns, names, labels and numbers of every row"
    how: dict[str, Any] = {"rest": None, "instead": instead}
    read = lambda at: facts(u.Folder(at / "in", table=at / "in" / "table.csv").read())  # noqa: E731
    yield Reader("table of images", victim, examples.folder_table, read, kinds=("files",), **how)
    yield Reader("table of volumes", victim, examples.scan_table, volumes, kinds=("files",), **how)
    for name, label in (("annotations.csv", False), ("candidates.csv", True)):
        yield Reader(name, victim, partial(examples.nodule_table, label=label), nodules, kinds=("places",), **how)


def scored(folder: Path) -> Facts:
    return {"score": u.load(folder / "model").score_samples(np.linspace(0, 1, 15, dtype=np.float32).reshape(3, 5))}


def evaluation_facts(folder: Path) -> Facts:
    record = Evaluation.load(folder)
    names = ("label", "score", "probability", "calibration", "p_value")
    figures = json.dumps([record.name, {key: str(one) for key, one in record.metrics.items()}])
    return {name: getattr(record, name) for name in names} | {"figures": np.array(figures)}


def own() -> Iterator[Reader]:
    for file, kind in (("detector.json", "model"), ("weights.safetensors", "safetensors")):
        yield Reader(f"model, {file}", f"model/{file}", examples.model, scored, None, (kind,), "all")
    yield Reader("evaluation.json", "evaluation.json", examples.judged, evaluation_facts, None, ("evaluation",), "all")


def readers() -> list[Reader]:
    """Return every reader."""
    return [*images(), *scans(), *sets(), *tables(), *own(), *many()]


def quietly(reader: Reader, folder: Path) -> Facts:
    """Read, and let no warning by."""
    os.environ["UNLIKELIHOOD_CACHE"] = str(folder / ".cache")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return reader.read(folder)
