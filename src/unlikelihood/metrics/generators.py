r"""Whether a generator is any good: what its samples are beside real ones.

`real` (n, d) and `made` (m, d) are features of real and of generated samples, by an encoder of their domain.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from scipy.stats import ks_2samp
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from unlikelihood.metrics.similarity import ms_ssim

Floats = NDArray[np.floating]

ENOUGH = 256  # with fewer normals, what is good about a generator is noise
MOST = 2000  # normals that are compared with as many generated samples, and embedded at a time
COMPONENTS = 32  # principal components, where there is no other encoder
CELLS = 20  # clusters of normals, whose shares among generated samples are looked at


def frechet_distance(real: Floats, made: Floats) -> float:
    r"""Return the Fréchet distance of two Gaussians fitted to features: FID (Heusel et al., 2017, equation 6).

    .. math:: \lVert \mu_r - \mu_g \rVert^2 + \mathrm{tr}\bigl(\Sigma_r + \Sigma_g - 2 (\Sigma_r \Sigma_g)^{1/2}\bigr)
    """
    one, other = (np.cov(features, rowvar=False).reshape(real.shape[1], -1) for features in (real, made))
    # The trace of (AB)^1/2 is that of (A^1/2 B A^1/2)^1/2, whose eigenvalues are real.
    root = np.real(sqrtm(one))
    cross = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(0)).sum()
    return float(np.square(real.mean(0) - made.mean(0)).sum() + np.trace(one) + np.trace(other) - 2 * cross)


def kernel_distance(real: Floats, made: Floats) -> float:
    """Return the unbiased squared MMD under k(a, b) = (a·b / d + 1)³: KID (Bińkowski et al., 2018, section 4)."""
    n, m, d = len(real), len(made), real.shape[1]

    def kernel(a: Floats, b: Floats) -> Floats:
        return (a @ b.T / d + 1) ** 3

    rr, gg = kernel(real, real), kernel(made, made)
    within = (rr.sum() - np.trace(rr)) / (n * (n - 1)) + (gg.sum() - np.trace(gg)) / (m * (m - 1))
    return float(within - 2 * kernel(real, made).mean())


def density_and_coverage(real: Floats, made: Floats, k: int = 5) -> tuple[float, float]:
    r"""Return how densely real samples lie around generated ones, and which share of them has one near.

    With B_i the ball around real sample i that reaches its k-th real neighbour, N real and M generated samples,

    .. math:: \frac{1}{kM} \sum_j \sum_i 1[g_j \in B_i], \qquad \frac{1}{N} \sum_i 1[\exists j: g_j \in B_i].

    The density of real samples is 1, their coverage 1 - 2⁻ᵏ or so (Naeem et al., 2020, equations 4 and 5).
    """
    radius = NearestNeighbors(n_neighbors=k).fit(real).kneighbors()[0][:, -1]
    square = np.square(real).sum(1)[:, None] + np.square(made).sum(1) - 2 * real @ made.T
    inside = np.sqrt(square.clip(1e-12)) < radius[:, None]
    return float(inside.sum() / (k * len(made))), float(inside.any(1).mean())


def missing_share(real: Floats, made: Floats) -> float:
    r"""Return the share of the normals that generated samples leave out, however real or not they look.

    Real samples are clustered into 20 cells, of which real samples have the shares r and generated ones g:

    .. math:: \frac{T - T_0}{1 - T_0}, \quad T = \frac{1}{2} \sum_c |r_c - g_c|,
              \quad T_0 = \frac{1}{2} \sum_c \sqrt{\tfrac{2}{\pi} r_c (1 - r_c) (\tfrac{1}{n} + \tfrac{1}{m})}

    T₀ is the mean of T for unseen normals, so that these have about 0; of ten equal modes, three have 0.7.
    """
    count = min(CELLS, len(np.unique(real, axis=0)))
    cells = KMeans(count, n_init=3, random_state=0).fit(real)
    r, g = (np.bincount(cells.predict(features), minlength=count) / len(features) for features in (real, made))
    chance = np.sqrt(2 / np.pi * r * (1 - r) * (1 / len(real) + 1 / len(made))).sum() / 2
    return float((np.abs(r - g).sum() / 2 - chance) / (1 - chance))


def copied_share(real: Floats, made: Floats, training: Iterable[Floats] | None = None) -> float:
    r"""Return the share of generated samples that lie nearer to a training sample than unseen normals would.

    With d₁ and d₂ the distances to the nearest and the second nearest training sample (of a training sample: among the
    others), it is the Kolmogorov-Smirnov statistic

    .. math:: \max_t \; P_\text{made}(d_1 / d_2 \le t) - P_\text{training}(d_1 / d_2 \le t).

    The ratio does not depend on how dense normals are (Yoon et al., 2023). Unseen normals have about 0, copies 1.
    `training` are the features of all training samples, in blocks, where `real` are a part of them.
    """
    of_made, of_real = np.empty((len(made), 0)), np.empty((len(real), 0))
    for block in (real,) if training is None else training:
        index = NearestNeighbors(n_neighbors=min(3, len(block))).fit(block)
        of_made, of_real = (
            np.sort(np.hstack([found, index.kneighbors(features)[0]]))[:, :3]
            for found, features in ((of_made, made), (of_real, real))
        )
    made_, unseen = of_made[:, :2], of_real[:, 1:]
    tiny = 1e-5 * np.median(unseen) + 1e-300
    ours, others = (np.where(d[:, 0] > tiny, d[:, 0] / d[:, 1].clip(tiny), 0) for d in (made_, unseen))
    return float(ks_2samp(ours, others, alternative="greater", method="asymp").statistic)


def inception_score(probability: Floats) -> float:
    r"""Return the thesis' inception-like score, from the class probabilities (n, k) of generated samples.

    .. math:: \exp E_x \, \mathrm{KL}(p(y \mid x) \,\|\, p(y))

    From 1, if the classifier sees no difference between them, to k, if it is sure of every one and finds all classes
    equally often (Salimans et al., 2016, section 4). Away from the classifier's own domain it does not compare models.
    """
    p = np.asarray(probability, np.float64).clip(1e-12)
    return float(np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean()))


def inception_scores(real: Floats, made: Floats, count: int = 10) -> tuple[int, float | None, float | None]:
    """Return the number of kinds of real samples, `count` or fewer, and the `inception_score` of `made` and of `real`.

    Nobody labels the kinds of normals: they are clusters of the features, and the classifier is a logistic regression.
    Of one kind there are no scores.
    """
    kinds = min(count, len(np.unique(real, axis=0)))
    if kinds < 2:
        return kinds, None, None
    kind = KMeans(kinds, n_init=3, random_state=0).fit_predict(real)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(real, kind)
    of_made, of_real = (inception_score(classifier.predict_proba(features)) for features in (made, real))
    return kinds, of_made, of_real


class Generates(Protocol):
    """What `quality_of` asks of a generator."""

    def generate(self, n: int) -> NDArray[Any]: ...  # noqa: D102


class Embeds(Protocol):
    """And of an encoder."""

    def embed(self, X: NDArray[Any]) -> NDArray[Any]: ...  # noqa: D102


@dataclass(frozen=True)
class Quality:
    """What a generator's samples are beside real ones.

    Parameters
    ----------
    frechet, kernel : float
        FID and KID, in the units of the features.
    variance : float
        Total variance of the real features: what FID is of a generator that makes nothing but their mean.
    density, coverage, missing, copied : float
        See `density_and_coverage`, `missing_share` and `copied_share`.
    diversity : float
        Mean distance of the features of two generated samples over that of two real ones.
    likeness, real_likeness : float, optional
        MS-SSIM of random pairs of generated and of real samples; for images and volumes.
    inception, real_inception : float, optional
        See `inception_score`; of generated and of real samples, by a classifier of the `kinds` of real ones.
    kinds : int
        How many kinds it tells apart.
    """

    frechet: float
    kernel: float
    variance: float
    density: float
    coverage: float
    diversity: float
    missing: float
    copied: float
    likeness: float | None = None
    real_likeness: float | None = None
    inception: float | None = None
    real_inception: float | None = None
    kinds: int = 0

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong, in plain words; empty if nothing is.

        The limits are sizes of faults. Unseen normals, 256 of them or more, keep below 0.1 of missing kinds and 0.2 of
        copies; they would exceed 0.12 of copies among 500 once in a thousand times.
        """
        found = []
        astray = self.frechet > 0.7 * self.variance
        narrow = self.density > 0.2 and self.coverage < 0.2
        # Samples that are nowhere near a normal one leave all of them out, and that is another fault.
        lacking = self.missing > 0.25 and (self.density > 0.2 or not astray)
        if self.diversity < 0.5 or narrow or lacking:
            found.append(
                f"the generator has collapsed: {max(self.missing, 0):.0%} of the normal samples are of kinds that it "
                f"leaves out, {self.coverage:.0%} have one of its samples near, and these differ from one another "
                f"{self.diversity:.2f} times as much"
            )
        elif astray:
            found.append(
                "the generator has not learnt: the normal samples' own mean would stand in for them about as well as "
                f"its samples do (Fréchet distance {self.frechet:.3g}, of the mean {self.variance:.3g})"
            )
        if self.copied > 1 / 3:
            found.append(
                f"the generator memorises: {self.copied:.0%} of its samples are nearer to a training sample than "
                "unseen normals are"
            )
        return tuple(found)


