"""Write a fitted detector for other programs."""

import time
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser

from unlikelihood.cli.arguments import add_alpha, add_model, add_out
from unlikelihood.cli.results import done, refuse_existing
from unlikelihood.contract.detector import load
from unlikelihood.storage.provenance import display_name


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `export`."""
    add_model(parser)
    parser.add_argument("--to", type=Literal["onnx", "pt2"] | None, help="format: ONNX, or torch.export's .pt2")
    add_out(parser, "file to write: .onnx or .pt2; MODEL.onnx unless given", default=None)
    parser.add_argument("--dtype", type=str, default="float32", help="NumPy's type of the raw samples, such as uint8")
    add_alpha(parser)


def run(model: Path, to: str | None, out: Path | None, overwrite: bool, dtype: str, alpha: float | None) -> None:
    """Write a fitted detector, from the raw sample to the decision, as one file for programs without this package."""
    target = out or model.with_name(f"{model.resolve().name}.{to or 'onnx'}")
    if to and target.suffix != f".{to}":
        raise ValueError(f"out is {str(target)!r}, expected a name that ends in .{to}")
    refuse_existing(overwrite, out=target)
    started = time.perf_counter()
    detector = load(model, device="cpu")
    found = detector.export(target, dtype, alpha)
    low, high = detector.range_
    print(
        f"compared on {found.samples} random samples from {low:g} to {high:g}: scores differ by at most "
        f"{found.largest:.1g} of their spread, and {found.decisions} decisions differ"
    )
    done(
        "export",
        detector=display_name(detector),
        calibrated_on=len(getattr(detector, "calibration_", ())),
        seconds=time.perf_counter() - started,
        out=target,
    )
