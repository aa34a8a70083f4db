"""What scikit-learn's tools make of detectors that decide."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tiny import normals, tiny
from unlikelihood import KNN, Conformal, FeatureSpace, load


@pytest.fixture
def normal(rng):
    return rng.normal(size=(200, 3))


@pytest.fixture
def anomalous(rng):
    return rng.normal(6.0, 1.0, size=(20, 3))


def test_the_last_step_of_a_pipeline_decides(normal, anomalous):
    pipeline = make_pipeline(StandardScaler(), KNN(alpha=0.1))
    assert set(pipeline.fit_predict(normal)) == {-1, 1}
    assert np.all(pipeline.predict(anomalous) == -1)
    assert np.all(pipeline.decision_function(anomalous) < 0)


@pytest.mark.filterwarnings("ignore:this KNN has no threshold")
@pytest.mark.parametrize("alpha", [None, 0.1])
@pytest.mark.parametrize("label", [0, -1])
def test_a_grid_search_by_auroc_finds_what_ranks_best(normal, anomalous, alpha, label):
    X, y = np.concatenate([normal, anomalous]), np.repeat([1, label], [200, 20])
    # Twenty anomalies beside one another are normal to few neighbours, and not to fifty.
    search = GridSearchCV(
        KNN(alpha=alpha),
        {"n_neighbors": [1, 50]},
        scoring="roc_auc",
        cv=StratifiedKFold(4, shuffle=True, random_state=0),
    )
    search.fit(X, y)
    assert search.best_params_ == {"n_neighbors": 50}
    assert search.best_score_ > 0.95


def test_without_a_threshold_nothing_is_decided_and_the_way_to_one_is_named(normal):
    detector = KNN().fit(normal)
    for missing in ("predict", "fit_predict", "offset_"):
        assert not hasattr(detector, missing)
    with pytest.raises(NotFittedError, match="calibrate it with normals that fit did not see, or set alpha"):
        _ = detector.offset_
    with pytest.warns(UserWarning, match="no threshold: .* sign of its decision_function says nothing"):
        scores = detector.decision_function(normal)
    np.testing.assert_array_equal(scores, detector.score_samples(normal))


def test_a_detector_decides_as_conformal_around_it_does(normal, rng, tmp_path):
    held_out, new = rng.normal(size=(2, 60, 3))
    detector = KNN().fit(normal).calibrate(held_out)
    assert detector.offset_ == Conformal(detector, alpha=0.05).fit().offset_
    detector.set_params(alpha=0.2)
    np.testing.assert_array_equal(detector.predict(new), Conformal(detector, alpha=0.2).fit().predict(new))
    loaded = load(detector.save(tmp_path / "model"))
    assert (loaded.alpha, loaded.offset_) == (0.2, detector.offset_)
    np.testing.assert_array_equal(KNN(alpha=0.2).fit_predict(normal), Conformal(KNN(), alpha=0.2).fit_predict(normal))


def test_new_normals_raise_as_many_false_alarms_as_alpha_says(rng):
    shares = [
        np.mean(KNN(n_neighbors=1, alpha=0.1).fit(rng.normal(size=(130, 3))).predict(rng.normal(size=(300, 3))) == -1)
        for _ in range(40)
    ]
    # Beta(4, 36) from 39 kept normals: 0.1 ± 0.047 in one fit, ± 0.0075 in the mean of forty.
    assert np.mean(shares) == pytest.approx(0.1, abs=0.03)


def test_a_part_that_saw_what_is_kept_cannot_be_calibrated_on_it():
    X = normals((6,))
    encoder = tiny("Contrastive").fit(X)
    with pytest.raises(ValueError, match="with n_samples=0 normals to calibrate on"):
        FeatureSpace(encoder, KNN(), alpha=0.2).fit(X)
