"""scikit-learn's search for parameters, over a detector."""

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV

from tiny import normals
from unlikelihood import KNN


def auroc(detector, X, y):
    return roc_auc_score(y, detector.score_samples(X))


def searched(n_jobs):
    """Return what a search finds on normals and others that stand in for anomalies."""
    X = np.concatenate([normals((6,), n=40), 3 + normals((6,), n=20, seed=1)])
    parts = [(np.arange(20), np.arange(20, 60))]
    grid = {"n_neighbors": [1, 3, 9]}
    search = GridSearchCV(KNN(), grid, scoring=auroc, cv=parts, refit=False, n_jobs=n_jobs)
    return search.fit(X, np.arange(60) < 40).cv_results_["mean_test_score"].tolist()


def test_a_search_for_parameters_finds_the_same_in_several_processes():
    assert searched(n_jobs=2) == searched(n_jobs=1)
