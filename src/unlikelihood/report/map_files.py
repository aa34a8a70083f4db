"""Maps as files: of images as TIFF and a picture, of volumes as NIfTI that lies where the volume does."""

import json
import os
import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unlikelihood.contract.maps import MapKind
from unlikelihood.data.ct.formats import FORMATS, sitk
from unlikelihood.data.ct.scan import Scan
from unlikelihood.data.image_files import READERS
from unlikelihood.data.images import AXIS_OF, Images
from unlikelihood.report.maps import common_scale
from unlikelihood.storage.files import filling

INDEX = "maps.json"
SUFFIXES = tuple(sorted((*READERS, *FORMATS), key=len, reverse=True))  # .nii.gz before .gz
WORLD = "SPL"  # the orientation that is taken where none is known


def write_maps(folder: str | os.PathLike[str], images: Images, maps: NDArray[Any], kind: MapKind) -> Path:
    r"""Write the map of each sample, named after it, and ``maps.json``, which says what the values are.

    Of an image there are ``name.tif`` with the values and ``name.png``, the image with the map over it; of a volume
    there is ``name.nii.gz``, in the patient's coordinates where these are known. All files are made in a temporary
    folder first: if that fails, nothing is changed. Files of other names in the folder stay.

    Parameters
    ----------
    folder : path
        Made if need be.
    images : Images
        The samples.
    maps : ndarray of float32, shape (n, \*space)
        Higher = more anomalous.
    kind : MapKind
        What they are.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError, MissingPackage
        As `check_mappable` does.
    """
    check_mappable(images)
    stems = stems_of(images)
    scale = common_scale(maps)
    # Drawing needs matplotlib, which a command without maps does not wait for.
    from matplotlib.image import imsave

    from unlikelihood.report import plots

    limits = plots.limits_of(images.pixels)
    with filling(folder, last=INDEX) as draft:
        for row, stem in enumerate(stems):
            place = draft / stem
            place.parent.mkdir(parents=True, exist_ok=True)
            if maps.ndim == 3:
                tifffile.imwrite(f"{place}.tif", np.asarray(maps[row], np.float32))
                imsave(f"{place}.png", plots.laid_over(images.pixels[row], maps[row], limits, scale))
            else:
                scan_of(images, row, maps[row]).save(f"{place}.nii.gz")
        known: dict[str, Any] = {
            "map": kind.words,
            "unit": kind.unit,
            "higher": "more anomalous",
            "brightest colour": scale,
            "in patient coordinates": images.centre is not None,
            "files": [f"{stem}{'.tif' if maps.ndim == 3 else '.nii.gz'}" for stem in stems],
        }
        (draft / INDEX).write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Path(folder).absolute()


def check_mappable(images: Images) -> None:
    """Raise if no maps of these samples can be written, which is worth knowing before they are computed.

    Raises
    ------
    ValueError
        If the samples are vectors, or two would have one file.
    MissingPackage
        If they are volumes, and the package that writes these is not installed.
    """
    if len(images.shape) < 3:
        raise ValueError(f"maps are written of images and volumes, and these are vectors of shape {images.shape}")
    stems_of(images)
    if len(images.shape) > 3:
        sitk()


def stems_of(images: Images) -> list[str]:
    """Return where the map of each sample goes, without a suffix: its name, or its number."""
    names = map(str, range(len(images))) if images.name is None else images.name.tolist()
    stems = []
    for name in names:
        path = name.replace("\\", "/")
        suffix = next((each for each in SUFFIXES if path.lower().endswith(each)), "")
        parts = PurePosixPath(path[: len(path) - len(suffix)]).parts
        safe = [re.sub(r"[\x00-\x1f<>:\"|?*]", "_", part) for part in parts if part not in ("..", "/")]
        stems.append("/".join(safe) or "_")
    if twice := [stem for stem, count in Counter(stem.casefold() for stem in stems).items() if count > 1]:
        raise ValueError(f"two samples would have the map {twice[0]}: expected names that differ without their suffix")
    return stems


def scan_of(images: Images, row: int, values: NDArray[Any]) -> Scan:
    """Return the map of a volume (D, H, W) as a scan that lies where the volume does, as far as that is known."""
    steps = np.array(images.spacing or (1.0, 1.0, 1.0))[::-1]
    direction = np.zeros((3, 3))
    for column, letter in enumerate(reversed(images.orientation or WORLD)):
        direction[AXIS_OF[letter], column] = 1 if letter in WORLD else -1
    origin = np.zeros(3)
    if images.centre is not None:
        middle = (np.array(values.shape)[::-1] - 1) / 2
        origin = images.centre[row] - direction @ (middle * steps)
    return Scan(values, origin, steps, direction)
