"""What common work costs, beside a bare script and other libraries that do the same, each in turn in one run.

python -m benchmarks.speed [--only CASE ...] [--rounds 5]
python -m benchmarks.speed --against REV [--rounds 5]

Times are the processor's, summed over threads and started processes; networks compute on one thread. A ratio is the
other's time over ours, above 1 where ours is the faster: the median over rounds, with the lowest and the highest. A
case has several sizes where its cost may not grow as the size does. Cubes are cut in `benchmarks.cubes`, memory is
measured in `benchmarks.memory`, the package of another commit is run by `benchmarks.before`.

monai and pythae are no part of ``.[dev]`` and are left out where they are not installed. anomalib does not run beside
torch for CPUs: the torchvision that it needs has only a build for CUDA on PyPI, whose operators do not load.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.before import compared
from benchmarks.floor import drawings
from benchmarks.search import bare as search_alone
from unlikelihood import (
    KNN,
    LOF,
    VAE,
    WGANGP,
    Auto,
    Diffusion,
    Digits,
    Flow,
    Folder,
    Images,
    LatentSearch,
    Phantom,
    Scan,
    evaluate,
)
from unlikelihood.contract.detector import Detector
from unlikelihood.metrics.ranking import auroc
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import provenance
from unlikelihood.training.devices import fabric_for, memory_format
from unlikelihood.training.loop import one_cycle, train
from unlikelihood.training.seeding import initialising

RESULTS = Path(__file__).parent / "results" / "speed.json"
OURS = "unlikelihood"
RIVALS = ("pyod", "pillow", "pydicom", "SimpleITK", "nibabel", "monai", "pythae")
EPOCHS = 10
Way = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """One piece of work, and who does it."""

    ways: Mapping[str, Way]
    count: int  # things that it is done to
    auroc: Mapping[str, float] = field(default_factory=dict)
    absent: Sequence[str] = ()  # whose library is not installed

    def beside(self, **rivals: Callable[[], Way]) -> "Case":
        """Return the case with the ways of other libraries, of those that can be imported."""
        ways, absent = dict(self.ways), list(self.absent)
        for name, make in rivals.items():
            try:
                ways[name] = make()
            except ImportError as error:
                absent.append(f"{name} ({error})")
        return replace(self, ways=ways, absent=absent)


@dataclass(frozen=True)
class Work:
    """A case, made in an empty folder, and the sizes at which it is measured."""

    case: Callable[[Path, int], Case]
    sizes: Sequence[int]


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


def by_pythae(detector: VAE, fresh: Callable[[], nn.Module], X: np.ndarray) -> Way:
    """Return the training of equal networks by pythae, whose trainer also writes them to a folder at the end."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE as Model  # noqa: N811
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    class Inferring(BaseEncoder):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> ModelOutput:
            loc, log_variance = self.net(x).chunk(2, dim=1)
            return ModelOutput(embedding=loc, log_covariance=log_variance)

    class Decoding(BaseDecoder):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.net(z))

    def way() -> None:
        net = fresh()
        model = Model(VAEConfig(X.shape[1:], detector.latent), Inferring(net.encoder), Decoding(net.decoder))
        data = BaseDataset(torch.from_numpy(X), torch.zeros(len(X)))
        with tempfile.TemporaryDirectory() as folder:
            settings = {"num_epochs": detector.epochs, "learning_rate": detector.learning_rate, "no_cuda": True}
            batches = {"per_device_train_batch_size": detector.batch_size}
            quiet(BaseTrainer(model, data, None, BaseTrainerConfig(folder, **batches, **settings)).train)

    return way


