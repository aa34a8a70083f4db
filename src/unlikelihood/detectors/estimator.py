"""An outlier detector of another library as one of this one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from sklearn.base import clone
from typing_extensions import override

from unlikelihood.contract.blocks import by_blocks
from unlikelihood.contract.detector import Detector
from unlikelihood.training.seeding import initialising, number

SAID = 16  # training samples whose scores tell whether an estimator repeats what it learnt


@runtime_checkable
class OutlierEstimator(Protocol):
    """What scikit-learn and PyOD call an outlier detector."""

    def fit(self, X: np.ndarray) -> Any: ...  # noqa: D102
    def get_params(self, deep: bool = True) -> dict[str, Any]: ...  # noqa: D102


class Estimator(Detector):
    r"""An outlier detector of scikit-learn's or PyOD's contract, for wherever this package takes a detector.

    It is given samples as vectors. The score is its ``score_samples``, or else its ``decision_function``, the negative
    of that for PyOD's, where larger is more anomalous.

    A model file holds the normals but, as nothing is ever pickled, not the estimator: ``load(path,
    estimator=OneClassSVM())`` fits it to them again, and refuses one whose scores are then others.

    Parameters
    ----------
    estimator : estimator
        A copy of it is fitted, whose ``random_state``, if it has one that is None, is `seed`.

    Attributes
    ----------
    train_ : ndarray, shape (n, D)
        The normals.
    said_ : ndarray of float64
        The scores of the first of them.

    References
    ----------
    Buitinck et al., "API design for machine learning software", 2013; Zhao, Nasrullah and Li, "PyOD", 2019.

    Examples
    --------
    >>> from sklearn.svm import OneClassSVM
    >>> from unlikelihood import Committee, KNN
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> Committee([KNN(), Estimator(OneClassSVM())]).fit(X).score_samples([[0, 0, 0], [9, 9, 9]]) > -5
    array([ True, False])
    """

    estimator: OutlierEstimator

    runtime = ("estimator",)
    unexportable = "its score is that of another library"

    def __sklearn_clone__(self) -> Self:
        # It is never fitted itself, so that clones can share it.
        return type(self)(**self.get_params(deep=False))

    def _fit(self, X: np.ndarray) -> None:
        # In float64, which most estimators compute in, a file of images would be twice as large.
        dtype = np.float64 if X.dtype == np.float64 else np.float32
        self.train_ = np.ascontiguousarray(np.asarray(X).reshape(len(X), -1), dtype)
        self._restore()
        self.said_ = self._rank(self.train_[:SAID])

    @override
    def _restore(self) -> None:
        estimator = clone(self.estimator)
        if estimator.get_params(deep=False).get("random_state", 0) is None:
            estimator.set_params(random_state=self.seed)
        with drawing_alike(self.seed):
            self._fitted = estimator.fit(self.train_)
        if not hasattr(self._fitted, "score_samples") and not hasattr(self._fitted, "decision_function"):
            raise ValueError(
                f"Estimator: estimator is {self.estimator!r}, which scores no new samples; expected score_samples or "
                "decision_function, which LocalOutlierFactor, for one, has with novelty=True"
            )

    def _score(self, X: np.ndarray) -> np.ndarray:
        return by_blocks(self._rank, X, self.train_.dtype)

    def _rank(self, X: np.ndarray) -> np.ndarray:
        if hasattr(self._fitted, "score_samples"):
            return np.asarray(self._fitted.score_samples(X), np.float64)
        scores = np.asarray(self._fitted.decision_function(X), np.float64).reshape(len(X))
        return -scores if hasattr(self._fitted, "decision_scores_") else scores  # which only PyOD's have

    @override
    def state(self) -> dict[str, Any]:
        return {**super().state(), "estimator": repr(self.estimator)}

    @override
    def set_state(self, state: dict[str, Any]) -> None:
        if (kept := state.pop("estimator")) != repr(self.estimator):
            raise ValueError(f"Estimator: estimator is {self.estimator!r}, expected {kept}")
        if not state:
            return
        super().set_state(state)
        if not np.allclose(self._rank(self.train_[:SAID]), self.said_, rtol=1e-6, atol=1e-9):
            raise ValueError(
                f"Estimator: {kept}, fitted again to the same samples, scores otherwise; expected one that repeats, "
                "as most do with a random_state"
            )


@contextmanager
def drawing_alike(seed: int) -> Iterator[None]:
    """Seed the global generators, from which an estimator without a ``random_state`` draws, and put them back."""
    with initialising(seed):  # one thread at a time
        before = np.random.get_state()  # noqa: NPY002
        np.random.seed(number(seed) % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
