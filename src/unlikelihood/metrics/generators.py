"""Whether a generator is any good: what its samples are beside real ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

Floats = NDArray[np.floating]

ENOUGH = 256  # with fewer normals, what is good about a generator is noise
MOST = 2000  # normals that its samples are compared with
COMPONENTS = 32  # principal components, where there is no other encoder

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # weights of MS-SSIM, Wang et al., table of section 3.2
WINDOW = 3.0  # width of SSIM's window in standard deviations of 1.5 pixels, on either side


def frechet_distance(real: Floats, made: Floats) -> float:
    r"""Return the Fréchet distance of two Gaussians fitted to features: FID, where an encoder made the features.

    .. math:: \lVert \mu_r - \mu_g \rVert^2 + \mathrm{tr}\bigl(\Sigma_r + \Sigma_g - 2 (\Sigma_r \Sigma_g)^{1/2}\bigr)

    Parameters
    ----------
    real, made : ndarray, shapes (n, d) and (m, d)
        Features of real and of generated samples.

    References
    ----------
    Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017, eq. 6.
    """
    one, other = (np.cov(features, rowvar=False).reshape(real.shape[1], -1) for features in (real, made))
    # The trace of (AB)^1/2 is that of (A^1/2 B A^1/2)^1/2, whose eigenvalues are real.
    root = np.real(sqrtm(one))
    cross = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(0)).sum()
    return float(np.square(real.mean(0) - made.mean(0)).sum() + np.trace(one) + np.trace(other) - 2 * cross)


def kernel_distance(real: Floats, made: Floats) -> float:
    r"""Return the unbiased squared MMD of features under k(a, b) = (a·b / d + 1)³: KID, 0 in the mean for equals.

    References
    ----------
    Bińkowski et al., "Demystifying MMD GANs", 2018, section 4.
    """
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

    The density of real samples is 1, their coverage 1 - 2⁻ᵏ or so. Dropped modes show in the coverage.

    References
    ----------
    Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020, equations 4 and 5.
    """
    neighbours = NearestNeighbors(n_neighbors=k + 1).fit(real)
    radius = neighbours.kneighbors(real)[0][:, k]
    distance = np.sqrt(np.square(real).sum(1)[:, None] + np.square(made).sum(1) - 2 * real @ made.T + 1e-12)
    inside = distance < radius[:, None]
    return float(inside.sum() / (k * len(made))), float(inside.any(1).mean())


def nearest(real: Floats, others: Floats) -> Floats:
    """Return the distance of each of `others`, (m,), to the nearest of `real`."""
    return NearestNeighbors(n_neighbors=1).fit(real).kneighbors(others)[0][:, 0]


def inception_score(probability: Floats) -> float:
    r"""Return the thesis' inception-like score, from the class probabilities (n, k) of generated samples.

    .. math:: \exp E_x \, \mathrm{KL}(p(y \mid x) \,\|\, p(y))

    From 1, if the classifier sees no difference between them, to k, if it is sure of every one and finds all classes
    equally often. Away from the classifier's own domain it does not compare models (Barratt and Sharma, 2018).

    References
    ----------
    Salimans et al., "Improved techniques for training GANs", 2016, section 4.
    """
    p = np.asarray(probability, np.float64).clip(1e-12)
    return float(np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean()))


def inception_scores(real: Floats, made: Floats, count: int = 10) -> tuple[int, float | None, float | None]:
    """Return how many kinds of real samples there are taken to be, and the `inception_score` of `made` and of `real`.

    Nobody labels the kinds of normals: they are clusters of the features, and the classifier is a logistic regression.

    Parameters
    ----------
    real, made : ndarray, shapes (n, d) and (m, d)
        Features of real and of generated samples.
    count : int
        The number of kinds, or as many as there are different samples. Of one kind there are no scores.
    """
    kinds = min(count, len(np.unique(real, axis=0)))
    if kinds < 2:
        return kinds, None, None
    kind = KMeans(kinds, n_init=3, random_state=0).fit_predict(real)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(real, kind)
    of_made, of_real = (inception_score(classifier.predict_proba(features)) for features in (made, real))
    return kinds, of_made, of_real


def ms_ssim(x: Tensor, y: Tensor, span: float) -> Tensor:
    r"""Return the multi-scale structural similarity of pairs of images or volumes: 1 for equal ones.

    .. math:: l_M^{w_M} \prod_{j \le M} (c_j s_j)^{w_j}

    over as many of the paper's five scales as fit the samples, each half the size of the one before, with the weights
    scaled to sum to 1. Negative terms count as 0.

    Parameters
    ----------
    x, y : Tensor
        (B, C, \*space).
    span : float
        Range of the intensities.

    References
    ----------
    Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment", 2003, equation 7.
    """
    axes = x.ndim - 2
    smallest = 2 * round(1.5 * WINDOW) + 1
    scales = max(1, min(len(SCALES), int(np.log2(max(1.0, min(x.shape[2:]) / smallest))) + 1))
    weights = [weight / sum(SCALES[:scales]) for weight in SCALES[:scales]]
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[axes]
    product = torch.ones(len(x), dtype=x.dtype, device=x.device)
    for scale, weight in enumerate(weights):
        luminance, structure = ssim(x, y, span)
        term = structure * luminance if scale == scales - 1 else structure
        product = product * term.flatten(1).mean(1).clamp_min(0) ** weight
        if scale < scales - 1:
            x, y = pool(x, 2), pool(y, 2)
    return product