def loop(shape: tuple[int, ...], n: int) -> Case:
    """Train equal networks with the loop of this package, with the bare one, and with pythae's."""
    X = np.random.default_rng(0).random((n, *shape), dtype=np.float32)
    detector = VAE(epochs=1).fit(X[:256])

    def fresh() -> nn.Module:
        with initialising(0):
            return detector.build(shape).to(memory_format=memory_format(shape))

    def ours() -> None:
        fabric, net = fabric_for("cpu", "32-true"), fresh()
        train(net, detector.objectives(net), X, epochs=detector.epochs, batch_size=detector.batch_size, fabric=fabric)

    case = Case({OURS: ours, "bare PyTorch loop": lambda: bare(detector, fresh(), X)}, detector.epochs * n)
    return case.beside(pythae=lambda: by_pythae(detector, fresh, X))


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vectors of scikit-learn's digits, nines being anomalous: normals to train on, and a test."""
    split = Digits().split()
    train_, test = (part.pixels.reshape(len(part.pixels), -1) for part in (split.train, split.test))
    return train_, test, split.test.label


def repeated(X: np.ndarray, n: int) -> np.ndarray:
    """Return n samples, over and over again where there are less."""
    return np.resize(X, (n, *X.shape[1:]))


def with_networks(features: int) -> dict[str, Callable[[], Any]]:
    """Return what makes a VAE of vectors, and PyOD's detectors with the same settings where both have them."""
    from pyod.models.auto_encoder import AutoEncoder
    from pyod.models.deep_svdd import DeepSVDD
    from pyod.models.vae import VAE as PyODVAE  # noqa: N811

    epochs = {"epoch_num": EPOCHS, "batch_size": 64, "verbose": 0, "random_state": 0}
    return {
        OURS: lambda: VAE(latent=8, epochs=EPOCHS, batch_size=64),
        "PyOD VAE": lambda: PyODVAE(latent_dim=8, **epochs),
        "PyOD AutoEncoder": lambda: AutoEncoder(**epochs),
        "PyOD DeepSVDD": lambda: DeepSVDD(features, epochs=EPOCHS, batch_size=64, verbose=0, random_state=0),
    }


def of_neighbours(features: int) -> dict[str, Callable[[], Any]]:
    """Return what makes the detectors by neighbours of this package, of PyOD and of scikit-learn."""
    from pyod.models.knn import KNN as PyODKNN  # noqa: N811
    from sklearn.neighbors import LocalOutlierFactor

    return {
        OURS: KNN,
        "PyOD KNN": PyODKNN,
        "our LOF": lambda: LOF(n_neighbors=5),
        "scikit-learn LOF": lambda: LocalOutlierFactor(5, novelty=True),
    }


def fits(n: int) -> Case:
    """Fit networks to vectors."""
    X = repeated(digits()[0], n)
    return Case({who: partial(fitted, make, X) for who, make in with_networks(X.shape[1]).items()}, EPOCHS * n)


def scores(makers: Callable[[int], dict[str, Callable[[], Any]]], n: int) -> Case:
    """Score vectors."""
    train_, test, y = digits()
    found = {who: fitted(make, train_) for who, make in makers(train_.shape[1]).items()}
    areas = {who: round(float(auroc(y, anomaly_scores(detector, test))), 4) for who, detector in found.items()}
    X = repeated(test, n)
    return Case({who: partial(anomaly_scores, detector, X) for who, detector in found.items()}, n, areas)


def fitted(make: Callable[[], Any], X: np.ndarray) -> Any:
    return quiet(make().fit, X)


def anomaly_scores(detector: Any, X: np.ndarray) -> np.ndarray:
    if type(detector).__module__.startswith("pyod"):
        return quiet(detector.decision_function, X)
    return -quiet(detector.score_samples, X)


@torch.inference_mode()
def vae_alone(detector: VAE, x: Tensor) -> None:
    q = detector.net_.posterior(x)
    for _ in range(detector.scoring.samples):
        detector.net_.decoder(q.loc)


@torch.inference_mode()
def flow_alone(detector: Flow, x: Tensor) -> None:
    for _ in range(detector.draws):
        detector.net_.log_prob(x, torch.full_like(x, 0.5))


@torch.inference_mode()
def diffusion_alone(detector: Diffusion, x: Tensor) -> None:
    for _ in range(detector.scoring.times * detector.scoring.draws):
        detector.net_.predict_noise(x, torch.zeros(()))


