"""What is read: a small whole example of every format, and how it is read."""

import csv
import gzip
import json
import os
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import pydicom
import SimpleITK
import tifffile
from PIL import Image
from pydicom import uid
from pydicom.sequence import Sequence

import unlikelihood as u
from unlikelihood.data.medmnist_sets import SETS
from unlikelihood.evaluation.evaluation import Evaluation, evaluate

SIDE = 24
OWN, OTHERS = "own", "others"  # folders of what is damaged, and of what is whole
ENCODERS: Mapping[str, Callable[[np.ndarray], bytes]] = {
    "JPEG2000Lossless": lambda plane: imagecodecs.jpeg2k_encode(plane, level=0, reversible=True, codecformat="J2K"),
    "JPEGLSLossless": imagecodecs.jpegls_encode,
    "JPEGLosslessSV1": lambda plane: imagecodecs.ljpeg_encode(plane, bitspersample=16),
}
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


def picture(k: int) -> np.ndarray:
    """Return a smooth grey image with some noise, another for every k."""
    y, x = np.mgrid[:SIDE, :SIDE]
    noise = np.random.default_rng(k).integers(0, 9, (SIDE, SIDE))
    return (60 + 50 * np.sin(0.3 * x + k) + 40 * np.cos(0.2 * y) + noise).astype(np.uint8)


def volume(k: int = 0) -> Any:
    """Return a noisy scan."""
    hu = np.random.default_rng(k).integers(-1000, 1000, (6, 20, 24)).astype(np.int16)
    return u.Scan(hu, (-10, 20, 30), (0.7, 0.8, 2.5), patient="p", series=f"1.2.{k + 3}")


# Images of a folder.


def pillow(file: Path, image: np.ndarray) -> None:
    Image.fromarray(image).save(file, **{".webp": {"lossless": True}, ".jpg": {"quality": 95}}.get(file.suffix, {}))


def x_ray(file: Path, image: np.ndarray, codec: str = "") -> None:
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.Modality, data.PhotometricInterpretation, data.SamplesPerPixel = "DX", "MONOCHROME2", 1
    data.Rows, data.Columns, data.PixelRepresentation = *image.shape, 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.RescaleSlope, data.RescaleIntercept, data.WindowCenter, data.WindowWidth = "1", "0", "2000", "4000"
    stored = image.astype(np.uint16) << 4
    data.PixelData = stored.tobytes()
    if codec:
        encapsulated(data, codec, stored)
    data.save_as(file, enforce_file_format=True)


def encapsulated(data: Any, codec: str, stored: np.ndarray) -> None:
    """Compress the pixels of a DICOM object."""
    if codec == "RLELossless":
        data.compress(uid.RLELossless, generate_instance_uid=False)
        return
    data.PixelData = pydicom.encaps.encapsulate([bytes(ENCODERS[codec](stored))])
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = getattr(uid, codec)


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
    yield image_reader("NPY of a folder", "npy", np.save, kinds=("npy", "image"), instead="its size and type")
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


def series(folder: Path, codec: str = "") -> None:
    for place, k in ((OTHERS, 1), (OWN, 0)):
        volume(k).save(folder / place)
        for file in sorted((folder / place).iterdir()) if codec else ():
            data = pydicom.dcmread(file)
            stored = (data.pixel_array + 1024).astype(np.uint16)
            data.PixelRepresentation, data.RescaleIntercept, data.PixelData = 0, "-1024", stored.tobytes()
            encapsulated(data, codec, stored)
            data.save_as(file)


