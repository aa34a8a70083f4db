"""A detector as one file that other programs run: all from the raw sample to the decision, as a graph of operations."""

import copy
import importlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from typing_extensions import override

from unlikelihood.contract.detector import Detector, learners
from unlikelihood.contract.refusals import NotExportable, judged
from unlikelihood.parameters import check_parameters
from unlikelihood.storage.extras import needing
from unlikelihood.storage.files import replacing
from unlikelihood.storage.models import POLARITY
from unlikelihood.storage.provenance import display_name

INPUT, OUTPUTS = "samples", ("score", "p_value", "decision")
COMPARED = 64  # random samples that a file is compared with its detector on
# A difference is of rounding up to a share of the largest score, as float32 sums have it, or of the scores' spread.
ROUNDING, OF_SPREAD = 1e-5, 1e-4
DTYPES = (
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64"),
)
LARGEST = 2**31 - 2**20  # bytes of constants in an ONNX file

Run = Callable[[NDArray[Any]], tuple[NDArray[Any], ...]]
"""From samples to score, p-value and decision, each (n,), or the score alone."""


@dataclass(frozen=True)
class Parity:
    """How far the answers of a file are from those of the detector that was exported to it.

    Parameters
    ----------
    samples : int
        Random samples in the range of the normals that were compared.
    largest : float
        The largest difference of two scores, relative to the spread of the detector's.
    decisions : int
        How many decisions differ.
    """

    samples: int
    largest: float
    decisions: int


class Graph(nn.Module):
    r"""From raw samples (B, \*shape) to scores and, of a calibrated detector, p-values and decisions: all (B,).

    A score is nan where nothing can be said about a sample; its p-value is 0 and its decision anomalous.
    """

    scores: Tensor
    p_values: Tensor

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        self.nets = nn.ModuleList(learner.net_ for learner in learners(detector)).eval().requires_grad_(False)
        self.calibrated = hasattr(detector, "calibration_")
        if self.calibrated:
            scores, p_values = detector.p_value_steps()
            self.register_buffer("scores", torch.from_numpy(scores))
            self.register_buffer("p_values", torch.from_numpy(p_values))
            self.offset = float(detector.offset_)

    @override
    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        score = self.detector.score_tensor(samples)
        if not self.calibrated:
            return (score,)
        p_value = self.p_values[(self.scores <= score[:, None]).sum(1)]
        p_value = p_value.where(score.isfinite(), 0.0)
        decision = torch.ones_like(score, dtype=torch.int64).where(score >= self.offset, -1)  # nan is not
        return score, p_value, decision


def export(detector: Detector, path: str | os.PathLike[str], dtype: str, alpha: float | None) -> Parity:
    """Write a fitted detector to a file, as `Detector.export` says."""
    target = Path(path)
    if target.suffix not in FORMATS:
        raise ValueError(f"{str(path)!r} is no file to export to: expected a name that ends in {' or '.join(FORMATS)}")
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}, expected one of {', '.join(DTYPES)}")
    needed, write, open_ = FORMATS[target.suffix]
    for package in needed:
        with needing("export", f"writing {target.suffix}"), silent():
            importlib.import_module(package)
    if alpha is not None and not hasattr(detector, "calibration_"):
        raise ValueError(f"alpha is {alpha:g}, but the detector holds no calibration scores to decide by: calibrate it")
    detector = on_its_own(detector)
    detector.alpha = detector.alpha if alpha is None else alpha
    check_parameters(detector)
    with torch.no_grad(), silent():
        samples = torch.zeros(3, *detector.shape_, dtype=getattr(torch, dtype))
        program = traced(Graph(detector), samples)
        with replacing(target) as file:
            write(program, file, described(detector, dtype))
            return compared(detector, open_(file), dtype, target)


def on_its_own(detector: Detector) -> Detector:
    """Return a copy on the CPU, whose noise is drawn but once, so that a graph of it holds the noise as a constant."""
    detector = copy.deepcopy(detector)
    for learner in learners(detector):
        learner.net_.cpu()
        if hasattr(learner, "noise"):
            learner.noise = cache(learner.noise)
    return detector


def traced(graph: nn.Module, samples: Tensor) -> ExportedProgram:
    """Return the operations that a graph takes of some samples, for any number of them."""
    graph(samples)  # draws the noise
    program = torch.export.export(graph, (samples,), dynamic_shapes=({0: Dim("batch", min=1)},))
    return program.run_decompositions({**torch.export.default_decompositions(), **IN_FLOAT64})


