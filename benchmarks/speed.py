"""What common work costs, beside a bare script and other libraries that do the same, each in turn in one run.

python -m benchmarks.speed [--only CASE ...] [--rounds 5]

Times are the processor's, summed over threads and started processes; networks compute on one thread. A ratio is the
other's time over ours, above 1 where ours is the faster: the median over rounds, with the lowest and the highest.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from unlikelihood import KNN, LOF, VAE, Digits, Folder, Phantom, Scan, evaluate
from unlikelihood.metrics.ranking import auroc
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import provenance
from unlikelihood.training.devices import fabric_for, memory_format
from unlikelihood.training.loop import one_cycle, train
from unlikelihood.training.seeding import initialising

RESULTS = Path(__file__).parent / "results" / "speed.json"
OURS = "unlikelihood"
EPOCHS = 10


@dataclass(frozen=True)
class Case:
    """One piece of work, and who does it."""

    ways: Mapping[str, Callable[[], Any]]
    count: int  # things that it is done to
    auroc: Mapping[str, float] = field(default_factory=dict)


def bare(detector: VAE, net: nn.Module, X: np.ndarray) -> None:
    """Train as a script without this package would: nothing but torch."""
    optimizer = torch.optim.Adam(net.parameters(), lr=detector.learning_rate)
    data, layout = torch.from_numpy(X), memory_format(X.shape[1:])
    steps, step = detector.epochs * -(-len(X) // detector.batch_size), 0
    for _ in range(detector.epochs):
        for index in torch.randperm(len(X)).split(detector.batch_size):
            for group in optimizer.param_groups:
                group["lr"] = detector.learning_rate * one_cycle(step / steps)
            optimizer.zero_grad()
            loss = net.negative_elbo(data[index].contiguous(memory_format=layout))
            loss.backward()
            optimizer.step()
            step += 1


def loop(shape: tuple[int, ...], n: int) -> Case:
    """Train equal networks with the loop of this package, and with the bare one."""
    X = np.random.default_rng(0).random((n, *shape), dtype=np.float32)
    detector = VAE(epochs=1).fit(X[:256]).set_params(epochs=2)

    def fresh() -> nn.Module:
        with initialising(0):
            return detector.build(shape).to(memory_format=memory_format(shape))

    def ours() -> None:
        fabric, net = fabric_for("cpu", "32-true"), fresh()
        train(net, detector.objectives(net), X, epochs=detector.epochs, batch_size=detector.batch_size, fabric=fabric)

    return Case({OURS: ours, "bare PyTorch loop": lambda: bare(detector, fresh(), X)}, detector.epochs * n)


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vectors of scikit-learn's digits, nines being anomalous: normals to train on, and a test."""
    split = Digits().split()
    train_, test = (part.pixels.reshape(len(part.pixels), -1) for part in (split.train, split.test))
    return train_, test, split.test.label


def tables(kind: str) -> Case:
    """Fit to vectors, or score them, beside PyOD and scikit-learn with the same settings where both have them."""
    from pyod.models import knn, vae
    from pyod.models.auto_encoder import AutoEncoder
    from pyod.models.deep_svdd import DeepSVDD
    from sklearn.neighbors import LocalOutlierFactor

    train_, test, y = digits()
    epochs = {"epoch_num": EPOCHS, "batch_size": 64, "verbose": 0, "random_state": 0}
    makers: dict[str, Callable[[], Any]] = {
        OURS: lambda: VAE(latent=8, epochs=EPOCHS, batch_size=64),
        "PyOD VAE": lambda: vae.VAE(latent_dim=8, **epochs),
        "PyOD AutoEncoder": lambda: AutoEncoder(**epochs),
        "PyOD DeepSVDD": lambda: DeepSVDD(train_.shape[1], epochs=EPOCHS, batch_size=64, verbose=0, random_state=0),
    }
    if kind == "neighbours":
        makers = {
            OURS: KNN,
            "PyOD KNN": knn.KNN,
            "our LOF": lambda: LOF(n_neighbors=5),
            "scikit-learn LOF": lambda: LocalOutlierFactor(5, novelty=True),
        }
    fitted = {name: quiet(make().fit, train_) for name, make in makers.items()}

    def score(name: str, X: np.ndarray) -> np.ndarray:
        detector = fitted[name]
        return detector.decision_function(X) if name.startswith("PyOD") else -detector.score_samples(X)

    areas = {name: round(float(auroc(y, quiet(score, name, test))), 4) for name in makers}
    if kind == "fit":
        return Case({n: lambda n=n: quiet(makers[n]().fit, train_) for n in makers}, EPOCHS * len(train_), areas)
    return Case({n: lambda n=n: quiet(score, n, test) for n in makers}, len(test), areas)


def queries(batch: int) -> Case:
    """Score images in calls of so many, beside what the network alone takes."""
    X = np.random.default_rng(0).random((256, 1, 28, 28), dtype=np.float32)
    detector = VAE(epochs=1).fit(X)
    parts = [X[start : start + batch] for start in range(0, len(X) if batch > 1 else 32, batch)]
    net, draws = detector.net_, detector.scoring.samples

    @torch.inference_mode()
    def alone() -> None:
        for part in parts:
            x = torch.from_numpy(part)
            q = net.posterior(x)
            for _ in range(draws):
                net.decoder(q.loc)

    def ours() -> None:
        for part in parts:
            detector.score_samples(part)

    return Case({OURS: ours, "its network alone": alone}, sum(map(len, parts)))