def enhanced(folder: Path) -> None:
    volume(1).save(folder / OTHERS)
    scan = volume(0)
    (folder / OWN).mkdir()
    scan.save(folder / "plain")
    data = pydicom.dcmread(folder / "plain" / "0000.dcm")
    for file in (folder / "plain").iterdir():
        file.unlink()
    (folder / "plain").rmdir()
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = uid.EnhancedCTImageStorage
    for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        del data[tag]
    data.ImageType, data.NumberOfFrames = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], len(scan.hu)

    def group(**tags: Any) -> Sequence:
        item = pydicom.Dataset()
        for tag, value in tags.items():
            setattr(item, tag, value)
        return Sequence([item])

    shared = group(
        PixelMeasuresSequence=group(PixelSpacing=[0.8, 0.7]),
        PlaneOrientationSequence=group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelValueTransformationSequence=group(RescaleSlope=1, RescaleIntercept=0, RescaleType="HU"),
    )
    places = [scan.to_world((k, 0, 0)).tolist() for k in range(len(scan.hu))]
    data.SharedFunctionalGroupsSequence = shared
    data.PerFrameFunctionalGroupsSequence = Sequence(
        [group(PlanePositionSequence=group(ImagePositionPatient=at))[0] for at in places]
    )
    data.PixelData = scan.hu.astype("<i2").tobytes()
    data.save_as(folder / OWN / "a.dcm")


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
            partial(series, codec=codec),
            lambda at: scan_facts(at, ""),
            scan_rest,
            ("dcm", "ct"),
            instead="sizes, bits and signs, places; the end of a compressed stream",
        )
    yield Reader(
        "DICOM, enhanced", f"{OWN}/a.dcm", enhanced, lambda at: scan_facts(at, ""), scan_rest, ("dcm", "enhanced")
    )


# Arrays, and data sets of one file.


def idx(numbers: np.ndarray) -> bytes:
    return struct.pack(f">{numbers.ndim + 1}I", 0x800 + numbers.ndim, *numbers.shape) + numbers.tobytes()


def mnist(folder: Path, packed: bool) -> None:
    digit = np.repeat(np.arange(10, dtype=np.uint8), 3)
    pixels = np.random.default_rng(0).integers(0, 256, (len(digit), 8, 8), dtype=np.uint8)
    for part in ("train", "t10k"):
        for name, what in (("images-idx3", pixels), ("labels-idx1", digit)):
            content = idx(what)
            file = folder / f"{part}-{name}-ubyte{'.gz' if packed else ''}"
            file.write_bytes(gzip.compress(content, mtime=0) if packed else content)


def medmnist(folder: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = rng.integers(0, 256, (6, *SETS["breastmnist"].stored(28)), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.tile(np.arange(2, dtype=np.uint8), 3)[:, None]
    np.savez_compressed(folder / "breastmnist.npz", **arrays)


def lidc(folder: Path) -> None:
    volumes = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 32), dtype=np.uint8)
    np.savez(folder / "lidc.npz", volumes=volumes, malignancy=np.array([1, 2, 3, 4, 5, 1]))


def archive(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 1, 9, 9), dtype=np.uint8)
    np.savez(folder / "a.npz", pixels=pixels, label=np.arange(8) % 2, patient=np.arange(8))


def array(folder: Path) -> None:
    np.save(folder / "a.npy", np.random.default_rng(0).integers(0, 256, (8, 1, 9, 9), dtype=np.uint8))


def sets() -> Iterator[Reader]:
    def arrays(at: Path) -> Facts:
        return facts(u.Arrays(at / "a.npz", label="label", group="patient").read())

    yield Reader("NPY", "a.npy", array, lambda at: facts(u.Arrays(at / "a.npy").read()), None, ("npy",))
    yield Reader("NPZ", "a.npz", archive, arrays, None, ("npz", "pixels", "label"), checksum="all")
    for packed in (False, True):
        file = f"train-images-idx3-ubyte{'.gz' if packed else ''}"
        yield Reader(
            f"MNIST{', gzip' * packed}",
            file,
            partial(mnist, packed=packed),
            lambda at: facts(u.MNIST(path=at).read()),
            None,
            ("idx",),
            "all" if packed else "nothing",
        )

    def set_of(at: Path) -> Facts:
        return facts(u.MedMNIST(name="breastmnist", path=at).read())

    kinds = ("npz", "train_images", "train_labels")
    yield Reader("MedMNIST", "breastmnist.npz", medmnist, set_of, None, kinds, checksum="all")
    nodules = ("npz", "volumes", "malignancy")
    yield Reader("LIDC", "lidc.npz", lidc, lambda at: facts(u.LIDC(path=at / "lidc.npz").read()), None, nodules, "all")


