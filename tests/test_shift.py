"""Weighted p-values: what they promise where normals come from elsewhere than the calibration did."""

import numpy as np
import pytest

from unlikelihood.decisions.pvalues import discoveries, p_values
from unlikelihood.decisions.shift import density_ratio, weighted_discoveries, weighted_p_values

CALIBRATION, NEW, DRAWS = 500, 100, 300


def shifted(rng, anomalies=0):
    """Covariates of calibration and batch; the score falls with the covariate, which is larger in the batch."""
    known, new = rng.normal(0, 1, CALIBRATION), rng.normal(1, 1, NEW)
    scores = [-x + rng.normal(0, 0.5, len(x)) for x in (known, new)]
    scores[1][:anomalies] -= 8
    return (*scores, np.exp(known - 0.5), np.exp(new - 0.5))


def test_equal_weights_are_no_weights(rng):
    for _ in range(50):
        known, new = rng.integers(0, 30, 60), rng.integers(-5, 30, 20)  # with ties
        one, other = np.full(60, 0.3), np.full(20, 0.3)
        assert weighted_p_values(known, new, one, other) == pytest.approx(p_values(known, new))
        called = weighted_discoveries(known, new, one, other, 0.3)
        assert np.array_equal(called, discoveries(p_values(known, new), 0.3))


def test_false_alarms_keep_to_their_rate_under_a_shift_where_those_without_weights_do_not(rng):
    weighted, plain = [], []
    for _ in range(DRAWS):
        known, new, *weights = shifted(rng)
        weighted.append(np.mean(weighted_p_values(known, new, *weights) <= 0.1))
        plain.append(np.mean(p_values(known, new) <= 0.1))
    assert np.mean(weighted) < 0.1 + 3 * np.std(weighted) / np.sqrt(DRAWS)
    assert np.mean(weighted) > 0.05  # not by never calling
    assert np.mean(plain) > 0.2


def test_false_discoveries_keep_to_their_rate_under_a_shift(rng):
    shares, found, plain = [], [], []
    for _ in range(DRAWS):
        known, new, *weights = shifted(rng, anomalies=20)
        called = weighted_discoveries(known, new, *weights, rate=0.2)
        unweighted = discoveries(p_values(known, new), 0.2)
        shares.append(called[20:].sum() / max(1, called.sum()))
        plain.append(unweighted[20:].sum() / max(1, unweighted.sum()))
        found.append(called[:20].mean())
    assert np.mean(shares) < 0.2 + 3 * np.std(shares) / np.sqrt(DRAWS)
    assert np.mean(plain) > 0.25
    assert np.mean(found) > 0.5


def test_the_ratio_is_estimated_from_covariates_alone(rng):
    weight = density_ratio(rng.normal(0, 1, (4000, 2)), rng.normal([1, 0], 1, (4000, 2)))
    x = rng.normal(0.5, 0.5, (200, 2))
    assert np.log(weight(x)) == pytest.approx(x[:, 0] - 0.5, abs=0.3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"calibration": []}, "calibration"),
        ({"calibration": [1, np.nan]}, "calibration"),
        ({"score": [np.nan]}, "score holds nan"),
        ({"known": [1, 0]}, "known holds a weight"),
        ({"new": [np.inf]}, "new holds a weight"),
        ({"known": [1]}, "known has shape"),
        ({"new": [1, 1]}, "new has shape"),
    ],
)
def test_what_cannot_be_weighed_is_refused(changes, words):
    given = {"calibration": [1, 2], "score": [1], "known": [1, 1], "new": [1]} | changes
    for function in (weighted_p_values, weighted_discoveries):
        with pytest.raises(ValueError, match=words):
            function(**given)


def test_a_batch_of_nothing_has_no_discoveries():
    assert weighted_discoveries([1, 2], [], [1, 1], []).shape == (0,)
