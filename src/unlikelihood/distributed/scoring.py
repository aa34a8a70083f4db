"""Scoring a shard: the one function that every process of every machine runs, and a lone one too."""

import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unlikelihood.contract.detector import Detector, load
from unlikelihood.contract.refusals import NoVerdict
from unlikelihood.data.images import Images
from unlikelihood.data.mapped import joined
from unlikelihood.data.rows import Rows
from unlikelihood.data.source import Source
from unlikelihood.distributed.shards import BLOCK, Shard
from unlikelihood.evaluation import columns
from unlikelihood.progress import silent
from unlikelihood.storage.identity import identities, seen_among
from unlikelihood.storage.reading import printable
from unlikelihood.storage.tables import Columns
from unlikelihood.training.alarms import NothingLearnt, NotTrustworthy

PULSE = 1.0  # seconds between two signs of life of a worker that scores
Made = TypeVar("Made")


@dataclass(frozen=True)
class Job:
    """What is scored with what: all that a worker is told.

    Parameters
    ----------
    model : Path
        Folder of a fitted detector.
    source : Source
        Reads the samples.
    alpha : float, optional
        Share of normals that may be called anomalous.
    evaluation : Path, optional
        Folder of an evaluation, from whose labels probabilities are learnt.
    prevalence : float, optional
        Share of anomalies where the model is used, for the probabilities.
    device : str
        Where the model computes.
    """

    model: Path
    source: Source
    alpha: float | None = None
    evaluation: Path | None = None
    prevalence: float | None = None
    device: str = "auto"


class Scored(NamedTuple):
    """What a worker hands in for a shard.

    Parameters
    ----------
    content : str
        Hash of the samples, their names and all else that goes into the table.
    table : dict of str to ndarray, optional
        Columns with a row for every sample, nan or None where nothing is known; no table if the content is that which
        was scored before.
    counts : dict of str to int
        How many samples were refused, called anomalous, and trained on.
    """

    content: str
    table: Columns | None = None
    counts: dict[str, int] = {}


