"""Scoring an archive: what a second worker brings, what a row costs beside its score, and what kills lose.

python -m benchmarks.archive [--images N] [--vectors N] [--kills N] [--rounds N]

Every process computes on one thread. Wall times are medians of runs that take turns, and the load of the machine stands
beside them; costs of a row are seconds of the processor, which other processes do not lengthen. Kills are of a worker,
of the process that started them, or of a node of a Ray cluster on this machine, drawn at random, while shards are being
scored; each of those is started again. An error says what was lost, scored twice, or is not what it is without kills.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

import numpy as np
import torch

import unlikelihood as u
from benchmarks.memory import Held, write
from unlikelihood.distributed.archive import score_archive
from unlikelihood.distributed.pool import Processes, scored
from unlikelihood.distributed.scoring import Job, Scorer
from unlikelihood.distributed.shards import parts_in, shards
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "archive.json"
SHAPE = (1, 28, 28)
TOGETHER = 256  # samples that the bare loop scores at once
ROWS = 1024  # of a shard, where workers are compared
FEW, SHARDS = 256, 100  # of a shard, where they are killed, and shards of many rows
KILLED_AFTER = 1.5  # seconds at most after a part appears
DRIVER = """
import sys
from pathlib import Path
from unlikelihood import Arrays
from unlikelihood.distributed.archive import score_archive
from unlikelihood.distributed.scoring import Job

if __name__ == "__main__":
    model, data, out, rows, *ray = sys.argv[1:]
    job, address = Job(Path(model), Arrays(data)), ray[0] if ray else None
    score_archive(job, Path(out), workers=2, rows=int(rows), ray=address, patience=240)
