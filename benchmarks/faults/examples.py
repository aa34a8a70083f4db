"""Small whole examples of every format."""

import csv
import gzip
import io
import struct
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyarrow
import pyarrow.parquet
import pydicom
import zarr
from PIL import Image
from pydicom import uid
from pydicom.sequence import Sequence

import unlikelihood as u
from unlikelihood.data.medmnist_sets import SETS
from unlikelihood.evaluation.evaluation import evaluate

SIDE = 24
OWN, OTHERS = "own", "others"  # folders of what is damaged, and of what is whole
ENCODERS: Mapping[str, Callable[[np.ndarray], bytes]] = {
    "JPEG2000Lossless": lambda plane: imagecodecs.jpeg2k_encode(plane, level=0, reversible=True, codecformat="J2K"),
    "JPEGLSLossless": imagecodecs.jpegls_encode,
    "JPEGLosslessSV1": lambda plane: imagecodecs.ljpeg_encode(plane, bitspersample=16),
}


def picture(k: int) -> np.ndarray:
    """Return a smooth grey image with some noise, another for every k."""
    y, x = np.mgrid[:SIDE, :SIDE]
    noise = np.random.default_rng(k).integers(0, 9, (SIDE, SIDE))
    return (60 + 50 * np.sin(0.3 * x + k) + 40 * np.cos(0.2 * y) + noise).astype(np.uint8)


def volume(k: int = 0) -> Any:
    """Return a noisy scan."""
    hu = np.random.default_rng(k).integers(-1000, 1000, (6, 20, 24)).astype(np.int16)
    return u.Scan(hu, (-10, 20, 30), (0.7, 0.8, 2.5), patient="p", series=f"1.2.{k + 3}")


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


def packed(folder: Path, write: Callable[[Path, list[bytes]], object], suffix: str) -> None:
    """Write a file of one image that is damaged, and beside it a folder with one of two more."""
    for place, several in ((OTHERS, (1, 2)), (OWN, (0, 3))):
        (folder / place).mkdir()
        contents = []
        for k in several:
            pillow(folder / "one.png", picture(k))
            contents.append((folder / "one.png").read_bytes())
        write(folder / place / f"a{suffix}", contents)


def parquet(file: Path, contents: list[bytes]) -> None:
    table = pyarrow.table({"image": contents, "label": [0, 1]})
    pyarrow.parquet.write_table(table, file, write_page_checksum=True)


def parquet_of_numbers(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 1, 9, 9), dtype=np.uint8)
    table = pyarrow.table({"image": pixels.tolist(), "label": np.arange(8) % 2, "patient": np.arange(8)})
    pyarrow.parquet.write_table(table, folder / "a.parquet", row_group_size=3)


def zarr_store(folder: Path, name: str, form: int) -> None:
    """Write a store that is an array, whose chunks lie beside what describes it."""
    pixels = np.random.default_rng(0).integers(0, 99, (8, 1, 9, 9), dtype=np.int16)
    how: dict[str, Any] = {"chunks": (3, 1, 9, 9), "zarr_format": form}
    if form == 3:
        how["chunk_key_encoding"] = {"name": "v2", "separator": "."}
    if name.endswith(".zip"):
        with zarr.storage.ZipStore(folder / name, mode="w") as store:
            zarr.create_array(store, data=pixels, **how)
    else:
        zarr.create_array(folder / name, data=pixels, **how)


def tar(file: Path, contents: list[bytes]) -> None:
    with tarfile.open(file, "w:") as archive:
        for k, content in enumerate(contents):
            for name, own in ((f"{k}.png", content), (f"{k}.cls", str(k).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(own)
                archive.addfile(member, io.BytesIO(own))


def archive(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 1, 9, 9), dtype=np.uint8)
    np.savez(folder / "a.npz", pixels=pixels, label=np.arange(8) % 2, patient=np.arange(8))


def array(folder: Path) -> None:
    np.save(folder / "a.npy", np.random.default_rng(0).integers(0, 256, (8, 1, 9, 9), dtype=np.uint8))


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


def model(folder: Path) -> None:
    X = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    u.PCAResidual(2).fit(X[:20]).calibrate(X[20:]).save(folder / "model")


def judged(folder: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5)).astype(np.float32)
    test = u.Images(rng.normal(size=(20, 5)), label=np.arange(20) % 2)
    split = u.Split(train=u.Images(X[:40]), calibration=u.Images(X[40:]), test=test)
    evaluate(u.PCAResidual(2).fit(X[:40]), split, draws=20).write(folder)