def pictures(folder: Path) -> Case:
    """Read a folder of PNGs, beside a loop over Pillow."""
    rng = np.random.default_rng(0)
    for number in range(1000):
        Image.fromarray(rng.integers(0, 256, (64, 64), np.uint8)).save(folder / f"{number}.png")

    def pillow() -> np.ndarray:
        files = sorted(folder.glob("*.png"))
        return np.stack([np.asarray(Image.open(file), np.float32) / 255 for file in files])

    return Case({OURS: lambda: Folder(path=folder).read(), "loop over Pillow": pillow}, 1000)


def slices(folder: Path) -> Case:
    """Read a DICOM series, beside pydicom and SimpleITK alone."""
    import pydicom
    import SimpleITK

    scan, _ = Phantom().scan(0, spacing=(0.3, 0.3, 0.5))
    scan.save(folder / "series")

    def plain() -> np.ndarray:
        found = [pydicom.dcmread(file) for file in (folder / "series").iterdir()]
        found.sort(key=lambda one: float(one.ImagePositionPatient[2]))
        return np.stack([one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in found])

    def itk() -> np.ndarray:
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder / "series")))
        return SimpleITK.GetArrayFromImage(reader.Execute())

    ways = {OURS: lambda: Scan.read(folder / "series"), "pydicom": plain, "SimpleITK": itk}
    return Case(ways, len(scan.hu))


def reports(folder: Path) -> Case:
    """Draw the report of an evaluation."""
    split = Digits().split()
    found = evaluate(KNN().fit(split.train.pixels), split)
    return Case({OURS: lambda: found.save(folder / "report")}, 1)


def starts(*command: str) -> Case:
    """Start a process, beside one that does nothing."""
    nothing = (sys.executable, "-c", "pass")
    return Case({OURS: lambda: started(command), "python alone": lambda: started(nothing)}, 1)


def started(command: tuple[str, ...]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def quiet(function: Callable[..., Any], *given: Any) -> Any:
    """Call what prints and warns."""
    with redirect_stdout(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*given)


CASES: dict[str, Callable[[Path], Case]] = {
    "training a VAE of 28x28 images, samples": lambda _: loop((1, 28, 28), 2304),
    "training a VAE of 32 features, samples": lambda _: loop((32,), 16384),
    "fitting a VAE to digits as vectors, samples": lambda _: tables("fit"),
    "scoring digits as vectors by a VAE, samples": lambda _: tables("score"),
    "scoring digits as vectors by neighbours, samples": lambda _: tables("neighbours"),
    "scoring 28x28 images by a VAE one by one, samples": lambda _: queries(1),
    "scoring 28x28 images by a VAE, 32 a call, samples": lambda _: queries(32),
    "scoring 28x28 images by a VAE, 256 a call, samples": lambda _: queries(256),
    "reading PNGs, files": pictures,
    "reading a DICOM series, slices": slices,
    "the report of an evaluation": reports,
    "python -c 'import unlikelihood'": lambda _: starts(sys.executable, "-c", "import unlikelihood"),
    "unlikelihood --help": lambda _: starts(str(Path(sys.executable).with_name("unlikelihood")), "--help"),
}


def processor() -> float:
    """Return the seconds of the processor that this process and those that it started took."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measured(case: Case, rounds: int) -> dict[str, Any]:
    """Return what each way takes, all of them in turn in every round, the first round uncounted."""
    taken: dict[str, list[float]] = {name: [] for name in case.ways}
    for _ in range(rounds + 1):
        for name, way in case.ways.items():
            start = processor()
            way()
            taken[name].append(processor() - start)
    seconds = {name: times[1:] for name, times in taken.items()}
    row: dict[str, Any] = {
        "count": case.count,
        "milliseconds each": {
            name: float(f"{1000 * statistics.median(times) / case.count:.3g}") for name, times in seconds.items()
        },
        "ratio": {},
    }
    for name, times in seconds.items():
        if name != OURS:
            ratios = sorted(theirs / ours for ours, theirs in zip(seconds[OURS], times, strict=True))
            row["ratio"][name] = [round(value, 2) for value in (statistics.median(ratios), ratios[0], ratios[-1])]
    return row | ({"auroc": dict(case.auroc)} if case.auroc else {})


def main() -> None:
    """Measure, and write the results after each case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cases = json.loads(asked.out.read_text(encoding="utf-8")).get("cases", {}) if asked.out.exists() else {}
    for name in asked.only:
        with tempfile.TemporaryDirectory() as folder:
            cases[name] = measured(CASES[name](Path(folder)), asked.rounds)
        print(name, json.dumps(cases[name]), flush=True)
        with replacing(asked.out) as file:
            record = {"cases": {name: cases[name] for name in CASES if name in cases}, "provenance": provenance()}
            file.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