def searched_alone(detector: LatentSearch, x: Tensor) -> None:
    search_alone(detector.generator_, x.numpy(), detector.generator_.draw(len(x)), len(x))


def members_alone(detector: Auto, x: Tensor) -> None:
    for member in detector.committee_.detectors_:
        member.score_samples(x.numpy())


# What of scoring is no choice: passes of the networks, and of `Auto` its members.
ALONE: dict[type, tuple[str, Callable[[Any, Tensor], None]]] = {
    VAE: ("its network alone", vae_alone),
    Flow: ("its network alone", flow_alone),
    Diffusion: ("its network alone", diffusion_alone),
    LatentSearch: ("its passes alone", searched_alone),
    Auto: ("its members alone", members_alone),
}


def queries(detector: Detector, batch: int, n: int) -> Case:
    """Score images in calls of so many, beside what of that is no choice."""
    X = drawings((1, 28, 28), max(n, 256))
    detector.fit(X[:256])
    parts = [X[start : min(n, start + batch)] for start in range(0, n, batch)]
    name, way = ALONE[type(detector)]

    def alone() -> None:
        for part in parts:
            for x in torch.from_numpy(part).split(getattr(detector, "batch_size", batch)):
                way(detector, x)

    return Case({OURS: lambda: [detector.score_samples(part) for part in parts], name: alone}, n)


def pictures(folder: Path, n: int) -> Case:
    """Read a folder of PNGs, beside a loop over Pillow and monai's reader."""
    rng = np.random.default_rng(0)
    for number in range(n):
        Image.fromarray(rng.integers(0, 256, (64, 64), np.uint8)).save(folder / f"{number}.png")

    def pillow() -> np.ndarray:
        files = sorted(folder.glob("*.png"))
        return np.stack([np.asarray(Image.open(file), np.float32) / 255 for file in files])

    def monai() -> Way:
        from monai.data import PILReader

        reader = PILReader()
        return lambda: reader.get_data(reader.read(sorted(folder.glob("*.png"))))[0].astype(np.float32) / 255

    return Case({OURS: lambda: Folder(path=folder).read(), "loop over Pillow": pillow}, n).beside(monai=monai)


def scan_of(n: int) -> Scan:
    """Return a scan of so many slices."""
    scan, _ = Phantom().scan(0, spacing=(0.3, 0.3, 0.5))
    return replace(scan, hu=repeated(scan.hu, n))


def slices(folder: Path, n: int) -> Case:
    """Read a DICOM series, beside pydicom and SimpleITK alone and monai's reader."""
    import pydicom
    import SimpleITK

    series = folder / "series"
    scan_of(n).save(series)

    def plain() -> np.ndarray:
        found = [pydicom.dcmread(file) for file in series.iterdir()]
        found.sort(key=lambda one: float(one.ImagePositionPatient[2]))
        return np.stack([one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in found])

    def itk() -> np.ndarray:
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
        return SimpleITK.GetArrayFromImage(reader.Execute())

    def monai() -> Way:
        from monai.data import PydicomReader

        reader = PydicomReader()
        return lambda: reader.get_data(reader.read(str(series)))

    return Case({OURS: lambda: Scan.read(series), "pydicom": plain, "SimpleITK": itk}, n).beside(monai=monai)


def nifti(folder: Path, n: int) -> Case:
    """Read a NIfTI volume, beside nibabel alone and monai's reader."""
    import nibabel

    file = folder / "scan.nii.gz"
    scan_of(n).save(file)

    def monai() -> Way:
        from monai.data import NibabelReader

        reader = NibabelReader()
        return lambda: reader.get_data(reader.read(str(file)))

    ways = {OURS: lambda: Scan.read(file), "nibabel": lambda: nibabel.load(file).get_fdata(dtype=np.float32)}
    return Case(ways, n).beside(monai=monai)


def reports(folder: Path, n: int) -> Case:
    """Draw the report of an evaluation of so many test samples."""
    split = Digits().split()
    rows = np.arange(n) % len(split.test)
    test = Images(split.test.pixels[rows], split.test.label[rows])
    found = evaluate(KNN().fit(split.train.pixels), replace(split, test=test))
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


