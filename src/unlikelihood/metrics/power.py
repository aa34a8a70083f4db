"""How many cases it takes to tell two detectors apart."""

import math
from dataclasses import dataclass

from scipy.special import owens_t
from scipy.stats import norm


@dataclass(frozen=True)
class SampleSize:
    """Numbers of test samples of each class, of independent patients where patients have several."""

    anomalous: int
    normal: int


def cases_needed(
    auroc_a: float,
    auroc_b: float,
    correlation: float = 0.5,
    normal_per_anomalous: float = 1.0,
    power: float = 0.8,
    level: float = 0.95,
) -> SampleSize:
    r"""Return how many cases a test of two AUROCs on the same samples needs to find their difference.

    .. math:: m = \left( \frac{z_{(1 + \text{level})/2} \sqrt{V_0} + z_{\text{power}} \sqrt{V_A}}
                         {\theta_a - \theta_b} \right)^2, \qquad
              V_A = V(\theta_a) + V(\theta_b) - 2 r \sqrt{V(\theta_a) V(\theta_b)}

    V₀ is the same with both AUROCs at their mean, and for m anomalies and κ m normals, both with normal scores of
    one variance,

    .. math:: V(\theta) = (1 + 1/\kappa) \bigl[ \Phi_2(q, q; \tfrac12) - \theta^2 \bigr], \qquad q = \Phi^{-1}(\theta)

    Parameters
    ----------
    auroc_a, auroc_b : float
        The two AUROCs whose difference is to be found, strictly between 0 and 1.
    correlation : float
        r of the two estimates on the same samples, at least −1 and below 1: 0 for different samples,
        `Difference.correlation` of a pilot for the same.
    normal_per_anomalous : float
        κ, above 0.
    power : float
        Probability of finding the difference, strictly between 0 and 1.
    level : float
        Confidence of the two-sided test, strictly between 0 and 1.

    Returns
    -------
    SampleSize
        Rounded up. Of samples that are not independent, more are needed.

    Raises
    ------
    ValueError
        If the AUROCs are equal or an argument is out of its bounds.

    References
    ----------
    Obuchowski & McClish (1997), Statistics in Medicine 16:1529, for m; Hanley & McNeil (1983), Radiology 148:839,
    for r.

    Examples
    --------
    >>> cases_needed(0.84, 0.80, correlation=0.5)
    SampleSize(anomalous=418, normal=418)
    """
    shares = {"auroc_a": auroc_a, "auroc_b": auroc_b, "power": power, "level": level}
    for name, value in shares.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}")
    if auroc_a == auroc_b:
        raise ValueError(f"auroc_a and auroc_b must differ, got {auroc_a} twice: no number of cases separates them")
    if not -1 <= correlation < 1:
        raise ValueError(f"correlation must be at least -1 and below 1, got {correlation}")
    if not normal_per_anomalous > 0:
        raise ValueError(f"normal_per_anomalous must be above 0, got {normal_per_anomalous}")
    a, b, mean = (
        binormal_variance(auroc, normal_per_anomalous) for auroc in (auroc_a, auroc_b, (auroc_a + auroc_b) / 2)
    )
    null = 2 * mean * (1 - correlation)
    alternative = a + b - 2 * correlation * math.sqrt(a * b)
    quantiles = norm.ppf((1 + level) / 2) * math.sqrt(null) + norm.ppf(power) * math.sqrt(alternative)
    m = (quantiles / (auroc_a - auroc_b)) ** 2
    return SampleSize(max(2, math.ceil(m)), max(2, math.ceil(m * normal_per_anomalous)))


def binormal_variance(auroc: float, normal_per_anomalous: float = 1.0) -> float:
    r"""Return m times the variance of an AUROC from m anomalies, where both classes have normal scores.

    It is V(θ) as in `cases_needed`, for many cases: a term of 1/m is left out. The chance Φ₂(q, q; ½) that two
    anomalies both outrank a normal is θ − 2 T(q, 1/√3), T being Owen's.

    References
    ----------
    Hanley & McNeil (1982), Radiology 143:29, with the Q₁ = Q₂ of normal scores.
    """
    both = auroc - 2 * float(owens_t(norm.ppf(auroc), 1 / math.sqrt(3)))
    return (1 + 1 / normal_per_anomalous) * (both - auroc**2)
