"""Detectors of scikit-learn and PyOD as ours, and ours as PyOD's."""

import numpy as np
import pytest
from pyod.models import hbos, knn
from sklearn.base import clone
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from tiny import normals, tiny
from unlikelihood import KNN, AsPyOD, Committee, Conformal, Estimator, FeatureSpace, load
from unlikelihood.storage.models import ModelFileError

ESTIMATORS = {
    "score_samples": OneClassSVM(),
    "pipeline": make_pipeline(StandardScaler(), OneClassSVM()),
    "novelty": LocalOutlierFactor(novelty=True),
    "forest": IsolationForest(n_estimators=20),
    "envelope": EllipticEnvelope(),
    "PyOD": hbos.HBOS(),
}
RNG = np.random.default_rng(0)
NORMALS, OTHERS = RNG.normal(size=(120, 3)), RNG.normal(2, 2, size=(40, 3))


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
def test_anomalies_score_below_normals_whatever_the_polarity_of_the_library(estimator):
    detector = Estimator(estimator).fit(NORMALS)
    assert np.median(detector.score_samples(OTHERS)) < np.quantile(detector.score_samples(NORMALS), 0.25)


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
def test_a_member_of_a_committee_comes_back_from_its_file_given_the_estimator(tmp_path, estimator):
    committee = Committee([KNN(), Estimator(estimator)], alpha=0.2).fit(NORMALS)
    loaded = load(committee.save(tmp_path / "model"), estimator=estimator)
    np.testing.assert_array_equal(loaded.score_samples(OTHERS), committee.score_samples(OTHERS))
    np.testing.assert_array_equal(loaded.predict(NORMALS), committee.predict(NORMALS))


def test_a_file_asks_for_the_estimator_and_refuses_another(tmp_path):
    saved = Estimator(OneClassSVM(nu=0.2)).fit(NORMALS).save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="needs estimator"):
        load(saved)
    with pytest.raises(ModelFileError, match=r"OneClassSVM\(nu=0.3\), expected OneClassSVM\(nu=0.2\)"):
        load(saved, estimator=OneClassSVM(nu=0.3))


class Whim(OneClassSVM):
    """Never scores alike twice."""

    def score_samples(self, X):
        return np.random.default_rng().normal(size=len(X))


def test_an_estimator_that_does_not_repeat_is_refused_when_it_is_loaded(tmp_path):
    saved = Estimator(Whim()).fit(NORMALS).save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="scores otherwise"):
        load(saved, estimator=Whim())


def test_the_seed_is_that_of_an_estimator_without_one():
    one, same, other = (
        Estimator(IsolationForest(n_estimators=5), seed=seed).fit(NORMALS).score_samples(OTHERS) for seed in (3, 3, 4)
    )
    fixed = [
        Estimator(IsolationForest(n_estimators=5, random_state=1), seed=s).fit(NORMALS).score_samples(OTHERS)
        for s in (3, 4)
    ]
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(*fixed)


def test_the_estimator_itself_stays_unfitted():
    estimator = OneClassSVM()
    Estimator(estimator).fit(NORMALS)
    assert not hasattr(estimator, "support_")


def test_one_that_scores_nothing_new_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="novelty=True"):
        Estimator(LocalOutlierFactor()).fit(NORMALS)


def test_it_scores_embeddings_and_decides():
    X = normals((1, 8, 8), 80)
    decide = Conformal(FeatureSpace(tiny("Contrastive"), Estimator(OneClassSVM())), alpha=0.2).fit(X)
    assert (decide.predict(X) == 1).mean() > 0.5


def test_pyod_sees_the_negative_of_our_scores():
    ours, adapted = KNN().fit(NORMALS), AsPyOD(KNN(), contamination=0.1).fit(NORMALS)
    np.testing.assert_array_equal(adapted.decision_function(OTHERS), -ours.score_samples(OTHERS))
    np.testing.assert_array_equal(adapted.decision_scores_, -ours.score_samples(NORMALS))
    assert adapted.labels_.sum() == 12
    assert adapted.predict(OTHERS).mean() > 0.5


def test_an_adapted_detector_has_what_pyods_own_have():
    ours, theirs = AsPyOD(KNN(), contamination=0.2).fit(NORMALS), knn.KNN(contamination=0.2).fit(NORMALS)
    known = {name for name in vars(theirs) if name in ("decision_scores_", "labels_", "threshold_", "contamination")}
    assert known <= set(vars(ours))
    assert ours.predict_proba(OTHERS).shape == theirs.predict_proba(OTHERS).shape
    again = clone(ours).fit(NORMALS)
    np.testing.assert_array_equal(again.predict(OTHERS), ours.predict(OTHERS))


def test_ours_go_through_pyod_and_back():
    back = Estimator(AsPyOD(KNN())).fit(NORMALS)
    np.testing.assert_allclose(back.score_samples(OTHERS), KNN().fit(NORMALS).score_samples(OTHERS))
