"""The even grid that the slices of a DICOM series make up."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unlikelihood.data.ct.decode import hounsfield_of
from unlikelihood.data.ct.dicom import Slice
from unlikelihood.data.ct.formats import UnreadableScan
from unlikelihood.data.ct.hounsfield import AIR

GAP_TOLERANCE = 0.05  # of the distance between slices, by which a distance may differ from the usual one
ONE = {"patient": "patients", "study": "studies", "frame_of_reference": "frames of reference"}  # that a scan is of
SHIFT_TOLERANCE = 0.5  # of a pixel, by which a slice may lie beside the first


def stacked(slices: list[Slice], resample: bool) -> dict[str, Any]:
    """Return the fields of the scan that slices make up."""
    where = f"{slices[0].file.parent}, series {slices[0].series}"
    for what, named in ONE.items():
        if len(known := sorted({getattr(one, what) for one in slices})) > 1:
            raise UnreadableScan(f"{where}: its slices are of {len(known)} {named}, {', '.join(map(repr, known[:3]))}")
    for what in ("shape", "stored", "spacing", "axes"):
        values = np.array([getattr(one, what) for one in slices])
        if np.ptp(values, axis=0).max() > 1e-3:
            other = slices[int(np.abs(values - values[0]).max(axis=1).argmax())]
            raise UnreadableScan(f"{where}: {what} of {other.file.name} differs from that of {slices[0].file.name}")
    if len(slices) < 2:
        raise UnreadableScan(f"{where}: holds one slice, expected at least two")
    x, y = np.array(slices[0].axes).reshape(2, 3)
    normal = np.cross(x, y)
    depth = np.array([normal @ one.position for one in slices])
    order = np.argsort(depth, kind="stable")
    slices, depth = [slices[i] for i in order], depth[order]
    gaps = np.diff(depth)
    usual = float(np.median(gaps[gaps > 1e-3])) if (gaps > 1e-3).any() else 0.0
    if not usual:
        raise UnreadableScan(f"{where}: all {len(slices)} slices lie in one plane")
    copies = np.flatnonzero(gaps < GAP_TOLERANCE * usual)
    if len(copies):
        slices, depth = _without_copies(where, slices, depth, copies, resample)
        gaps = np.diff(depth)
    position = np.array([one.position for one in slices])
    aside = (position - position[0]) @ np.stack([x, y], axis=1)  # mm along x and y
    uneven = np.flatnonzero(np.abs(gaps - usual) > GAP_TOLERANCE * usual)
    tilted = bool((np.abs(aside) > SHIFT_TOLERANCE * np.array(slices[0].spacing)).any())
    if not resample:
        _refuse(where, slices, depth, aside, usual, uneven, tilted)
    hu = hounsfield_of(slices)
    step = usual if len(uneven) else (depth[-1] - depth[0]) / (len(depth) - 1)
    origin = position[0]
    if resample and (tilted or len(uneven)):
        shift = aside if tilted else np.zeros_like(aside)
        hu = _on_even_grid(hu, depth - depth[0], shift / slices[0].spacing, step)
        origin = origin + np.floor(shift.min(axis=0) / slices[0].spacing) * slices[0].spacing @ np.stack([x, y])
    return {
        "hu": hu,
        "origin": origin,
        "spacing": (*slices[0].spacing, step),
        "direction": np.stack([x, y, normal], axis=1),
        "series": slices[0].series,
        "patient": slices[0].patient,
    }


def _without_copies(
    where: str, slices: list[Slice], depth: NDArray[Any], copies: NDArray[np.intp], resample: bool
) -> tuple[list[Slice], NDArray[Any]]:
    one, two = slices[copies[0]], slices[copies[0] + 1]
    names = [part.file.name if one.file.name != two.file.name else str(part.file) for part in (one, two)]
    message = f"{where}: duplicate slices, {' and '.join(names)} lie both at {depth[copies[0]]:g} mm"
    if not resample:
        raise UnreadableScan(f"{message} ({len(copies)} in all)")
    for k in copies:
        one, two = slices[k], slices[k + 1]
        if not np.array_equal(hounsfield_of([one]), hounsfield_of([two])):
            raise UnreadableScan(f"{message}, and differ: which is right is not known")
    kept = np.setdiff1d(np.arange(len(slices)), copies + 1)
    return [slices[k] for k in kept], depth[kept]


def _refuse(
    where: str,
    slices: list[Slice],
    depth: NDArray[Any],
    aside: NDArray[Any],
    usual: float,
    uneven: NDArray[np.intp],
    tilted: bool,
) -> None:
    """Raise if the slices do not make up an even, upright grid."""
    hint = "resample=True puts them on an even grid"
    if tilted:
        most = int(np.abs(aside).max(axis=1).argmax())
        angle = math.degrees(math.atan2(float(np.linalg.norm(aside[-1])), depth[-1] - depth[0]))
        raise UnreadableScan(
            f"{where}: slices are displaced sideways, {slices[most].file.name} by "
            f"{np.abs(aside[most]).max():.3g} mm (a gantry tilt of {angle:.1f}°); {hint}"
        )
    if len(uneven):
        k = int(uneven[0])
        gap = float(depth[k + 1] - depth[k])
        times = gap / usual
        whole = times > 1.5 and abs(times - round(times)) < GAP_TOLERANCE * round(times)
        kind = f"{round(times) - 1} slice(s) missing" if whole else "uneven spacing of slices"
        raise UnreadableScan(
            f"{where}: {kind}, {gap:g} mm between {slices[k].file.name} and {slices[k + 1].file.name} where "
            f"{usual:g} mm is usual ({len(uneven)} such in all); {hint}"
        )


def _on_even_grid(hu: NDArray[Any], depth: NDArray[Any], shift: NDArray[Any], step: float) -> NDArray[np.float32]:
    """Interpolate slices at uneven depths (mm), displaced by `shift` pixels (x, y), on an even, upright grid."""
    first = np.floor(shift.min(axis=0)).astype(int)
    width, height = np.ceil(shift.max(axis=0)).astype(int) - first
    upright = np.full((len(hu), hu.shape[1] + height, hu.shape[2] + width), AIR, np.float32)
    for plane, own, (dx, dy) in zip(upright, hu, shift - first, strict=True):
        plane[: hu.shape[1], : hu.shape[2]] = own
        if dx or dy:
            plane[:] = ndimage.shift(plane, (dy, dx), order=1, cval=AIR, mode="constant")
    at = np.arange(0, depth[-1] + 1e-3 * step, step)
    below = np.clip(np.searchsorted(depth, at, side="right") - 1, 0, len(depth) - 2)
    # Rounded, so that a slice that lies on the new grid but for the digits of its position stays as it is.
    share = np.round((at - depth[below]) / (depth[below + 1] - depth[below]), 4).clip(0, 1).astype(np.float32)
    share = share[:, None, None]
    return (1 - share) * upright[below] + share * upright[below + 1]
