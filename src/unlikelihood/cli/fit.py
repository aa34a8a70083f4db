"""Fit a detector to normals."""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from unlikelihood.cli.arguments import add_data, add_out, add_parts, apart, choices
from unlikelihood.cli.results import DATA, done, fitted_on, refuse_existing, warning_in_one_line
from unlikelihood.cli.triage import origin_of
from unlikelihood.contract.detector import Detector
from unlikelihood.data.source import Source
from unlikelihood.data.splits import Split
from unlikelihood.evaluation.experiment import keep_checkpoints
from unlikelihood.nn.shares import rank, size
from unlikelihood.parameters import check_parameters
from unlikelihood.progress import stage
from unlikelihood.storage import discovery
from unlikelihood.storage.identity import unseen
from unlikelihood.storage.provenance import provenance
from unlikelihood.training.devices import device_for
from unlikelihood.training.logs import KINDS, logger_in, logging_to
from unlikelihood.training.ranks import together


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fit`."""
    add_data(parser)
    add_parts(parser)
    choices("detectors")
    discovery.subclasses(object, "nn")
    auto = discovery.public_class("Auto")()
    parser.add_argument("--detector", type=Detector, default=auto, help="what is fitted")
    add_out(parser, "folder of the fitted detector")
    started = "; those that torchrun or Slurm started unless given, else 1"
    parser.add_argument(
        "--devices", type=int | None, help=f"processes on a machine that share every batch, one a device{started}"
    )
    parser.add_argument("--nodes", type=int | None, help=f"machines{started}")
    parser.add_argument("--log", choices=list(KINDS), help="log the loss of every step, in a folder OUT.log beside OUT")


def run(
    data: Source,
    train: Path | None,
    calibration: Path | None,
    test: Path | None,
    detector: Detector,
    out: Path,
    overwrite: bool,
    devices: int | None = None,
    nodes: int | None = None,
    log: str | None = None,
) -> None:
    """Fit a detector to the training normals of a source and save it, with a record of where its samples went."""
    check_parameters(detector)
    if hasattr(detector, "device"):
        device_for(detector.device)
    if not overwrite and (date := fitted_on(out)):
        raise ValueError(f"out is {str(out)!r}, where the same command ended on {date}: --overwrite fits again")
    refuse_existing(overwrite, out=out)
    source = apart(data, train=train, calibration=calibration, test=test)
    together(partial(_fit, source, origin_of(data, train), detector, out, log), devices, nodes)


@warning_in_one_line()  # in a process of its own, too
def _fit(data: Source, origin: dict[str, str] | None, detector: Detector, out: Path, log: str | None = None) -> None:
    started = time.perf_counter()
    logger = logger_in(out.with_name(f"{out.name}.log"), log) if log and rank() == 0 else None
    with stage(1, 3):
        split = data.split()
    print(split.summary())
    if size() > 1:
        print(f"{size()} processes share every batch, of batch_size samples on all of them together")
    if not len(split.train):
        raise ValueError("train is empty: expected normals to fit the detector to")
    keep_checkpoints(detector, out)
    with stage(2, 3), logging_to(logger):
        detector.fit(split.train.pixels)
    if rank() > 0:
        return
    with stage(3, 3):
        held_out = unseen(detector, split.calibration.pixels)
        if len(held_out):
            detector.calibrate(held_out)
    if hasattr(detector, "reason_"):
        print(f"{type(detector).__name__} took the normals for {detector.reason_}")
    detector.save(out)
    (out / DATA).write_text(json.dumps(record_of(split, origin), indent=1), encoding="utf-8")
    done(
        "fit",
        detector=type(detector).__name__,
        fitted_to=getattr(detector, "n_samples_", len(split.train)),
        calibrated_on=len(getattr(detector, "calibration_", ())),
        seconds=time.perf_counter() - started,
        out=out,
    )


def record_of(data: Split, origin: dict[str, str] | None) -> dict[str, Any]:
    """Return what a fit notes of its data: how they are arranged, and where its normals lie if that is a path."""
    return {"layout": data.layout, "parts": dict(data.counts), "train": origin} | provenance()
