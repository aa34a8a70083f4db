"""The service under load: errors, how long answers take, what is scored beside direct scoring, and memory.

python -m benchmarks.serve [--seconds N] [--clients N]

A small VAE answers on loopback, in a process of its own, to clients that send their next request as soon as they have
an answer: arrays of some samples, and then single PNG files. Beside that stands the same model, called directly with
the same samples in one array, before and after. An error is an answer other than a row with a score for every sample,
or a score that is not the model's.
"""

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.archive import SHAPE, fitted
from benchmarks.memory import write
from unlikelihood.contract.detector import load
from unlikelihood.progress import silent
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "serve.json"
SAMPLES = 64  # of a request that is an array
SENT = 32  # different requests
LINE = "a-line-that-no-file-holds"
WARM = 2.0  # seconds of requests before those that count
TOLERANCE = 1e-5  # of a score, which is a float32 sum, in batches of different sizes


def body(name: str, content: bytes) -> bytes:
    """Return a request of one file."""
    head = f'--{LINE}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{LINE}--\r\n".encode()


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


class Clients:
    """Threads that each ask a service again and again.

    Parameters
    ----------
    port : int
        Where it answers, on loopback.
    requests : list of tuple
        Bodies, and the anomaly scores that are due.
    """

    def __init__(self, port: int, requests: list[tuple[bytes, np.ndarray]]) -> None:
        self.port, self.requests = port, requests
        self.seconds: list[float] = []
        self.errors: list[str] = []
        self.samples = 0

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
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"content-type": f"multipart/form-data; boundary={LINE}"}
        while (began := time.perf_counter()) < until:
            content, due = self.requests[number % len(self.requests)]
            number += 1
            try:
                connection.request("POST", "/score", content, headers)
                answer = connection.getresponse()
                said = answer.read()
                self.seconds.append(time.perf_counter() - began)
                if answer.status != 200:
                    raise ValueError(f"{answer.status} {said[:200]!r}")
                scores = [row["anomaly_score"] for row in json.loads(said)]
                if not np.allclose(scores, due, rtol=TOLERANCE):
                    raise ValueError("scores are not the model's")
                self.samples += len(scores)
            except (OSError, ValueError, KeyError, HTTPException) as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                connection.close()
        connection.close()


def measured(port: int, process: int, requests: list[tuple[bytes, np.ndarray]], args: Any) -> dict[str, Any]:
    """Return what a service does for clients that send requests."""
    Clients(port, requests).run(args.clients, WARM)
    before = resident(process)
    clients = Clients(port, requests)
    took = clients.run(args.clients, args.seconds)
    return {
        "requests": len(clients.seconds),
        "errors": len(clients.errors),
        "first errors": clients.errors[:3],
        "requests a second": round(len(clients.seconds) / took, 1),
        "samples a second": round(clients.samples / took, 1),
        "p50, milliseconds": round(1e3 * median(clients.seconds), 1),
        "p99, milliseconds": round(1e3 * float(np.quantile(clients.seconds, 0.99)), 1),
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
        write(place / "new.npy", SHAPE, SENT * SAMPLES)
        stored = np.load(place / "new.npy")
        X = stored.astype(np.float32) / np.float32(255)
        detector = load(model)
        with silent():
            due_of_arrays, due_of_images = -detector.score_samples(stored), -detector.score_samples(X)
        arrays = [slice(start, start + SAMPLES) for start in range(0, len(X), SAMPLES)]
        kinds = {
            f"arrays of {SAMPLES}": [(body("x.npy", file_of(stored[each])), due_of_arrays[each]) for each in arrays],
            "single PNG files": [(body("x.png", file_of(stored[k])), due_of_images[k : k + 1]) for k in range(SENT)],
        }
        command = [sys.executable, "-m", "unlikelihood", "serve", str(model), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline().strip().rstrip("/").rpartition(":")[2])
            rates, found = [direct(detector, stored, min(5.0, args.seconds))], {}
            for kind, requests in kinds.items():
                found[kind] = measured(port, server.pid, requests, args)
                rates.append(direct(detector, stored, min(5.0, args.seconds)))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(120)
    of_direct = round(median(rates), 1)
    for made in found.values():
        made["samples a second over direct"] = round(made["samples a second"] / of_direct, 3)
    record = {
        "clients": args.clients,
        "seconds": args.seconds,
        "direct, samples a second": of_direct,
        **found,
        "ended with": server.returncode,
        "load before and after": [round(load_before, 1), round(os.getloadavg()[0], 1)],
        "cores": os.cpu_count(),
    } | provenance()
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