"""


def cpu(function: Callable[[], object]) -> float:
    """Return the seconds of the processor that a call takes."""
    began = time.process_time()
    function()
    return time.process_time() - began


def processor_of_ended() -> float:
    """Return the seconds of the processor that processes took which this one has started and which have ended."""
    times = os.times()
    return times.children_user + times.children_system


def fitted(folder: Path) -> Path:
    """Fit and calibrate a small VAE of images."""
    write(folder / "normals.npy", SHAPE, 1000)
    X = np.load(folder / "normals.npy")
    u.VAE(latent=8, width=8, epochs=1, batch_size=TOGETHER).fit(X[:800]).calibrate(X[800:]).save(folder / "vae")
    return folder / "vae"


def loop(job: Job, n: int, barrier: threading.Barrier) -> float:
    """Return the seconds in which this process scores n samples, from when others are ready to do so too."""
    torch.set_num_threads(1)
    detector = Scorer(job).detector
    X = np.load(job.source.path, mmap_mode="r")  # type: ignore[attr-defined]
    detector.score_samples(X[:TOGETHER])
    barrier.wait()
    began = time.perf_counter()
    for start in range(0, n, TOGETHER):
        detector.score_samples(X[start : start + TOGETHER])
    return time.perf_counter() - began


def loops(job: Job, n: int, several: int) -> float:
    """Return the samples a second of so many processes that do nothing but score: what this machine can do."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(several) as pool:
        barrier = manager.Barrier(several)
        seconds = pool.starmap(loop, [(job, n // several, barrier)] * several, chunksize=1)
    return n / max(seconds)


def workers(job: Job, n: int, rounds: int) -> dict[str, object]:
    """Compare two workers with one, by what they score after the first result, beside bare loops in as many processes.

    And say how long they take to start.
    """
    rates: dict[int, list[float]] = {1: [], 2: []}
    spent: dict[int, list[float]] = {1: [], 2: []}
    bare: dict[int, list[float]] = {1: [], 2: []}
    starts = []
    for _ in range(rounds):
        for several, found in rates.items():
            bare[several].append(loops(job, n, several))
            before, began = processor_of_ended(), time.perf_counter()
            results = scored(Processes(job), several, ((shard, "") for shard in shards(n, ROWS)), 600)
            next(results)
            first = time.perf_counter()
            rest = sum(shard.stop - shard.start for shard, _ in results)
            found.append(rest / (time.perf_counter() - first))
            spent[several].append(processor_of_ended() - before)
            if several == 1:
                starts.append(first - began)
    pairs = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    return {
        "rows": n,
        "rounds": rounds,
        "rows a second, one worker": round(median(rates[1])),
        "rows a second, two workers": round(median(rates[2])),
        "two over one, each round": [round(ratio, 2) for ratio in pairs],
        "two over one": round(median(pairs), 2),
        "two bare loops over one, each round": [round(b / a, 2) for a, b in zip(bare[1], bare[2], strict=True)],
        "two workers over two bare loops": round(median(rates[2]) / median(bare[2]), 2),
        "processor seconds, one worker": round(median(spent[1]), 1),
        "processor seconds, two workers": round(median(spent[2]), 1),
        "seconds until the first shard": round(median(starts), 1),
    }


def overhead(job: Job, n: int, rounds: int, folder: Path) -> dict[str, object]:
    """Compare an archive in this process with a loop over the same model, and with scoring it when it is scored."""
    detector = Scorer(job).detector
    X = np.load(job.source.path, mmap_mode="r")  # type: ignore[attr-defined]
    bare, whole, again = [], [], []
    for number in range(rounds):
        out = folder / f"overhead {number}"
        bare.append(
            cpu(lambda: [detector.score_samples(X[start : start + TOGETHER]) for start in range(0, n, TOGETHER)])
        )
        whole.append(cpu(lambda out=out: score_archive(job, out)))
        again.append(cpu(lambda out=out: score_archive(job, out)))
    row = 1e6 / n
    return {
        "rows": n,
        "bare loop, microseconds a row": round(row * median(bare), 1),
        "archive, microseconds a row": round(row * median(whole), 1),
        "of it beside the loop": round(row * (median(whole) - median(bare)), 1),
        "archive over bare loop": round(median(whole) / median(bare), 3),
        "second call, microseconds a row": round(row * median(again), 1),
    }


def kills(job: Job, n: int, many: int, folder: Path) -> dict[str, object]:
    """Kill workers and drivers at random."""

    def worker(driver: subprocess.Popen[bytes]) -> bool:
        return kill_one_of(children(driver.pid))

    return killed(job, n, many, folder, (), {"workers": worker, "drivers": kill_driver})


def nodes(job: Job, n: int, many: int, folder: Path) -> dict[str, object]:
    """Kill workers, nodes and drivers of a Ray cluster of two nodes at random; another node joins for each."""
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_worker_niceness": "0",  # 15 would have other programs starve its workers
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    from ray.cluster_utils import Cluster

    one = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=one | {"include_dashboard": False})
    others = [cluster.add_node(**one)]

    def worker(driver: subprocess.Popen[bytes]) -> bool:
        return kill_one_of(actors())

    def node(driver: subprocess.Popen[bytes]) -> bool:
        cluster.remove_node(others.pop(), allow_graceful=False)
        others.append(cluster.add_node(**one))
        return True

    try:
        ways = {"workers": worker, "nodes": node, "drivers": kill_driver}
        return killed(job, n, many, folder, (cluster.address,), ways)
    finally:
        cluster.shutdown()


def killed(
    job: Job,
    n: int,
    many: int,
    folder: Path,
    ray: Sequence[str],
    ways: Mapping[str, Callable[["subprocess.Popen[bytes]"], bool]],
) -> dict[str, object]:
    """Kill in these ways while a driver scores, and compare what is there in the end with what is written without."""
    folder.mkdir()
    whole, out = folder / "whole", folder / "killed"
    job = Job(job.model, u.Arrays(str(job.source.path)))  # type: ignore[attr-defined]
    rows = max(FEW, n // SHARDS)
    score_archive(job, whole, rows=rows)
    draw = random.Random(0)
    done = dict.fromkeys(ways, 0)
    runs = archives = 0
    command = [sys.executable, "-W", "ignore", "-c", DRIVER, job.model, job.source.path, out, rows, *ray]  # type: ignore[attr-defined]
    while sum(done.values()) < many or not archives:
        driver = subprocess.Popen([*map(str, command)], stderr=subprocess.DEVNULL)
        runs, there = runs + 1, len(parts_in(out))
        while driver.poll() is None:
            time.sleep(0.02)
            if sum(done.values()) < many and len(parts_in(out)) > there:
                time.sleep(KILLED_AFTER * draw.random())
                way = draw.choice(list(ways))
                done[way] += driver.poll() is None and ways[way](driver)
                there = len(parts_in(out))
                print(done, flush=True)
        if driver.wait() == 0:
            archives += 1
            check(out, whole, n)
            if sum(done.values()) < many:
                clear(out)
    return {"rows": n, "kills": done, "runs": runs, "archives": archives, "lost, twice or other bytes": 0}


def kill_driver(driver: "subprocess.Popen[bytes]") -> bool:
    """Kill what started the workers."""
    driver.kill()
    return True


def kill_one_of(processes: Sequence[int]) -> bool:
    """Kill one of these processes at random, and return whether there was one."""
    with suppress(ProcessLookupError, IndexError):
        os.kill(random.choice(processes), signal.SIGKILL)
        return True
    return False


def actors() -> list[int]:
    """Return the workers on all nodes of Ray on this machine."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if place.read_bytes().startswith(b"ray::_Actor"):
                found.append(int(place.parent.name))
    return found


def children(process: int) -> list[int]:
    """Return the workers of a driver."""
    try:
        own = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return [int(child) for child in own if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:
        return []


def check(out: Path, whole: Path, n: int) -> None:
    """Raise unless a folder is the other, byte by byte, and names every sample once."""
    import pyarrow.parquet

    found, expected = (
        {str(file.relative_to(place)): file.read_bytes() for file in place.rglob("*") if file.is_file()}
        for place in (out, whole)
    )
    names = pyarrow.parquet.read_table(out, columns=["name"])["name"].to_pylist()
    if found != expected or len(names) != n or len(set(names)) != n:
        raise AssertionError(f"{len(names)} names, {len(set(names))} of them different, of {n}: or bytes differ")


def clear(out: Path) -> None:
    """Remove the parts of an archive."""
    for part in parts_in(out):
        part.unlink()


def sizes(job: Job, most: int, folder: Path, make: Callable[[Path, int], None]) -> dict[str, object]:
    """Score more and more rows: seconds of the processor, memory of the process, and how time grows."""
    rows = []
    for n in (most // 100, most // 10, most // 3, most):
        path = folder / "growing.npy"
        make(path, n)
        own = Job(job.model, u.Arrays(path), alpha=job.alpha)
        with Held() as held:
            score_archive(own, folder / f"{job.model.name} {n}")
        rows.append({"rows": n, "seconds": round(held.seconds, 2), "mib": round(held.most, 1)})
        print(rows[-1], flush=True)
    n, seconds = (np.log([row[name] for row in rows[1:]]) for name in ("rows", "seconds"))
    exponent, error = slope(n, seconds)
    return {"rows": rows, "exponent": round(exponent, 3), "its standard error": round(error, 3)}


def slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the slope of a line through points, and its standard error."""
    from scipy.stats import linregress

    line = linregress(x, y)
    return float(line.slope), float(line.stderr)


def vectors(path: Path, n: int) -> None:
    """Write vectors of 16 values."""
    X = np.lib.format.open_memmap(path, "w+", np.float32, (n, 16))
    rng = np.random.default_rng(0)
    for start in range(0, n, 10**6):
        X[start : start + 10**6] = rng.normal(size=X[start : start + 10**6].shape)


def main() -> None:
    """Measure, part by part, and write what is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000, help="the most images that are scored")
    parser.add_argument("--vectors", type=int, default=1_000_000, help="the most vectors that are scored")
    parser.add_argument("--compared", type=int, default=32_768, help="images that one and two workers score")
    parser.add_argument("--kills", type=int, default=50, help="how many")
    parser.add_argument("--rounds", type=int, default=3, help="how often one and two workers take turns")
    parser.add_argument("--only", nargs="*", default=["workers", "overhead", "images", "vectors", "kills", "nodes"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = fitted(folder)
        write(folder / "X.npy", SHAPE, given.compared)
        job = Job(model, u.Arrays(folder / "X.npy"), alpha=0.05, device="cpu")
        X = np.random.default_rng(1).normal(size=(3000, 16))
        u.PCAResidual(4).fit(X[:2000]).calibrate(X[2000:]).save(folder / "pca")
        of_vectors = Job(folder / "pca", job.source, alpha=0.05)
        measures: dict[str, Callable[[], dict[str, object]]] = {
            "workers": lambda: workers(job, given.compared, given.rounds),
            "overhead": lambda: overhead(job, given.compared, given.rounds, folder),
            "images": lambda: sizes(job, given.images, folder, lambda path, n: write(path, SHAPE, n)),
            "vectors": lambda: sizes(of_vectors, given.vectors, folder, vectors),
            "kills": lambda: kills(job, given.compared, given.kills, folder / "kills"),
            "nodes": lambda: nodes(job, given.compared, given.kills, folder / "nodes"),
        }
        for name in given.only:
            before = os.getloadavg()[0]
            found = measures[name]()
            load = [round(value, 1) for value in (before, os.getloadavg()[0])]
            results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
            results[name] = found | {"load before and after": load, "cores": os.cpu_count()} | provenance()
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            print(name, json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