class Scorer:
    """A fitted model and the samples that it scores, as one process holds them.

    Parameters
    ----------
    job : Job
        Which they are.
    """

    def __init__(self, job: Job) -> None:
        self.detector: Detector = load(job.model, device=job.device)
        self.decide = [columns.decider(self.detector, job.alpha)]
        if job.evaluation is not None:
            self.decide.append(columns.learnt_probability(self.detector, job.evaluation, job.prevalence))
        elif job.prevalence is not None:
            raise ValueError(
                f"prevalence is {job.prevalence:g}, expected with an evaluation to learn probabilities from"
            )
        self.source = job.source
        decided = {name: column for columns_of in self.decide for name, column in columns_of(np.zeros(1)).items()}
        self.kinds = {
            "name": str,
            "anomaly_score": float,
            **{name: float if column.dtype.kind == "f" else str for name, column in decided.items()},
            **dict.fromkeys(("label", "group", "reason"), str),
        }
        # Whole batches of the detector, so that a score depends on no shard, not even by its rounding.
        batch = getattr(self.detector, "batch_size", BLOCK)
        self.block = batch * max(1, BLOCK // batch)

    @cached_property
    def rows(self) -> Rows:
        """The samples."""
        return self.source.rows()

    def score(self, shard: Shard, known: str = "") -> Iterator[Scored | None]:
        """Score a shard, unless its content is `known` to have been scored; a None before that is a sign of life."""
        with silent(), on_one_thread(), warnings.catch_warnings():
            # The first is said once, by who starts the workers; the second is about too few samples to tell.
            warnings.simplefilter("ignore", NotTrustworthy)
            warnings.simplefilter("ignore", NothingLearnt)
            yield from score_shard(self, self.rows, shard, known)


def score_shard(scorer: Scorer, rows: Rows, shard: Shard, known: str = "") -> Iterator[Scored | None]:
    """Yield the scores of some rows, as `Scorer.score`, on as many threads as there are."""
    detector = scorer.detector
    read: list[Images] = []
    refused: dict[int, str] = {}
    for start, part in in_parts(lambda start, stop: fitting(detector, rows, start, stop), shard.start, shard.stop):
        if isinstance(part, str):
            refused[start - shard.start] = part
        else:
            read.append(part)
        yield None
    names = np.array([printable(name) for name in rows.names(shard.start, shard.stop)])
    legible = np.array([row for row in range(len(names)) if row not in refused], np.intp)
    images = together(read) if read else None
    own = identities(images.pixels) if images is not None else np.empty(0, np.uint64)
    content = content_of(names, own, images, refused)
    if content == known:
        yield Scored(content)
        return
    scores = np.full(len(names), np.nan)
    said = time.monotonic()
    for first in range(0, len(legible), scorer.block):
        last = min(first + scorer.block, len(legible))
        parts = in_parts(lambda start, stop: detector.score_samples(images.pixels[start:stop]), first, last)  # type: ignore[union-attr]
        for start, made in parts:
            if isinstance(made, str):
                refused[int(legible[start])] = made
            else:
                scores[legible[start : start + len(made)]] = made
        if time.monotonic() - said > PULSE:
            said = time.monotonic()
            yield None
    judged = np.isfinite(scores[legible])
    found: Columns = {}
    if images is not None and judged.any():
        found = columns.table_of(images if judged.all() else images[judged], scores[legible[judged]], *scorer.decide)
    table = {name: spread(len(names), legible[judged], found.get(name), kind) for name, kind in scorer.kinds.items()}
    table["name"] = names
    table["reason"] = spread(len(names), list(refused), np.array(list(refused.values()), object), str)
    counts = {
        "refused": len(refused),
        "anomalous": int((found["decision"] == "anomalous").sum()) if "decision" in found else 0,
        "seen": int(seen_among(detector, own).sum()),
    }
    yield Scored(content, table, counts)


def spread(n: int, rows: ArrayLike, column: NDArray[Any] | None, kind: type) -> NDArray[Any]:
    """Return a column of n rows that has the values of another one in some of them, else nan, or None for text."""
    whole: NDArray[Any] = np.full(n, np.nan) if kind is float else np.full(n, None, object)
    if column is not None and len(column):
        whole[np.asarray(rows)] = column if kind is float else column.astype(str)
    return whole


def in_parts(make: Callable[[int, int], Made], start: int, stop: int) -> Iterator[tuple[int, Made | str]]:
    """Yield what is made of rows, halved where it is refused, until those at fault are alone; of these the reason."""
    try:
        made = make(start, stop)
    except (ValueError, OSError) as error:
        if stop - start == 1:
            yield start, reason(error)
        else:
            middle = (start + stop) // 2
            yield from in_parts(make, start, middle)
            yield from in_parts(make, middle, stop)
    else:
        yield start, made


def reason(error: Exception) -> str:
    """Return why a sample is refused, in one line."""
    text = error.why.format("it") if isinstance(error, NoVerdict) else str(error)
    return " ".join(printable(text).split()) or type(error).__name__


def fitting(detector: Detector, rows: Rows, start: int, stop: int) -> Images:
    """Return samples if they have the shape that the detector was fitted on."""
    images = rows.read(start, stop)
    if images.shape != detector.shape_:
        raise ValueError(
            f"its shape is {images.shape}, but this {type(detector).__name__} was fitted on {detector.shape_}"
        )
    return images


def together(read: list[Images]) -> Images:
    """Return images one after the other."""
    if len(read) == 1:
        return read[0]
    # What a table has; the rest is not asked for.
    several = {name: [getattr(one, name) for one in read] for name in ("label", "group", "name")}
    known = {
        name: None if any(value is None for value in values) else np.concatenate(values)
        for name, values in several.items()
    }
    return Images(pixels=joined([one.pixels for one in read]), **known)  # type: ignore[arg-type]


def content_of(names: NDArray[np.str_], own: NDArray[np.uint64], images: Images | None, refused: dict[int, str]) -> str:
    """Return a hash of what is scored: of names, pixels, labels, groups, and of why samples cannot be read."""
    digest = blake2b(own.tobytes(), digest_size=16)
    known = [] if images is None else [column.tolist() for column in (images.label, images.group) if column is not None]
    digest.update(json.dumps([names.tolist(), known, sorted(refused.items())]).encode())
    return digest.hexdigest()


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Compute on one thread in the block: on more, sums are rounded in another order."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)
