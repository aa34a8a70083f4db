"""Whether the guarantees hold: false alarms, false discoveries, coverage, power and drift, counted.

python -m benchmarks.decisions [coverage | MNIST | power | drift | ...]
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import ndtri
from scipy.stats import betabinom, binom, rankdata

from unlikelihood import KNN, LOF, MNIST, Conformal, IsolationForest, PCAResidual
from unlikelihood.decisions.drift import Martingale
from unlikelihood.decisions.guarantees import Marginal, MonteCarlo, Simes
from unlikelihood.decisions.pvalues import discoveries, p_values
from unlikelihood.decisions.shift import density_ratio, weighted_discoveries, weighted_p_values
from unlikelihood.metrics.intervals import bootstrap, delong, paired_delong
from unlikelihood.metrics.power import cases_needed
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "decisions.json"
ALPHAS = (0.01, 0.05, 0.1)


def limits(alpha: float, calibration: int, new: int, draws: int) -> list[float]:
    """Central 99.9 % of the mean false-alarm rate over `draws`; alarms of one draw share its calibration set."""
    k = int(alpha * (calibration + 1) + 1e-9)
    deviation = np.sqrt(betabinom.var(new, k, calibration + 1 - k) / draws) / new
    mean = k / (calibration + 1)
    return [round(float(mean + z * deviation), 5) for z in (-3.29, 3.29)]


def rates(alarms: dict[float, list[float]], calibration: int, new: int) -> dict[str, object]:
    return {
        str(alpha): {
            "mean": round(float(np.mean(realised)), 5),
            "sd over draws": round(float(np.std(realised, ddof=1)), 5),
            "limits of the marginal promise": limits(alpha, calibration, new, len(realised)),
            "draws": len(realised),
            "draws above alpha": int(np.sum(np.array(realised) > alpha)),
        }
        for alpha, realised in alarms.items()
    }


def synthetic_false_alarms(seed: int, calibration: int = 199, new: int = 500, draws: int = 200) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    alarms: dict[float, list[float]] = {alpha: [] for alpha in ALPHAS}
    first = dict.fromkeys(ALPHAS, 0)
    for scores in -rng.standard_cauchy((draws, calibration + new)):
        p = p_values(scores[:calibration], scores[calibration:])
        for alpha in ALPHAS:
            alarms[alpha].append(float(np.mean(p <= alpha)))
            first[alpha] += int(p[0] <= alpha)
    one = {
        str(alpha): {"alarms": first[alpha], "limits": binom.ppf([0.0005, 0.9995], draws, alpha).tolist()}
        for alpha in ALPHAS
    }
    return rates(alarms, calibration, new) | {"one new sample a draw, so strictly binomial": one}


def digit_false_alarms(
    seeds: int = 20, train: int = 8000, calibration: int = 999, new: int = 1000
) -> dict[str, object]:
    """Normals of MNIST's train file, dealt at random to training, calibration and test; then those of its test file.

    The test file is by other writers, so there the promise need not hold.
    """
    images = MNIST().read()
    files = {"same file": "train/", "test file": "test/"}
    pools = {
        name: np.flatnonzero(np.char.startswith(images.name, prefix) & (images.label == 0))
        for name, prefix in files.items()
    }
    guarantees = {"marginal": Marginal(), "simes": Simes(0.1), "monte carlo": MonteCarlo(0.1)}
    alarms: dict[str, dict[float, list[float]]] = {}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        dealt = rng.permutation(pools["same file"])[: train + calibration + new]
        fitted, held_out, fresh = np.split(dealt, [train, train + calibration])
        conformal = Conformal(PCAResidual().fit(images.pixels[fitted])).fit(images.pixels[held_out])
        unseen = {"same file": fresh, "test file": rng.permutation(pools["test file"])[:new]}
        for place, rows in unseen.items():
            score = conformal.score_samples(images.pixels[rows])
            for name, guarantee in guarantees.items():
                p = p_values(conformal.calibration_, score, guarantee)
                each = alarms.setdefault(f"{name}, {place}", {alpha: [] for alpha in ALPHAS})
                for alpha in ALPHAS:
                    each[alpha].append(float(np.mean(p <= alpha)))
    return {name: rates(each, calibration, new) for name, each in alarms.items()}


def false_discoveries(seed: int, draws: int = 1000, rate: float = 0.1) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    wrong, found = [], []
    for scores in -rng.normal(size=(draws, 1000 + 200)):
        scores[1180:] -= 3.5
        called = discoveries(p_values(scores[:1000], scores[1000:]), rate)
        wrong.append(called[:180].sum() / max(called.sum(), 1))
        found.append(called[180:].mean())
    return {
        "promised": rate,
        "expected for 180 normals of 200": rate * 0.9,
        "realised": round(float(np.mean(wrong)), 4),
        "standard error": round(float(np.std(wrong) / np.sqrt(draws)), 4),
        "anomalies found": round(float(np.mean(found)), 3),
    }


def rank_auroc(label: np.ndarray, score: np.ndarray) -> float:
    """`metrics.auroc` without its checks, which would take most of the time of a million draws."""
    anomalous = int(label.sum())
    ranks = rankdata(score)[label == 1].sum()
    return float((ranks - anomalous * (anomalous + 1) / 2) / (anomalous * (len(label) - anomalous)))


def coverage(seed: int, sets: int = 500, auc: float = 0.8) -> dict[str, object]:
    """How often 95 % intervals of the AUROC cover the truth: independent samples, then patients of several."""
    rng = np.random.default_rng(seed)
    shift = np.sqrt(2) * ndtri(auc)
    resampled = partial(bootstrap, rank_auroc, draws=1000)  # as `evaluate` has it
    covered: dict[str, list[bool]] = {}

    def count(name, interval):
        covered.setdefault(name, []).append(interval.low <= auc <= interval.high)

    for number in range(sets):
        label = np.repeat([0, 1], 100)
        score = rng.normal(size=200) + shift * label
        count("independent samples, DeLong", delong(label, score))
        count("independent samples, bootstrap", resampled(label, score, seed=number))
        # 60 + 60 patients of 1 to 7 samples, half of whose variance is the patient's own.
        size = rng.integers(1, 8, 120)
        group = np.repeat(np.arange(120), size)
        label = np.repeat(np.repeat([0, 1], 60), size)
        patient, own = rng.normal(size=120)[group], rng.normal(size=len(group))
        score = np.sqrt(0.5) * (patient + own) + shift * label
        count("patients, bootstrap by patient", resampled(label, score, group, seed=number))
        count("patients, naive DeLong", delong(label, score))
        count("patients, naive bootstrap", resampled(label, score, seed=number))
    return {name: round(float(np.mean(each)), 4) for name, each in covered.items()} | {"data sets": sets}


def power(seed: int, sets: int = 1000) -> dict[str, object]:
    rng = np.random.default_rng(seed)

    def draw(n):
        label = np.repeat([0, 1], n)
        shared, own = rng.normal(size=2 * n), rng.normal(size=(2, 2 * n))
        return label, *(
            np.sqrt(0.5) * (shared + e) + np.sqrt(2) * ndtri(a) * label for e, a in zip(own, (0.85, 0.8), strict=True)
        )

    r = paired_delong(*draw(5000)).correlation
    needed = cases_needed(0.85, 0.8, r, power=0.8)
    found = np.mean([paired_delong(*draw(needed.anomalous)).p_value < 0.05 for _ in range(sets)])
    return {"AUROCs": [0.85, 0.8], "correlation": round(r, 3), "cases a class": needed.anomalous,
            "promised": 0.8, "realised": round(float(found), 3)}  # fmt: skip


def drift_alarms(seed: int, streams: int = 500, length: int = 500) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    result = {}
    for shift in (0.0, 0.25, 0.5, 1.0):
        alarms = []
        for _ in range(streams):
            known, new = -rng.normal(size=1000), -rng.normal(size=length) - shift
            alarms.append(Martingale(rate=0.01).test(known, new).alarm_at)
        raised = [at for at in alarms if at is not None]
        result[f"scores shifted by {shift:g} sd"] = {
            "alarms": round(len(raised) / streams, 4),
            "median samples to the alarm": float(np.median(raised)) if raised else None,
        }
    return result


def shifts(seed: int, draws: int = 1000, rate: float = 0.1) -> dict[str, object]:
    """Count false alarms and false discoveries where a covariate of the normals has another mean than it had.

    Normals are four noisy readings of a covariate, which is known of every sample; anomalies have one reading off. The
    detector was fitted before the shift.
    """
    rng = np.random.default_rng(seed)

    def draw(n: int, mean: float, off: int = 0) -> tuple[np.ndarray, np.ndarray]:
        covariate = rng.normal(mean, 1, n)
        X = covariate[:, None] + rng.normal(0, 0.5, (n, 4))
        X[:off, 0] += 6
        return covariate, X

    train = draw(500, 0)[1]
    result = {}
    for detector in (PCAResidual(1), KNN(), LOF(), IsolationForest()):
        detector.fit(train)
        alarms, wrong, found = ({name: [] for name in ("unweighted", "known", "estimated")} for _ in range(3))
        for _ in range(draws):
            (known, X), (new, Y) = draw(500, 0), draw(100, 0.7, off=20)
            scores = detector.score_samples(X), detector.score_samples(Y)
            ratio = density_ratio(known[:, None], new[:, None])
            for name, weights in {
                "unweighted": (np.ones(len(known)), np.ones(len(new))),
                "known": (np.exp(0.7 * known), np.exp(0.7 * new)),
                "estimated": (ratio(known[:, None]), ratio(new[:, None])),
            }.items():
                called = weighted_discoveries(*scores, *weights, rate)
                alarms[name].append(np.mean(weighted_p_values(*scores, *weights)[20:] <= rate))
                wrong[name].append(called[20:].sum() / max(called.sum(), 1))
                found[name].append(called[:20].mean())
        result[type(detector).__name__] = {
            f"weights {name}": {
                "false alarms": round(float(np.mean(alarms[name])), 4),
                "false discoveries": round(float(np.mean(wrong[name])), 4),
                "standard error": round(float(np.std(wrong[name]) / np.sqrt(draws)), 4),
                "anomalies found": round(float(np.mean(found[name])), 3),
            }
            for name in alarms
        }
    return {"promised": rate, "draws": draws} | result


PARTS = {
    "false alarms, synthetic scores": partial(synthetic_false_alarms, 0),
    "false alarms, MNIST normals, PCAResidual, 20 splits": digit_false_alarms,
    "false discoveries, Benjamini-Hochberg": partial(false_discoveries, 1),
    "coverage of 95 % AUROC intervals": partial(coverage, 2),
    "power": partial(power, 3),
    "drift, martingale at a false-alarm rate of 0.01": partial(drift_alarms, 4),
    "covariate shift": partial(shifts, 5),
}


def main(words: list[str]) -> None:
    """Run the parts whose names hold one of the words, or all, and keep what is known of the others."""
    RESULTS.parent.mkdir(exist_ok=True)
    for name, part in PARTS.items():
        if not words or any(word in name for word in words):
            counted = part() | {"provenance": provenance()}
            print(name, json.dumps(counted, indent=1), flush=True)
            results = (json.loads(RESULTS.read_text()) if RESULTS.exists() else {}) | {name: counted}
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