def quality(
    real: np.ndarray, made: np.ndarray, features: tuple[Floats, Floats], training: Iterable[Floats] | None = None
) -> Quality:
    r"""Compare generated samples with real ones.

    Parameters
    ----------
    real, made : ndarray, shapes (n, \*shape) and (m, \*shape)
        Training normals and generated samples.
    features : tuple of ndarray, shapes (n, d) and (m, d)
        What an encoder of the domain makes of both.
    training : iterable of ndarray, shapes (k, d), optional
        Features of all training normals, in blocks, where `real` are a part of them.
    """
    one, other = (np.asarray(part, np.float64) for part in features)
    density, coverage = density_and_coverage(one, other)
    likeness = [None, None] if real.ndim == 2 else [_likeness(made, real), _likeness(real, real)]
    kinds, inception, real_inception = inception_scores(one, other)
    return Quality(
        frechet=frechet_distance(one, other),
        kernel=kernel_distance(one, other),
        variance=float(one.var(0).sum()),
        density=density,
        coverage=coverage,
        diversity=_spread(other) / max(_spread(one), 1e-12),
        missing=missing_share(one, other),
        copied=copied_share(one, other, training),
        likeness=likeness[0],
        real_likeness=likeness[1],
        inception=inception,
        real_inception=real_inception,
        kinds=kinds,
    )


