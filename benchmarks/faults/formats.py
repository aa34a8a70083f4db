"""What may be done to the files of each format."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.faults import images, scans, sets
from benchmarks.faults.damage import Damage

KINDS: Mapping[str, Callable[[Path], Iterator[Damage]]] = {
    "nii": scans.nifti,
    "mha": scans.metaimage,
    "nrrd": scans.nrrd,
    "dcm": scans.dicom,
    "x-ray": lambda file: scans.dicom_tags(scans.X_RAY),
    "ct": lambda file: scans.dicom_tags(scans.CT),
    "npy": sets.npy,
    "idx": sets.idx_files,
    "breastmnist": lambda file: sets.archives("train_images", "train_labels"),
    "lidc": lambda file: sets.archives("volumes", "malignancy"),
    "npz": lambda file: sets.archives("pixels", "label"),
    "files": lambda file: sets.tables(file, of_files=True),
    "places": lambda file: sets.tables(file, of_files=False),
    "model": lambda file: sets.records("format", "detector", "weights", "checksum"),
    "evaluation": lambda file: sets.records("label", "score", "metrics", "calibration", "name"),
    "safetensors": sets.tensors,
    "png": images.png,
    "tar": sets.tar,
    "tif": images.tiff,
    "array": images.values,
    "bmp": images.bitmap,
    "gif": images.gif,
    "webp": images.webp,
    "jpg": lambda file: images.sizes_after(b"\xff\xc0", 5, ">H", (0, 1, 25, 65535)),
    "jp2": lambda file: images.sizes_after(b"\xff\x51", 6, ">I", (0, 1, 25, 2**32 - 1)),
}


def special(kinds: tuple[str, ...], file: Path) -> list[Damage]:
    """Return what may be done to a file of some kinds."""
    return [damage for kind in kinds for damage in KINDS[kind](file)]
