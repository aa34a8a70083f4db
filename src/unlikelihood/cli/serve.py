"""Answer for a fitted detector over HTTP."""

import gc
import ipaddress
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser
from numpy.typing import NDArray

from unlikelihood.cli.arguments import add_alpha, add_device, add_model, choices
from unlikelihood.cli.results import attainable, done
from unlikelihood.cli.triage import given_normals
from unlikelihood.contract.detector import load
from unlikelihood.data.ct.volumes import Volumes
from unlikelihood.data.folder import Folder
from unlikelihood.data.source import Source
from unlikelihood.distributed.shards import BLOCK
from unlikelihood.parameters import check_parameters
from unlikelihood.serve.limits import Limits
from unlikelihood.storage.extras import needing

READS = {3: Folder, 4: Volumes}  # by the axes of a sample, what reads it unless something else is named


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `serve`."""
    add_model(parser)
    choices("data")
    parser.add_argument(
        "--data",
        type=Source | None,
        help="how uploads are read: Folder (images), Volumes or Candidates (CT), with the settings that the model's "
        "normals were read with; Folder or Volumes unless given",
    )
    parser.link_arguments("model", "data.init_args.path", compute_fn=str)  # which no upload is read from
    parser.add_argument(
        "--normals",
        type=Path | None,
        help="folder of normals, by which maps are drawn on one scale, and of which the nearest stand beside each case",
    )
    parser.add_argument("--host", type=str, default="127.0.0.1", help="address to hear on; any but loopback needs keys")
    parser.add_argument("--port", type=int, default=8000, help="port to hear on; 0 takes one that is free")
    parser.add_argument("--key-file", type=Path | None, help="file of API keys, one a line; a request must have one")
    parser.add_argument("--limits", type=Limits, default=Limits(), help="what a request may take")
    parser.add_argument(
        "--together",
        type=int,
        default=BLOCK,
        help="samples of waiting requests that are scored in one call, at most; 1 scores each request by itself, to "
        "the bit as score does whatever else is asked",
    )
    add_alpha(parser, default=0.05)
    add_device(parser)


def run(
    model: Path,
    data: Source | None,
    normals: Path | None,
    host: str,
    port: int,
    key_file: Path | None,
    limits: Limits,
    together: int,
    alpha: float | None,
    device: str,
) -> None:
    """Answer requests until SIGTERM."""
    with needing("serve", "serving"):
        import python_multipart  # noqa: F401 - which is needed no sooner than by the first upload

        from unlikelihood.serve.app import service
        from unlikelihood.serve.door import read_keys
        from unlikelihood.serve.server import listening, serve
    if together < 1:
        raise ValueError(f"together is {together}, expected at least 1")
    check_parameters(limits)
    keys = [] if key_file is None else read_keys(key_file)
    if not keys and not _is_loopback(host):
        raise ValueError(f"host is {host!r}, which others can reach: expected with key-file, or 127.0.0.1")
    detector = load(model, device=device)
    source = data
    if source is None and (reads := READS.get(len(detector.shape_))):
        source = reads(path=model)
    app = service(
        detector,
        source,
        alpha=attainable(alpha, len(getattr(detector, "calibration_", ()))),
        limits=limits,
        keys=keys,
        host=host,
        normals=None if normals is None else _normals(source, normals),
        together=together,
    )
    for alarm in detector.alarms():
        warnings.warn(f"{type(detector).__name__}: {alarm}", stacklevel=2)
    warnings.simplefilter("ignore")  # of samples and files: what matters of them is in their rows
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("unlikelihood.serve").setLevel(logging.INFO)
    gc.freeze()  # what is there by now stays, and need not be looked through again and again
    bound = listening(host, port)
    shown = f"[{host}]" if ":" in host else host
    serve(app, bound, limits.seconds, lambda: print(f"http://{shown}:{bound.getsockname()[1]}/", flush=True))
    done("serve", **app.state.scoring.figures.outcomes())


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _normals(source: Source | None, path: Path) -> NDArray[Any]:
    """Return the pixels of normals that are read as uploads are."""
    if source is None:
        raise ValueError(f"normals is {str(path)!r}, expected of a model of images or volumes")
    return np.asarray(given_normals(source, path).pixels)
