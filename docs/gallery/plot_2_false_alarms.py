"""
A threshold that keeps its promise
==================================

A detector scores what it was trained on better than anything new. A threshold that lets 5 % of the *training* samples
raise an alarm therefore lets more of the new normals do so. :class:`~unlikelihood.Conformal` takes its threshold from
normals that training never saw.
"""

import numpy as np
from matplotlib import pyplot as plt

from unlikelihood import Conformal, PCAResidual

rng = np.random.default_rng(0)
mixing = rng.normal(size=(8, 40))


def normals(n):
    """Points near an 8-dimensional plane in 40 dimensions."""
    return rng.normal(size=(n, 8)) @ mixing + rng.normal(size=(n, 40))


train, new = normals(80), normals(4000)
detector = PCAResidual(8).fit(train)

# %%
# How many new normals raise an alarm, at every α that may be asked for. The line of the training scores is the naive
# threshold. Each thin line is a calibration set of 200 normals: single ones lie on both sides of the diagonal, their
# mean is on it, which is what is promised.

alphas = np.linspace(0.01, 0.3, 30)
naive = [np.mean(detector.score_samples(new) < np.quantile(detector.score_samples(train), alpha)) for alpha in alphas]
calibrated = []
for _ in range(40):
    p = Conformal(detector).fit(normals(200)).p_value(new)
    calibrated.append([np.mean(p <= alpha) for alpha in alphas])

figure, ax = plt.subplots(figsize=(5.6, 4))
ax.plot(alphas, alphas, color="0.6", linestyle=":", label="as promised")
ax.plot(alphas, naive, color="C1", label="threshold of training scores")
for shares in calibrated:
    ax.plot(alphas, shares, color="C0", alpha=0.15, linewidth=0.8)
ax.plot(alphas, np.mean(calibrated, axis=0), color="C0", label="Conformal, mean of 40")
ax.set(xlabel="α: false alarms allowed", ylabel="share of new normals with an alarm", xlim=(0, 0.3), ylim=(0, None))
ax.legend(frameon=False)

# %%
# Who needs the promise for the calibration set at hand, and not on average over such sets, asks for
# :class:`~unlikelihood.Simes` or :class:`~unlikelihood.MonteCarlo`. That costs discoveries.

from unlikelihood import MonteCarlo

strict = [
    np.mean(Conformal(detector, guarantee=MonteCarlo()).fit(normals(200)).p_value(new) <= 0.05) for _ in range(40)
]
print(f"at α = 0.05, of new normals: {np.mean(naive[4]):.3f} naive, {np.mean([c[4] for c in calibrated]):.3f} marginal")
print(f"calibration sets above α: {np.mean([c[4] > 0.05 for c in calibrated]):.0%} marginal, ", end="")
print(f"{np.mean(np.array(strict) > 0.05):.0%} Monte Carlo")
