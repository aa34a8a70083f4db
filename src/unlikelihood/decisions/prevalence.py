"""Probabilities for a place where anomalies are rarer than among the samples they were learnt from."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit


def at_prevalence(probability: ArrayLike, fitted: float, deployed: float) -> NDArray[np.float64]:
    r"""Return probabilities of being anomalous for a place where anomalies are rarer, or more frequent.

    .. math:: \operatorname{logit} p' = \operatorname{logit} p + \operatorname{logit} \pi' - \operatorname{logit} \pi

    It is Bayes' rule, if each class looks there as it did here and only their shares differ.

    Parameters
    ----------
    probability : array_like
        Probability of being anomalous at the prevalence `fitted`.
    fitted, deployed : float
        π and π', shares of anomalies, strictly between 0 and 1.

    Returns
    -------
    ndarray of float64, in the shape of `probability`

    References
    ----------
    Saerens, Latinne & Decaestecker (2002), Neural Computation 14:21, equation 4 for two classes.

    Examples
    --------
    >>> at_prevalence([0.5, 0.9], fitted=0.5, deployed=0.1).round(2)
    array([0.1, 0.5])
    """
    for name, value in (("fitted", fitted), ("deployed", deployed)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}")
    p = np.asarray(probability, dtype=np.float64)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"probability must lie in [0, 1], got values from {p.min()} to {p.max()}")
    return expit(logit(p) + logit(deployed) - logit(fitted))
