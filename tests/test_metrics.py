import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

from unlikelihood.metrics.probability import brier, expected_calibration_error
from unlikelihood.metrics.ranking import allowed_false_alarms, auprc, auroc, fpr_at_tpr, sensitivity_at_specificity

RANKING = [auroc, auprc, sensitivity_at_specificity, fpr_at_tpr]


@st.composite
def labelled_scores(draw):
    # Whole numbers, so that ties are common.
    score = draw(arrays.arrays(np.float64, st.integers(4, 40), elements=st.integers(-5, 5).map(float)))
    label = draw(arrays.arrays(np.int64, len(score), elements=st.integers(0, 1)))
    label[:2] = 0, 1
    return label, score


@given(labelled_scores())
def test_areas_are_those_of_scikit_learn(data):
    label, score = data
    assert auroc(label, score) == pytest.approx(roc_auc_score(label, score))
    assert auprc(label, score) == pytest.approx(average_precision_score(label, score))


@given(labelled_scores(), st.sampled_from([0.0, 0.5, 0.9, 0.95, 1.0]))
def test_operating_points_are_on_the_roc_curve(data, share):
    label, score = data
    fpr, tpr, _ = roc_curve(label, score, drop_intermediate=False)
    best = tpr[1 - fpr >= share - 1e-12].max()
    assert sensitivity_at_specificity(label, score, share) == pytest.approx(best)
    assert fpr_at_tpr(label, score, share) == pytest.approx(fpr[tpr >= share - 1e-12].min())


@given(labelled_scores())
def test_auroc_of_the_flipped_score_is_the_complement(data):
    label, score = data
    assert auroc(label, -score) == pytest.approx(1 - auroc(label, score))


@pytest.mark.parametrize("metric", RANKING)
@given(labelled_scores())
def test_a_monotone_map_changes_no_ranking(metric, data):
    label, score = data
    assert metric(label, np.exp(score)) == pytest.approx(metric(label, score))


@pytest.mark.parametrize("metric", RANKING)
def test_the_order_of_samples_does_not_matter(metric, rng):
    label, score, order = rng.integers(0, 2, 50), rng.integers(0, 9, 50), rng.permutation(50)
    assert metric(label[order], score[order]) == pytest.approx(metric(label, score))


def test_no_false_alarm_is_lost_to_rounding_and_four_normals_allow_none():
    assert allowed_false_alarms(0.9, 10) == allowed_false_alarms(0.99, 100) == 1
    assert allowed_false_alarms(0.99, 4) == allowed_false_alarms(0.99, 99) == 0
    assert sensitivity_at_specificity([0] * 4 + [1] * 2, [1, 2, 3, 4, 5, 3.5], 0.99) == 0.5


def test_brier_is_that_of_scikit_learn(rng):
    label, probability = rng.integers(0, 2, 50), rng.random(50)
    assert brier(label, probability) == pytest.approx(brier_score_loss(label, probability))


def test_calibration_error_vanishes_for_honest_probabilities(rng):
    probability = rng.random(200_000)
    label = rng.random(200_000) < probability
    assert expected_calibration_error(label, probability) < 0.01
    assert expected_calibration_error(label, 1 - probability) == pytest.approx(0.5, abs=0.01)
    assert expected_calibration_error([0, 1], [0.0, 1.0]) == 0


@pytest.mark.parametrize(
    ("label", "score", "message"),
    [
        ([0, 0], [1.0, 2.0], "both classes"),
        ([0, 1], [1.0, np.nan], "finite"),
        ([0, 1], [1.0, 2.0, 3.0], "shape"),
        ([0, 2], [1.0, 2.0], "0 .normal. or 1"),
        ([0, 1], [[1.0], [2.0]], "shape"),
    ],
)
@pytest.mark.parametrize("metric", RANKING)
def test_bad_input_is_refused(metric, label, score, message):
    with pytest.raises(ValueError, match=message):
        metric(label, score)


def test_shares_and_counts_out_of_range_are_refused():
    for call in (
        lambda: sensitivity_at_specificity([0, 1], [0, 1], specificity=95),
        lambda: fpr_at_tpr([0, 1], [0, 1], tpr=-0.1),
        lambda: brier([0, 1], [0, 1.5]),
        lambda: expected_calibration_error([0, 1], [0, 1], bins=0),
    ):
        with pytest.raises(ValueError, match="must"):
            call()
