"""Scoring an archive: shard by shard into a folder of Parquet parts, that goes on where it was."""

import json
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from unlikelihood.distributed.pool import PATIENCE, Alone, Processes, Task, scored
from unlikelihood.distributed.scoring import Job, Scorer
from unlikelihood.distributed.shards import Shard, manifest_of, part_of, parts_in, rows_in_shard, shards, write_part
from unlikelihood.progress import progress
from unlikelihood.storage.extras import needing
from unlikelihood.storage.files import replacing
from unlikelihood.storage.locks import alone
from unlikelihood.storage.records import canonical, read_sealed, seal, sha256
from unlikelihood.training.alarms import NotTrustworthy

PLAN = "_archive.json"  # readers of Parquet folders pass over what begins with an underscore
FORMAT = 1  # of parts: those of another one are not mixed with these


def score_archive(
    job: Job,
    out: Path,
    *,
    workers: int = 1,
    ray: str | None = None,
    overwrite: bool = False,
    rows: int | None = None,
    patience: float = PATIENCE,
) -> dict[str, int]:
    """Score all samples of a source into a folder of Parquet parts.

    A part holds the scores of a shard, a range of the samples, and a manifest with a hash of their content. When the
    same call is made again, shards that have a part are read and compared with it, and not scored again.

    Parameters
    ----------
    job : Job
        What is scored with what.
    out : Path
        The folder.
    workers : int
        Processes, each with the model and a thread of its own; 1 is this one. On Ray, 0 takes all that there is.
    ray : str, optional
        Address of a Ray cluster, on whose nodes the model and the data have the same paths.
    overwrite : bool
        Replace scores of something else that are there.
    rows : int, optional
        Samples of a shard; as many as fit into 64 MiB, and at most 4096, unless given.
    patience : float
        Seconds without a sign of life after which a worker is given up.

    Returns
    -------
    dict of str to int
        How many samples there are, were scored now, and of all of them were refused, called anomalous, and trained on.

    Raises
    ------
    ValueError
        If the folder holds something else, or a parameter is out of its bounds.
    WorkersFailed
        If no worker starts, or some shards end one after the other.
    """
    for name, value in (("workers", workers), ("rows", 1 if rows is None else rows), ("patience", patience)):
        if not value > 0 and not (name == "workers" and value == 0 and ray):
            raise ValueError(f"{name} is {value:g}, expected at least 1")
    with needing("ray" if ray else "parquet", "writing parts"):
        import pyarrow  # noqa: F401
    scorer = Scorer(job)
    for alarm in scorer.detector.alarms():
        warnings.warn(f"{type(scorer.detector).__name__}: {alarm}", NotTrustworthy, stacklevel=2)
    _refuse_other_shapes(scorer)
    size = rows_in_shard(scorer.detector.shape_, scorer.block) if rows is None else rows
    plan = plan_of(job, size)
    key = sha256(canonical(plan))
    counts: Counter[str] = Counter(samples=len(scorer.rows), scored=0, refused=0, anomalous=0, seen=0)
    with alone(out, patience=0), pool_of(job, scorer, workers, ray) as (pool, several):
        _take_over(out, plan, overwrite=overwrite)
        every = list(shards(len(scorer.rows), size))
        with progress("Scoring", len(scorer.rows)) as advance:
            for shard, found in scored(pool, several, _tasks(out, every, key), patience):
                kept = manifest_of(part_of(out, shard)) if found.table is None else {}
                if found.table is not None:
                    kept = {**found.counts, "content": found.content, "plan": key, "model": plan["model"]}
                    write_part(part_of(out, shard), found.table, kept)
                    counts["scored"] += shard.stop - shard.start
                counts.update({name: kept[name] for name in ("refused", "anomalous", "seen")})
                advance(shard.stop - shard.start)
        for surplus in set(parts_in(out)) - {part_of(out, shard) for shard in every}:
            surplus.unlink()  # of an archive that was longer
    return dict(counts)


def plan_of(job: Job, rows: int) -> dict[str, Any]:
    """Return what decides the scores, beside the samples: parts with the same plan are of one archive."""
    evaluation = None if job.evaluation is None else _hash(job.evaluation / "evaluation.json")
    return {
        "format": FORMAT,
        "version": version("unlikelihood"),
        "model": _hash(job.model / "detector.json"),  # which has the hash of the weights
        "source": repr(job.source),
        "alpha": job.alpha,
        "evaluation": evaluation,
        "prevalence": job.prevalence,
        "rows": rows,
    }


@contextmanager
def pool_of(job: Job, scorer: Scorer, workers: int, ray: str | None) -> Iterator[tuple[Any, int]]:
    """Yield where workers run, and how many there are."""
    if ray is not None:
        from unlikelihood.distributed.cluster import cluster

        with cluster(ray, job, workers) as (pool, several):
            yield pool, several
    elif workers == 1:
        yield Alone(scorer), 1
    else:
        yield Processes(job), workers


def _tasks(out: Path, every: list[Shard], key: str) -> Iterator[Task]:
    for shard in every:
        manifest = manifest_of(part_of(out, shard))
        yield shard, str(manifest.get("content", "")) if manifest.get("plan") == key else ""


def _take_over(out: Path, plan: dict[str, Any], *, overwrite: bool) -> None:
    """Make sure that a folder holds nothing but parts of this plan."""
    place = out / PLAN
    if out.is_file():
        raise ValueError(f"out is {str(out)!r}, a file, expected a folder")
    if place.exists():
        found = read_sealed(place)
        if found == json.loads(json.dumps(plan)):
            return
        if not overwrite:
            other = ", ".join(name for name in plan if found.get(name) != plan[name])
            raise ValueError(f"out is {str(out)!r}, which holds scores of another {other}: --overwrite replaces them")
        for part in parts_in(out):
            part.unlink()
    elif out.exists() and any(out.iterdir()):
        raise ValueError(f"out is {str(out)!r}, which holds something else: expected a new folder, or one of parts")
    with replacing(place) as temporary:
        temporary.write_text(json.dumps(seal(plan), indent=1), encoding="utf-8")


def _refuse_other_shapes(scorer: Scorer) -> None:
    """Raise if the first and the last sample both have another shape: then it is not one odd sample among others."""
    n, expected = len(scorer.rows), scorer.detector.shape_
    if not n:
        raise ValueError("there are no samples to score")
    shapes = set()
    for row in (0, n - 1):
        with suppress(ValueError, OSError):  # it will be a row with its reason
            shapes.add(scorer.rows.read(row, row + 1).shape)
    if shapes and expected not in shapes:
        raise ValueError(
            f"the samples have shape {shapes.pop()}, but this {type(scorer.detector).__name__} was fitted on {expected}"
        )


def _hash(file: Path) -> str:
    return sha256(file.read_bytes())