def quality_of(generator: Generates, X: np.ndarray, encoder: Embeds | None = None) -> Quality:
    r"""Compare samples of a fitted generator with normals, by the features of an encoder of their domain.

    Parameters
    ----------
    generator : Generator
        Fitted.
    X : ndarray, shape (n, \*shape)
        All normals that it was fitted to: a copy is found only of a sample that is among them.
    encoder : Embedder, optional
        Fitted to normals of this domain, such as `Contrastive`. None takes the first 32 principal components of `X`,
        an encoder of the domain too, that costs no training and sees pixels only.
    """
    real = np.asarray(X[np.linspace(0, len(X) - 1, min(MOST, len(X))).astype(int)], np.float32)
    made = generator.generate(len(real))
    embed = encoder.embed if encoder else _principal(real)

    def features(samples: np.ndarray) -> Floats:
        return _flat(embed(np.asarray(samples, np.float32))).astype(np.float64)

    # Block by block, for X may be a memory map.
    blocks = (features(X[start : start + MOST]) for start in range(0, len(X), MOST))
    return quality(real, made, (features(real), features(made)), blocks)


def _principal(real: np.ndarray) -> Callable[[np.ndarray], Floats]:
    """Return what maps samples to the principal components of real ones."""
    components = PCA(min(COMPONENTS, *_flat(real).shape), random_state=0).fit(_flat(real))
    return lambda X: components.transform(_flat(X))


def _flat(X: np.ndarray) -> np.ndarray:
    return X.reshape(len(X), -1)


def _spread(features: Floats) -> float:
    """Mean distance of pairs: of each with the one half the set away."""
    return float(np.linalg.norm(features - np.roll(features, len(features) // 2, axis=0), axis=1).mean())


def _likeness(pixels: np.ndarray, real: np.ndarray) -> float:
    few = torch.from_numpy(np.array(pixels[:200], np.float32))
    return float(ms_ssim(few, few.roll(len(few) // 2, 0), float(np.ptp(real)) or 1.0).mean())
