"""Score what arrives."""

import sys
from dataclasses import fields
from pathlib import Path

from jsonargparse import ArgumentParser

from unlikelihood.cli.arguments import add_alpha, add_device, add_model
from unlikelihood.cli.results import done
from unlikelihood.data.folder import Folder
from unlikelihood.distributed import stream


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `watch`."""
    add_model(parser)
    parser.add_argument("folder", type=str, help="folder in which images arrive")
    reading = ["window", "spacing", "size", "sizing", "channels", "background"]
    others = {one.name for one in fields(Folder)} - {"path", *reading}
    parser.add_class_arguments(Folder, "data", skip=others)
    parser.link_arguments("folder", "data.path")
    parser.add_argument("--out", type=Path, required=True, help="table that rows are added to: .csv")
    add_alpha(parser)
    parser.add_argument("--once", action="store_true", help="end when all that is there is scored")
    add_device(parser)


def run(model: Path, folder: str, data: Folder, out: Path, alpha: float | None, once: bool, device: str) -> None:
    """Score what arrives in a folder, until it is interrupted."""
    if out.suffix != ".csv":
        raise ValueError(f"out is {str(out)!r}, expected a name that ends in .csv: rows are added to it")
    rows = refused = drifted = 0

    def say() -> None:
        done("watch", rows=rows, refused=refused, drift="yes" if drifted else "no", out=out)

    try:
        for row in stream.watch(model, data, out, alpha=alpha, device=device, once=once):
            rows, refused = rows + 1, refused + ("reason" in row)
            if row.get("evidence", 0) >= stream.DRIFT and not drifted:
                drifted = rows
                print(
                    f"drift at {row['name']}: scores are no longer those of the calibration normals, so do not trust "
                    "p-values before it is known why",
                    file=sys.stderr,
                )
    except (KeyboardInterrupt, SystemExit):  # which are how it ends
        say()
        raise
    say()
