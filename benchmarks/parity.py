"""Whether an exported file says what its detector says: from the raw sample to the decision, in ONNX Runtime.

python -m benchmarks.parity [NAME ...]

Every detector with a file, fitted to small smooth images of 8 bits and to vectors in float64, is asked about 1,000 raw
samples one by one and 256 at once, with one thread and with two. Named rows alone are run again.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from sklearn.svm import OneClassSVM
from torch import nn

import unlikelihood as u
from unlikelihood.contract.detector import learners
from unlikelihood.contract.export import Graph, on_its_own
from unlikelihood.contract.refusals import NotExportable
from unlikelihood.nn import scores
from unlikelihood.storage.discovery import subclasses
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "parity.json"
SHAPES = {"images, uint8": ((1, 16, 16), "uint8"), "vectors, float64": ((8,), "float64")}
TESTED, FITTED, CALIBRATED = 1000, 300, 199
SMALL: dict[str, Any] = {"epochs": 3, "batch_size": 32}
NET = SMALL | {"width": 4}


def vae(**given: Any) -> u.VAE:
    return u.VAE(latent=4, **NET | {"scoring": scores.Reconstruction(samples=4)} | given)


def gan(of: Callable[..., Any] = u.WGANGP, **given: Any) -> Any:
    return of(latent=4, **NET | given)


def encoder() -> u.Contrastive:
    return u.Contrastive(features=16, **NET)


EXAMPLES: dict[str, Callable[[], u.Detector]] = {
    "VAE": vae,
    "VAE, ELBO": lambda: vae(scoring=scores.ELBO(samples=4), likelihood=u.LearntGaussian()),
    "VAE, IWAE": lambda: vae(scoring=scores.IWAE(samples=4), likelihood=u.OptimalGaussian(), prior=u.Exemplars()),
    "VAE, density of latents": lambda: vae(
        scoring=scores.LatentDensity(samples=4), likelihood=u.CorrelatedGaussian(rank=8)
    ),
    "VAE, Bernoulli": lambda: vae(likelihood=u.Bernoulli()),
    "VAE, inverse autoregressive": lambda: vae(posterior=u.InverseAutoregressive(), scoring=scores.IWAE(samples=4)),
    "Flow, splines": lambda: u.Flow(steps=2, draws=2, **NET),
    "Flow, Real NVP": lambda: u.Flow(u.AffineCoupling(masks=u.Multiscale()), steps=4, draws=2, **NET),
    "Flow, MAF": lambda: u.Flow(u.AffineAutoregressive(layers=2), steps=2, draws=2, **NET),
    "Autoregressive": lambda: u.Autoregressive(layers=2, **NET),
    "NADE": lambda: u.NADE(hidden=8, **SMALL),
    "RNADE": lambda: u.RNADE(hidden=8, **SMALL),
    "Diffusion": lambda: u.Diffusion(u.DenoisingErrors(times=3), **NET),
    "DCGAN": lambda: gan(u.DCGAN),
    "WGANGP": gan,
    "EncoderSearch": lambda: u.EncoderSearch(gan(), **NET),
    "ForeignPatch": lambda: u.ForeignPatch(**NET),
    "Contrastive": encoder,
    "TorchEncoder": lambda: u.TorchEncoder(nn.Sequential(nn.Flatten(), nn.Softsign())),
    "InsideDistance": u.InsideDistance,
    "PatchMemory": lambda: u.PatchMemory(encoder(), size=64),
    "PatchGaussian": lambda: u.PatchGaussian(encoder(), channels=8),
    "SAP": lambda: u.SAP(vae()),
    "NAP": lambda: u.NAP(vae(width=1)),
    "PathStatistics": lambda: u.PathStatistics(vae(), samples=4),
    "PCAResidual": lambda: u.PCAResidual(4),
    "KNN": u.KNN,
    "LOF": u.LOF,
    "TotalIntensity": u.TotalIntensity,
    "RadialProfile": u.RadialProfile,
    "Radiomics": lambda: u.Radiomics([u.Size(), u.Thickness(), u.Intensity(), u.Texture()]),
    "FeatureSpace": lambda: u.FeatureSpace(encoder(), u.FeatureSpace(gan(), u.KNN())),
    "LikelihoodRatio": lambda: u.LikelihoodRatio(u.PCAResidual(4)),
    "Typicality": lambda: u.Typicality(u.PCAResidual(4)),
    "Shrunk": lambda: u.Shrunk(u.KNN(), size=6),
    "ExposureMatched": lambda: u.ExposureMatched(u.KNN()),
    "StandardisedFeatures": lambda: u.StandardisedFeatures(u.KNN()),
    "Crops": lambda: u.Crops(u.KNN(), size=10, grid=2),
    "Tiles": lambda: u.Tiles(u.KNN(), size=8),
    "Committee": lambda: u.Committee([u.KNN(), u.PCAResidual(4), u.TotalIntensity()]),
    "Committee, harmonic mean": lambda: u.Committee([u.KNN(), u.LOF()], u.HarmonicMean()),
    "Auto": lambda: u.Auto(steps=8),
    "Conformal": lambda: u.Conformal(u.PCAResidual(4)),
    "Conformal, Simes": lambda: u.Conformal(u.PCAResidual(4), guarantee=u.Simes()),
    # Refused, each for its reason.
    "GradientNorm": lambda: u.GradientNorm(vae()),
    "LatentSearch": lambda: u.LatentSearch(gan(), steps=2),
    "EncoderSearch, refined": lambda: u.EncoderSearch(gan(), refine=2, **NET),
    "LikelihoodRegret": lambda: u.LikelihoodRegret(vae(), steps=2),
    "IsolationForest": u.IsolationForest,
    "Estimator": lambda: u.Estimator(OneClassSVM()),
    "Radiomics, shape": u.Radiomics,
    "TotalVolume": lambda: u.TotalVolume(threshold=100.0),
    "InputComplexity": lambda: u.InputComplexity(u.PCAResidual(4)),
    "Committee, Cauchy": lambda: u.Committee([u.KNN(), u.LOF()], u.Cauchy()),
}


COARSE = ("VAE", "WGANGP", "Contrastive", "ForeignPatch")


def smooth(shape: tuple[int, ...], n: int, seed: int, odd: float = 0.0) -> NDArray[np.float64]:
    """Return blobs of random places in [0, 255], or vectors on two waves; a share `odd` of them with noise."""
    rng = np.random.default_rng(seed)
    if len(shape) == 1:
        t = rng.normal(size=(n, 1)) + 3 * rng.integers(0, 2, (n, 1))
        X = np.sin(t + np.arange(shape[0])) + 0.1 * rng.normal(size=(n, *shape))
        return X + (rng.random((n, 1)) < odd) * rng.normal(size=(n, *shape))
    axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape[1:]], indexing="ij")
    centre = rng.uniform(-0.5, 0.5, (n, len(axes)))
    away = sum((axis[None] - c.reshape(-1, 1, 1)) ** 2 for axis, c in zip(axes, centre.T, strict=True))
    X = 200 * np.exp(-4 * away) * rng.uniform(0.5, 1, (n, 1, 1)) + rng.normal(0, 4, away.shape)
    X += (rng.random((n, 1, 1)) < odd) * rng.normal(0, 60, away.shape)
    return np.clip(np.rint(X), 0, 255)[:, None]


def answers(file: Path, X: NDArray[Any]) -> Iterator[list[NDArray[Any]]]:
    """Yield score, p-value and decision of all samples, one by one and 256 at once, with one thread and with two."""
    for size, threads in product((1, 256), (1, 2)):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        parts = [session.run(None, {"samples": X[start : start + size]}) for start in range(0, len(X), size)]
        yield [np.concatenate(part) for part in zip(*parts, strict=True)]


def row(name: str, data: str) -> dict[str, Any]:
    shape, dtype = SHAPES[data]
    fitting, calibrating, X = (
        smooth(shape, n, seed, odd).astype(dtype)
        for seed, (n, odd) in enumerate([(FITTED, 0.0), (CALIBRATED, 0.0), (TESTED, 0.5)])
    )
    found: dict[str, Any] = {"detector": name, "samples": data}
    detector = EXAMPLES[name]().fit(fitting)
    detector.calibrate(calibrating)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        try:
            detector.export(file, dtype)
        except NotExportable as error:
            return found | {"refused": str(error)}
        expected, decided = detector.score_samples(X), detector.predict(X)
        every = list(answers(file, X))
    spread = float(np.ptp(expected))
    return found | {
        "largest difference, of the scores' spread": max(float(np.abs(s - expected).max()) / spread for s, *_ in every),
        "differing decisions": sum(int((d != decided).sum()) for *_, d in every),
        "called anomalous": int((decided < 0).sum()),
    }


def differing_in_bfloat16(name: str) -> int:
    """Return how many decisions about the images differ where the network computes in bfloat16."""
    shape, dtype = SHAPES["images, uint8"]
    detector = EXAMPLES[name]().fit(smooth(shape, FITTED, 0).astype(dtype))
    detector.calibrate(smooth(shape, CALIBRATED, 1).astype(dtype))
    X = smooth(shape, TESTED, 2, 0.5).astype(dtype)
    decided, coarse = detector.predict(X), on_its_own(detector)
    for learner in learners(coarse):
        learner.net_.bfloat16()
    with torch.no_grad():
        decision = Graph(coarse)(torch.from_numpy(X))[2].numpy()
    return int((decision != decided).sum())


def write(rows: list[dict[str, Any]], coarse: dict[str, int] | None = None) -> None:
    record = {"rows": rows, "raw samples": TESTED, "decisions that differ in bfloat16": coarse or {}}
    RESULTS.write_text(json.dumps(record | {"provenance": provenance()}, indent=1) + "\n")


def main(*names: str) -> None:
    """Run all rows, or those named, and write the table; fail if a decision differs or a detector is missing."""
    torch.set_num_threads(1)
    kept = json.loads(RESULTS.read_text())["rows"] if names and RESULTS.exists() else []
    rows = {(one["detector"], one["samples"]): one for one in kept}
    for name, data in product(names or EXAMPLES, SHAPES):
        rows[name, data] = row(name, data)
        print(rows[name, data], flush=True)
        write(list(rows.values()))
    write(list(rows.values()), {name: differing_in_bfloat16(name) for name in COARSE})
    missing = set(subclasses(u.Detector, "detectors")) - {name.partition(",")[0] for name, _ in rows}
    differing = [one["detector"] for one in rows.values() if one.get("differing decisions")]
    if missing or differing:
        raise SystemExit(f"missing: {sorted(missing)}; decisions differ: {differing}")


if __name__ == "__main__":
    main(*sys.argv[1:])