def images(made: Callable[[], Detector], batch: int) -> Callable[[Path, int], Case]:
    return lambda _, n: queries(made(), batch, n)


CASES: dict[str, Work] = {
    "training a VAE of 28x28 images, samples": Work(lambda _, n: loop((1, 28, 28), n), (230, 2304, 23040)),
    "training a VAE of 32 features, samples": Work(lambda _, n: loop((32,), n), (1638, 16384, 163840)),
    "fitting a VAE to digits as vectors, samples": Work(lambda _, n: fits(n), (90, 900, 9000)),
    "scoring digits as vectors by a VAE, samples": Work(lambda _, n: scores(with_networks, n), (32, 324, 3240)),
    "scoring digits as vectors by neighbours, samples": Work(lambda _, n: scores(of_neighbours, n), (32, 324, 3240)),
    "scoring 28x28 images by a VAE one by one, samples": Work(images(lambda: VAE(epochs=1), 1), (32,)),
    "scoring 28x28 images by a VAE, 32 a call, samples": Work(images(lambda: VAE(epochs=1), 32), (256,)),
    "scoring 28x28 images by a VAE, 256 a call, samples": Work(images(lambda: VAE(epochs=1), 256), (256, 2560)),
    "scoring 28x28 images by a flow, samples": Work(images(lambda: Flow(epochs=1), 256), (26, 256)),
    "scoring 28x28 images by diffusion, samples": Work(images(lambda: Diffusion(epochs=1), 256), (26, 256)),
    "searching the latents of a WGAN-GP for 28x28 images, 100 steps, samples": Work(
        images(lambda: LatentSearch(WGANGP(width=16, epochs=1), steps=100), 256), (6, 64)
    ),
    "scoring 28x28 images by Auto, samples": Work(images(lambda: Auto(steps=8, workers=1), 256), (26, 256)),
    "reading PNGs, files": Work(pictures, (100, 1000, 10_000)),
    "reading a DICOM series, slices": Work(slices, (12, 120, 1200)),
    "reading a NIfTI volume, slices": Work(nifti, (12, 120, 1200)),
    "the report of an evaluation, test samples": Work(reports, (32, 324, 3240)),
    "python -c 'import unlikelihood'": Work(lambda _, n: starts(sys.executable, "-c", "import unlikelihood"), (1,)),
    "unlikelihood --help": Work(
        lambda _, n: starts(str(Path(sys.executable).with_name("unlikelihood")), "--help"), (1,)
    ),
}


def processor() -> float:
    """Return the seconds of the processor that this process and those that it started took."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measured(case: Case, rounds: int) -> dict[str, Any]:
    """Return what each way takes, all of them in turn in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in case.ways}
    for _ in range(rounds):
        for name, way in case.ways.items():
            start = processor()
            way()
            seconds[name].append(processor() - start)
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
    return row | {name: of for name, of in (("auroc", case.auroc), ("absent", case.absent)) if of}


def versions() -> dict[str, str]:
    """Return the versions of the other libraries that are installed."""
    found = {}
    for name in RIVALS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    """Measure, and write the results after each case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--against", help="a commit whose package is run beside this one, in place of the cases")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    record = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else {}
    if asked.against:
        record["before"] = compared(asked.against, asked.rounds) | {"provenance": provenance()}
        write(asked.out, record)
        return
    cases = record.get("cases", {})
    for name in asked.only:
        work, rows = CASES[name], []
        for size in work.sizes:
            with tempfile.TemporaryDirectory() as folder:
                case = work.case(Path(folder), size)
                if size == work.sizes[0]:  # the first time pays for imports
                    measured(case, 1)
                rows.append({"size": size} | measured(case, asked.rounds))
            print(name, json.dumps(rows[-1]), flush=True)
        cases[name] = rows
        kept = {each: cases[each] for each in CASES if each in cases}
        write(asked.out, record | {"cases": kept, "provenance": provenance() | versions()})


def write(path: Path, record: dict[str, Any]) -> None:
    with replacing(path) as file:
        file.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
