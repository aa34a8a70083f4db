"""The service under load: errors, how long answers take, what is scored beside direct scoring, and memory.

python -m benchmarks.serve [--seconds N] [--clients N]

A small VAE answers on loopback, in a process of its own, to clients that send their next request as soon as they have
an answer: arrays of some samples, and then single PNG files. Beside that stands the same model, called directly with
the same samples in one array: rounds of both take turns, and the ratio is the median of the rounds, each beside the
direct scoring before and after it. An error is an answer other than a row with a score for every sample, or a score
that is not the model's.
"""

import argparse
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.archive import SHAPE, fitted
from benchmarks.memory import write
from unlikelihood.contract.detector import load
from unlikelihood.progress import silent
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "serve.json"
SAMPLES = (256, 64)  # of a request that is an array
SENT = 2048  # different samples
FILES = 32  # different files of one image
LINE = "a-line-that-no-file-holds"
ROUNDS = 4  # that the time of a kind is divided into
WARM = 2.0  # seconds of requests before those that count
TOLERANCE = 1e-5  # of a score, which is a float32 sum, in batches of different sizes


def request(name: str, content: bytes) -> bytes:
    """Return a request of one file, as it goes over the wire."""
    part = f'--{LINE}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = part.encode() + content + f"\r\n--{LINE}--\r\n".encode()
    kind = f"Content-Type: multipart/form-data; boundary={LINE}"
    return f"POST /score HTTP/1.1\r\nHost: localhost\r\n{kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def file_of(array: np.ndarray) -> bytes:
    """Return samples (n, *shape) as a .npy file, or one image (1, H, W) as a PNG file."""
    content = io.BytesIO()
    if array.ndim > 3:
        np.save(content, array)
    else:
        Image.fromarray(array[0]).save(content, "png")
    return content.getvalue()


def resident(process: int) -> float:
    """Return the MiB that a process holds beside files."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem"))) / 1024


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Return the status and the body of an answer."""
    with connection.makefile("rb") as reader:
        status, length = int(reader.readline().split()[1]), 0
        while (line := reader.readline()).strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return status, reader.read(length)


class Clients:
    """Threads that each ask a service again and again, and look at the answers when the time is over.

    They share the processor with the service, and so do as little as they can meanwhile.

    Parameters
    ----------
    port : int
        Where it answers, on loopback.
    requests : list of tuple
        As they go over the wire, and the anomaly scores that are due.
    """

    def __init__(self, port: int, requests: list[tuple[bytes, np.ndarray]]) -> None:
        self.port, self.requests = port, requests
        self.seconds: list[float] = []
        self.answers: list[tuple[int, int, bytes]] = []
        self.errors: list[str] = []

    def run(self, clients: int, seconds: float) -> float:
        """Ask for some time, and return how long it was until the last answer."""
        began = time.perf_counter()
        threads = [threading.Thread(target=self._ask, args=(number, began + seconds)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - began

    def _ask(self, number: int, until: float) -> None:
        while time.perf_counter() < until:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 120) as connection:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    while (began := time.perf_counter()) < until:
                        number = (number + 1) % len(self.requests)
                        connection.sendall(self.requests[number][0])
                        self.answers.append((number, *answer(connection)))
                        self.seconds.append(time.perf_counter() - began)
            except (OSError, ValueError, IndexError) as error:
                self.errors.append(f"{type(error).__name__}: {error}")

    def samples(self) -> int:
        """Return how many samples got their score; an answer that is not right is added to the errors."""
        right = 0
        for number, status, said in self.answers:
            due = self.requests[number][1]
            try:
                scores = [row["anomaly_score"] for row in json.loads(said)]
                if status != 200 or not np.allclose(scores, due, rtol=TOLERANCE):
                    raise ValueError("the scores are not the model's")
                right += len(due)
            except (ValueError, KeyError, TypeError) as error:
                self.errors.append(f"{status}: {error}: {said[:200]!r}")
        return right


def measured(
    port: int, process: int, requests: list[tuple[bytes, np.ndarray]], args: Any, direct: Callable[[], float]
) -> dict[str, Any]:
    """Return what a service does for clients that send requests, beside direct scoring."""
    Clients(port, requests).run(args.clients, WARM)
    before, took, rates, beside = resident(process), [], [], [direct()]
    rounds = [Clients(port, requests) for _ in range(ROUNDS)]
    for clients in rounds:
        took.append(clients.run(args.clients, args.seconds / ROUNDS))
        rates.append(clients.samples() / took[-1])
        beside.append(direct())
    seconds = [one for clients in rounds for one in clients.seconds]
    errors = [one for clients in rounds for one in clients.errors]
    ratios = [rate / mean(around) for rate, around in zip(rates, pairwise(beside), strict=True)]
    return {
        "requests": len(seconds),
        "errors": len(errors),
        "first errors": errors[:3],
        "requests a second": round(len(seconds) / sum(took), 1),
        "samples a second": round(mean(rates), 1),
        "direct, samples a second": round(mean(beside), 1),
        "samples a second over direct": round(median(ratios), 3),
        "over direct, by round": [round(ratio, 3) for ratio in ratios],
        "p50, milliseconds": round(1e3 * median(seconds), 1),
        "p99, milliseconds": round(1e3 * float(np.quantile(seconds, 0.99)), 1),
        "MiB at start": round(before, 1),
        "MiB at end": round(resident(process), 1),
    }


def direct(detector: Any, X: np.ndarray, seconds: float) -> float:
    """Return how many samples a second a model scores in one array."""
    done, began = 0, time.perf_counter()
    with silent():
        while time.perf_counter() - began < seconds:
            detector.score_samples(X)
            done += len(X)
    return done / (time.perf_counter() - began)


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each kind of request")
    parser.add_argument("--clients", type=int, default=32)
    args = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model = fitted(place)
        write(place / "new.npy", SHAPE, SENT)
        stored = np.load(place / "new.npy")
        X = stored.astype(np.float32) / np.float32(255)
        detector = load(model)
        with silent():
            due_of_arrays, due_of_images = -detector.score_samples(stored), -detector.score_samples(X)
        arrays = {n: [slice(start, start + n) for start in range(0, len(X), n)] for n in SAMPLES}
        kinds = {
            f"arrays of {n}": [(request("x.npy", file_of(stored[each])), due_of_arrays[each]) for each in parts]
            for n, parts in arrays.items()
        } | {
            "single PNG files": [
                (request("x.png", file_of(stored[k])), due_of_images[k : k + 1]) for k in range(FILES)
            ],
        }
        command = [sys.executable, "-m", "unlikelihood", "serve", str(model), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline().strip().rstrip("/").rpartition(":")[2])
            beside = partial(direct, detector, stored, min(5.0, args.seconds))
            found = {kind: measured(port, server.pid, requests, args, beside) for kind, requests in kinds.items()}
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(120)
    record = {
        "clients": args.clients,
        "seconds": args.seconds,
        **found,
        "ended with": server.returncode,
        "load before and after": [round(load_before, 1), round(os.getloadavg()[0], 1)],
        "cores": os.cpu_count(),
    } | provenance()
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
