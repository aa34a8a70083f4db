"""Arguments that several commands take."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from unlikelihood.contract.detector import Detector
from unlikelihood.data.parts import Parts
from unlikelihood.data.source import RandomSplitSource, Source
from unlikelihood.storage import discovery


def choices(package: str) -> list[str]:
    """Return what ``--data`` or ``--detector`` can name; importing them is what makes their short names known."""
    return list(discovery.subclasses({"data": Source, "detectors": Detector}[package], package))


def add_model(parser: ArgumentParser) -> None:
    """Add the fitted detector."""
    parser.add_argument("model", type=Path, help="folder of a fitted detector")


def add_data(parser: ArgumentParser) -> None:
    """Add the source of the samples."""
    choices("data")
    parser.add_argument("--data", type=Source, required=True, help="where the samples come from")


def add_parts(parser: ArgumentParser) -> None:
    """Add the parts of the data that lie in places of their own."""
    for part, what in (
        ("train", "normals to fit to"),
        ("calibration", "further normals, for p-values and decisions"),
        ("test", "labelled normals and anomalies"),
    ):
        parser.add_argument(
            f"--{part}", type=Path | None, help=f"{what}, in a folder of their own; --data is Folder unless given"
        )


def add_out(parser: ArgumentParser, what: str, **given: Any) -> None:
    """Add where a command writes, and whether it may replace what is there."""
    parser.add_argument("--out", type=Path, help=what, **(given or {"required": True}))
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def add_alpha(parser: ArgumentParser, default: float | None = None) -> None:
    """Add the rate of false alarms at which samples are decided about."""
    what = "share of normals that may be called anomalous"
    parser.add_argument("--alpha", type=float | None, default=default, help=what)


def add_device(parser: ArgumentParser) -> None:
    """Add where the detector computes."""
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1 or mps")


def takes_path(source: str) -> bool:
    """Return whether a source is told a path, and so can be told several."""
    choices("data")
    return any(one.name == "path" for one in fields(discovery.public_class(source)))


def apart(data: Source, **places: Path | None) -> Source:
    """Return a source of the parts that lie in places of their own, each read as `data` says; or `data`, of none."""
    source: Any = data
    given: dict[str, Any] = {part: replace(source, path=place) for part, place in places.items() if place is not None}
    if not given:
        return data
    shared = {one.name: getattr(data, one.name) for one in fields(RandomSplitSource) if hasattr(data, one.name)}
    return Parts(**given, **shared)