def ssim(x: Tensor, y: Tensor, span: float) -> tuple[Tensor, Tensor]:
    r"""Return the maps l and c·s of structural similarity, (B, C, \*space), under a Gaussian window of 1.5 pixels."""
    small = (0.01 * span) ** 2, (0.03 * span) ** 2
    mean_x, mean_y = blurred(x), blurred(y)
    variance_x, variance_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + small[0]) / (mean_x**2 + mean_y**2 + small[0])
    return luminance, (2 * covariance + small[1]) / (variance_x + variance_y + small[1])


def blurred(x: Tensor) -> Tensor:
    """Return samples after a Gaussian of 1.5 pixels along each spatial axis, with nothing beyond their borders."""
    reach = round(1.5 * WINDOW)
    window = torch.exp(-((torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device) / 1.5) ** 2) / 2)
    for axis in range(2, x.ndim):
        lines = x.movedim(axis, -1)
        flat = lines.reshape(-1, 1, lines.shape[-1])
        share = F.conv1d(torch.ones_like(flat[:1]), window[None, None], padding=reach)
        flat = F.conv1d(flat, window[None, None], padding=reach) / share
        x = flat.reshape(lines.shape).movedim(-1, axis)
    return x


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
    density, coverage : float
        See `density_and_coverage`; about 1 for real samples.
    diversity : float
        Mean distance of the features of two generated samples over that of two real ones.
    inception, real_inception : float, optional
        See `inception_score`; of generated and of real samples, by a classifier of the `kinds` of real ones.
    kinds : int
        How many kinds it tells apart.
    likeness, real_likeness : float, optional
        MS-SSIM of random pairs of generated and of real samples; for images and volumes.
    novelty : float
        Median distance of generated samples to the nearest training sample, over that of unseen normals.
    """

    frechet: float
    kernel: float
    variance: float
    density: float
    coverage: float
    diversity: float
    novelty: float
    likeness: float | None = None
    real_likeness: float | None = None
    inception: float | None = None
    real_inception: float | None = None
    kinds: int = 0

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong, in plain words; empty if nothing is."""
        found = []
        if self.diversity < 0.5 or (self.coverage < 0.2 and self.density > 0.2):
            found.append(
                f"the generator has collapsed: its samples cover {self.coverage:.0%} of the normal ones and differ "
                f"from one another {self.diversity:.2f} times as much"
            )
        elif self.frechet > 0.7 * self.variance:
            found.append(
                "the generator has not learnt: the normal samples' own mean would stand in for them about as well as "
                f"its samples do (Fréchet distance {self.frechet:.3g}, of the mean {self.variance:.3g})"
            )
        if self.novelty < 0.5:
            found.append(
                "the generator memorises: its samples are "
                f"{self.novelty:.2f} times as far from training samples as unseen normals are"
            )
        return tuple(found)


def quality(
    real: np.ndarray, made: np.ndarray, features: tuple[Floats, Floats], unseen: Floats | None = None
) -> Quality:
    r"""Compare generated samples with real ones.

    Parameters
    ----------
    real, made : ndarray, shapes (n, \*shape) and (m, \*shape)
        Training normals and generated samples.
    features : tuple of ndarray, shapes (n, d) and (m, d)
        What an encoder of the domain makes of both.
    unseen : ndarray, shape (k, d), optional
        Features of normals that were not trained on. Without them each training sample is compared with the others.

    Returns
    -------
    Quality
    """
    one, other = (np.asarray(part, np.float64) for part in features)
    density, coverage = density_and_coverage(one, other)
    if unseen is None:
        apart = NearestNeighbors(n_neighbors=1).fit(one).kneighbors()[0][:, 0]
    else:
        apart = nearest(one, np.asarray(unseen, np.float64))
    likeness = [None, None] if real.ndim == 2 else [_likeness(made, real), _likeness(real, real)]
    kinds, inception, real_inception = inception_scores(one, other)
    return Quality(
        frechet=frechet_distance(one, other),
        kernel=kernel_distance(one, other),
        variance=float(one.var(0).sum()),
        density=density,
        coverage=coverage,
        diversity=_spread(other) / max(_spread(one), 1e-12),
        novelty=float(np.median(nearest(one, other)) / max(np.median(apart), 1e-12)),
        likeness=likeness[0],
        real_likeness=likeness[1],
        inception=inception,
        real_inception=real_inception,
        kinds=kinds,
    )


def quality_of(generator: Generates, X: np.ndarray, encoder: Embeds | None = None) -> Quality:
    r"""Compare samples of a fitted generator with as many normals, by the features of an encoder of their domain.

    Parameters
    ----------
    generator : Generator
        Fitted.
    X : ndarray, shape (n, \*shape)
        The normals that it was fitted to; 2,000 of them are enough.
    encoder : Embedder, optional
        Fitted to normals of this domain, such as `Contrastive`. None takes the first 32 principal components of `X`,
        an encoder of the domain too, that costs no training and sees pixels only.

    Returns
    -------
    Quality
    """
    real = np.asarray(X[np.linspace(0, len(X) - 1, min(MOST, len(X))).astype(int)], np.float32)
    made = generator.generate(len(real))
    embed = encoder.embed if encoder else _principal(real)
    return quality(real, made, (_flat(embed(real)), _flat(embed(made))))


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
