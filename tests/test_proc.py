"""DeLong's figures against those of R's pROC, to all the digits that it prints.

The data are the 113 patients of Turck et al. (2010), Intensive Care Medicine 36:107, the published example of pROC
(Robin et al., 2011, BMC Bioinformatics 12:77): poor outcome after subarachnoid haemorrhage, a clinical grade and two
blood markers. The expected figures were printed by pROC 1.18.0 under R 4.2.
"""

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm

from unlikelihood.metrics.intervals import bootstrap, delong, paired_delong
from unlikelihood.metrics.ranking import auroc


def numbers(text):
    return np.array([float(word) for word in text.split()])


OUTCOME = numbers(
    """
    0 0 0 0 1 1 0 1 0 0 1 0 1 1 0 0 1 0 1 1 1 0 1 0 0 0 0 0 0 0 0 0 1 0 0 1 1 0 1 1 0 0 0 0 0 0 0 0 0 1 1 0 0 0 1
    0 0 0 1 0 1 0 0 1 1 1 0 1 1 0 1 1 1 1 0 0 0 1 1 0 1 0 0 0 0 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 1 1 1 1 1 1 0 0 0 1
    0 0 0
    """
)
WFNS = numbers(
    """
    1 1 1 1 3 2 5 4 1 2 5 2 5 5 1 2 5 2 2 5 2 1 1 1 1 2 1 2 1 1 3 4 2 1 4 5 4 1 4 2 5 5 1 1 2 4 1 1 2 5 5 2 1 2 5
    1 2 2 2 1 5 1 1 2 5 2 1 4 5 2 4 4 1 4 1 2 1 4 2 1 2 3 2 4 2 1 4 5 1 1 5 4 2 2 1 1 1 3 1 2 5 2 2 5 5 5 2 4 4 5
    1 1 1
    """
)
S100B = numbers(
    """
    0.13 0.14 0.1 0.04 0.13 0.1 0.47 0.16 0.18 0.1 0.12 0.1 0.44 0.71 0.04 0.08 0.49 0.04 0.07 0.33 0.09 0.09 0.07
    0.11 0.07 0.17 0.07 0.11 0.13 0.19 0.05 0.16 0.41 0.14 0.34 0.35 0.48 0.09 0.96 0.25 0.5 0.46 0.16 0.07 0.43
    0.45 0.11 0.08 0.09 0.86 0.52 0.08 0.06 0.13 2.07 0.1 0.14 0.15 0.07 0.06 0.77 0.05 0.09 0.3 0.03 0.09 0.04
    0.23 0.7 0.09 0.27 0.71 0.08 0.26 0.08 0.16 0.09 0.13 0.1 0.08 0.11 0.33 0.11 0.28 0.07 0.1 0.32 0.22 0.07
    0.05 0.24 0.38 0.1 0.15 0.08 0.14 0.1 0.07 0.04 0.19 0.56 0.14 0.58 0.32 0.82 0.74 0.15 0.47 0.17 0.44 0.15
    0.5 0.48
    """
)
NDKA = numbers(
    """
    3.01 8.54 8.09 10.42 17.4 12.75 6 13.2 15.54 6.01 15.96 17.86 5.18 8.9 13.41 20.75 11.6 16.11 32.37 54.82
    32.41 49.94 40.34 9.47 6.29 12.53 6.54 6.3 80.3 12.8 9.8 9.81 9.85 18.21 5.03 14.04 21.93 8.02 7.42 8.38 6.59
    9.63 13.12 7.96 14.34 41.43 7.63 7.06 12.59 13.56 3.87 9.44 7.66 12.98 419.19 27.19 22.27 9.95 21.22 11.73
    10.4 58.83 6.39 11.09 12.22 13.67 17.21 22.63 12.9 9.7 21.57 8.23 72.57 15.54 10.51 10.6 14.57 5.19 9.63 4.61
    21.48 17.3 12.71 9.44 11.07 19.46 10.83 5.37 11.97 7.75 9.83 10.55 28.49 8.53 12.57 12.9 46.83 11.68 12.67
    9.01 9.57 34.06 11.72 14.26 47.61 11.67 24.58 10.33 13.87 15.89 22.43 6.79 13.45
    """
)

PUBLISHED = {  # AUC, its 95 % CI, its variance
    "s100b": (S100B, 0.731368563686, 0.630118211762, 0.83261891561, 0.00266868245717),
    "ndka": (NDKA, 0.61195799458, 0.501244999272, 0.722670989888, 0.00319081054939),
    "wfns": (WFNS, 0.823678861789, 0.748534887819, 0.898822835758, 0.00146991470882),
}
COMPARED = {  # Z, p-value, 95 % CI of the difference, covariance
    "s100b, ndka": (S100B, NDKA, 1.3907700257356, 0.1642951752231, -0.0488706064228, 0.2876917446342, -7.56164938e-4),
    "wfns, s100b": (WFNS, S100B, 2.2089835914409, 0.0271757822292, 0.0104061769565, 0.1742144192495, 1.19615567377e-3),
    "wfns, ndka": (WFNS, NDKA, 2.79777591868904, 0.00514557970691, 0.063401170934, 0.3600405634834, -5.32967857e-4),
}


@pytest.mark.parametrize("marker", PUBLISHED)
def test_auroc_and_variance_are_those_of_proc(marker):
    score, area, low, high, variance = PUBLISHED[marker]
    interval = delong(OUTCOME, score)
    # pROC's interval is symmetric, ours is on the logit scale; both have the same variance below them.
    deviation = (logit(interval.high) - logit(area)) * area * (1 - area) / norm.ppf(0.975)
    assert interval.value == pytest.approx(area, rel=1e-11)
    assert deviation**2 == pytest.approx(variance, rel=1e-9)
    assert (area - norm.ppf(0.975) * deviation, area + norm.ppf(0.975) * deviation) == pytest.approx((low, high))
    assert interval.low == pytest.approx(expit(logit(area) - norm.ppf(0.975) * deviation / (area * (1 - area))))


@pytest.mark.parametrize("markers", COMPARED)
def test_the_paired_test_is_that_of_proc(markers):
    a, b, z, p_value, low, high, covariance = COMPARED[markers]
    difference = paired_delong(OUTCOME, a, b)
    deviation = (difference.interval.high - difference.interval.value) / norm.ppf(0.975)
    assert difference.interval.value / deviation == pytest.approx(z, rel=1e-9)
    assert difference.p_value == pytest.approx(p_value, rel=1e-9)
    assert (difference.interval.low, difference.interval.high) == pytest.approx((low, high), rel=1e-9)
    first, second = (PUBLISHED[name][4] for name in markers.split(", "))
    assert difference.correlation * np.sqrt(first * second) == pytest.approx(covariance, rel=1e-7)


@pytest.mark.parametrize("marker", PUBLISHED)
def test_the_bootstrap_agrees(marker):
    score, *_, variance = PUBLISHED[marker]
    interval = bootstrap(auroc, OUTCOME, score, draws=1000)
    assert (interval.high - interval.low) / (2 * norm.ppf(0.975)) == pytest.approx(np.sqrt(variance), rel=0.08)