def described(detector: Detector, dtype: str) -> dict[str, str]:
    """Return what a file says of itself."""
    facts: dict[str, Any] = {
        "detector": display_name(detector),
        **{package: version(package) for package in ("unlikelihood", "torch")},
        "input": f"{INPUT}: {dtype} (batch, {', '.join(map(str, detector.shape_))})",
        "shape": json.dumps(detector.shape_),
        "dtype": dtype,
        "range": json.dumps(detector.range_),
        "score": POLARITY,
        "alarms": "; ".join(detector.alarms()) or "none",
    }
    if hasattr(detector, "calibration_"):
        facts |= {
            "calibration": len(detector.calibration_),
            "alpha": detector.level,
            "offset": repr(float(detector.offset_)),
            "decision": "1 normal, -1 anomalous: score below offset, or nan",
        }
    return {name: str(fact) for name, fact in facts.items()} | {"use": "research only, not a medical device"}


def write_onnx(program: ExportedProgram, file: Path, metadata: Mapping[str, str]) -> None:
    """Write an ONNX file, with everything in it."""
    names = list(OUTPUTS[: len(program.graph_signature.user_outputs)])
    held = sum(tensor.nbytes for tensor in [*program.state_dict.values(), *program.constants.values()])
    if held > LARGEST:
        raise NotExportable(f"the detector holds {held:,} bytes, more than the {LARGEST:,} that an ONNX file can")
    made: Any = torch.onnx.export(
        program, (), input_names=[INPUT], output_names=names, dynamo=True, external_data=False, verbose=False
    )
    made.model.metadata_props.update(metadata)
    made.save(file, external_data=False)


def open_onnx(file: Path) -> Run:
    """Return what runs an ONNX file in ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda X: tuple(session.run(None, {INPUT: X}))


def write_program(program: ExportedProgram, file: Path, metadata: Mapping[str, str]) -> None:
    """Write a file for `torch.export.load`."""
    torch.export.save(program, file, extra_files={"metadata.json": json.dumps(metadata, indent=1)})


def open_program(file: Path) -> Run:
    """Return what runs a file of `torch.export.save`."""
    module = torch.export.load(file).module()
    return lambda X: tuple(answer.numpy() for answer in module(torch.from_numpy(X)))


# By the ending of a file: the packages it takes, what writes it and what runs it.
FORMATS = {
    ".onnx": (("onnx", "onnxscript", "onnxruntime"), write_onnx, open_onnx),
    ".pt2": ((), write_program, open_program),
}


def compared(detector: Detector, run: Run, dtype: str, target: Path) -> Parity:
    """Return how far the answers of a file are from a detector's, or raise if it is by more than rounding."""
    X = random_samples(detector, dtype)
    expected, _ = judged(detector.score_samples, X)
    score, *decided = (np.concatenate(parts) for parts in zip(*map(run, (X[:1], X[1:])), strict=True))
    known = expected[np.isfinite(expected)]
    spread = float(np.ptp(np.r_[known, getattr(detector, "calibration_", known)])) if len(known) else 0.0
    away = np.abs(score - expected)
    apart = away > ROUNDING * np.abs(known).max(initial=0) + OF_SPREAD * spread
    if (apart | (np.isnan(score) != np.isnan(expected))).any():
        row = int(np.argmax(np.where(np.isnan(score) != np.isnan(expected), np.inf, np.nan_to_num(away))))
        raise NotExportable(
            f"{target} was not written: it gives a random sample the score {score[row]:g}, more than rounding away "
            f"from {expected[row]:g}, which this {type(detector).__name__} gives it"
        )
    differ = int(np.sum((decided[1] > 0) != (expected >= detector.offset_))) if decided else 0
    return Parity(len(X), float(np.nanmax(away, initial=0)) / (spread or 1.0), differ)


def random_samples(detector: Detector, dtype: str) -> NDArray[Any]:
    r"""Return samples (n, \*shape) of a type, noise of all strengths in the range of the normals, and a nan."""
    rng, (low, high) = np.random.default_rng(0), detector.range_
    strength = rng.random((COMPARED, *[1] * len(detector.shape_)))
    X = low + (high - low) * strength * rng.random((COMPARED, *detector.shape_))
    if dtype.startswith("float"):
        X[-1] = np.nan
        return X.astype(dtype)
    ends = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.rint(X).clip(*ends).astype(dtype)


def leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    """Return what torch's operation of this name does."""
    return torch.where(x > 0, x, slope * x)


def group_norm(
    x: Tensor, weight: Tensor, bias: Tensor, n: int, channels: int, positions: int, groups: int, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what torch's operation of this name does."""
    grouped = x.reshape(n, groups, -1)
    variance, mean = torch.var_mean(grouped, -1, correction=0, keepdim=True)
    scale = (variance + epsilon).rsqrt()
    shape = (1, channels, *[1] * (x.ndim - 2))
    made = ((grouped - mean) * scale).reshape(x.shape) * weight.view(shape) + bias.view(shape)
    return made, mean[..., 0], scale[..., 0]


# What ONNX Runtime has in float32 alone, in operations that it has in float64 too.
IN_FLOAT64 = {torch.ops.aten.leaky_relu.default: leaky_relu, torch.ops.aten.native_group_norm.default: group_norm}


@contextmanager
def silent() -> Iterator[None]:
    """Keep torch from telling how it is getting on."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