# Tables, and what this library writes itself.


def write_table(file: Path, rows: list[list[object]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows(rows)


def folder_table(folder: Path) -> None:
    (folder / "in").mkdir()
    for k in range(4):
        pillow(folder / "in" / f"{k}.png", picture(k))
    rows: list[list[object]] = [[f"{k}.png", k % 2, f"p{k}", "test"] for k in range(4)]
    write_table(folder / "in" / "table.csv", [["file", "label", "group", "split"], *rows])


def scan_table(folder: Path) -> None:
    (folder / "in").mkdir()
    for k in range(2):
        volume(k).save(folder / "in" / f"{k}.mha")
    write_table(folder / "in" / "table.csv", [["file", "label"], ["0.mha", 0], ["1.mha", 1]])


def nodule_table(folder: Path, label: bool) -> None:
    (folder / "in").mkdir()
    volume(0).save(folder / "in" / "1.2.3.mha")
    head = ["seriesuid", "coordX", "coordY", "coordZ", *["class"] * label]
    rows = [["1.2.3", -4.5 + k, 25.5, 35, *[k % 2] * label] for k in range(3)]
    write_table(folder / "in" / "table.csv", [head, *rows])


def tables() -> Iterator[Reader]:
    def volumes(at: Path) -> Facts:
        return facts(u.Volumes(at / "in", table=at / "in" / "table.csv", jobs=1).read())

    def nodules(at: Path) -> Facts:
        return facts(u.Nodules(path=at / "in", table=at / "in" / "table.csv", size=4, jobs=1).read())

    victim, instead = "in/table.csv", "columns, names, labels and numbers of every row"
    how: dict[str, Any] = {"rest": None, "instead": instead}
    read = lambda at: facts(u.Folder(at / "in", table=at / "in" / "table.csv").read())  # noqa: E731
    yield Reader("table of images", victim, folder_table, read, kinds=("csv", "files"), **how)
    yield Reader("table of volumes", victim, scan_table, volumes, kinds=("csv", "files"), **how)
    for name, label in (("annotations.csv", False), ("candidates.csv", True)):
        yield Reader(name, victim, partial(nodule_table, label=label), nodules, kinds=("csv", "places"), **how)


def model(folder: Path) -> None:
    X = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    u.PCAResidual(2).fit(X[:20]).calibrate(X[20:]).save(folder / "model")


def scored(folder: Path) -> Facts:
    return {"score": u.load(folder / "model").score_samples(np.linspace(0, 1, 15, dtype=np.float32).reshape(3, 5))}


def judged(folder: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5)).astype(np.float32)
    test = u.Images(rng.normal(size=(20, 5)), label=np.arange(20) % 2)
    split = u.Split(train=u.Images(X[:40]), calibration=u.Images(X[40:]), test=test)
    evaluate(u.PCAResidual(2).fit(X[:40]), split, draws=20).write(folder)


def evaluation_facts(folder: Path) -> Facts:
    record = Evaluation.load(folder)
    names = ("label", "score", "probability", "calibration", "p_value")
    figures = json.dumps([record.name, {key: str(one) for key, one in record.metrics.items()}])
    return {name: getattr(record, name) for name in names} | {"figures": np.array(figures)}


def own() -> Iterator[Reader]:
    for file, kind in (("detector.json", "json"), ("weights.safetensors", "safetensors")):
        yield Reader(f"model, {file}", f"model/{file}", model, scored, None, (kind, "model"), "all")
    yield Reader("evaluation.json", "evaluation.json", judged, evaluation_facts, None, ("json", "evaluation"))


def readers() -> list[Reader]:
    """Return every reader."""
    return [*images(), *scans(), *sets(), *tables(), *own()]


def quietly(reader: Reader, folder: Path) -> Facts:
    """Read, and let no warning by."""
    os.environ["UNLIKELIHOOD_CACHE"] = str(folder / ".cache")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return reader.read(folder)
