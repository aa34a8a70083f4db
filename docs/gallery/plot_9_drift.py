"""
When to stop trusting a calibration
===================================

Scores that come one by one are watched by a :class:`~unlikelihood.Martingale`: capital that is bet against the claim
that they are like the calibration's. Without drift it reaches 100 in one stream of a hundred at most, ever, however
often one looks.
"""

import numpy as np
from matplotlib import pyplot as plt

from unlikelihood import KNN, Martingale

rng = np.random.default_rng(1)
detector = KNN().fit(rng.normal(size=(500, 4)))
calibration = detector.score_samples(rng.normal(size=(500, 4)))

# %%
# Thirty streams of 600 normals stay as they were. In the orange one a sensor begins to drift after 200 samples: each
# adds a little to every measurement.

drift = np.clip(np.arange(600) - 200, 0, None)[:, None] * 0.004
drifting = detector.score_samples(rng.normal(size=(600, 4)) + drift)
verdict = Martingale().test(calibration, drifting)
same = [
    Martingale(seed=seed).test(calibration, detector.score_samples(rng.normal(size=(600, 4)))) for seed in range(30)
]

figure, ax = plt.subplots(figsize=(6.4, 3.6))
for each in same:
    ax.plot(each.evidence, color="C0", alpha=0.25, linewidth=0.8)
ax.plot(verdict.evidence, color="C1", label="drift from sample 200 on")
ax.plot([], color="C0", label="30 streams without drift")
ax.axhline(2, color="0.4", linestyle=":")
ax.annotate("alarm", (0, 2), (2, 3), textcoords="offset points", color="0.3")
ax.set(xlabel="samples seen", ylabel="log₁₀ of the capital", ylim=(-3, 6), xlim=(0, 600))
ax.legend(frameon=False, loc="lower left")

# %%
# The verdict in words, and how many of the thirty streams raised a false alarm.

print(verdict)
print("false alarms:", sum(each.drifted for each in same), "of", len(same))
