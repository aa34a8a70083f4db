"""
Too likely to be normal
=======================

A density calls a sample normal where it is likely. But what is too smooth is more likely than any normal sample, and is
called most normal of all. :class:`~unlikelihood.Typicality` and :class:`~unlikelihood.LikelihoodRatio` are two answers.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.metrics import roc_auc_score

from unlikelihood import Flow, LikelihoodRatio, Typicality

rng = np.random.default_rng(0)
time = np.linspace(0, 1, 16)


def signals(n, noise):
    """Waves of random phase and height, with noise."""
    phase, height = rng.uniform(0, 2 * np.pi, (n, 1)), rng.uniform(0.8, 1.2, (n, 1))
    return height * np.sin(2 * np.pi * time + phase) + noise * rng.normal(size=(n, 16))


normals = signals(1000, 0.4)
flow = Flow(steps=2, width=8, epochs=15, learning_rate=3e-3, seed=0).fit(normals)
new = {"normal": signals(400, 0.4), "smoother": signals(400, 0.15), "noisier": signals(400, 0.7)}

# %%
# The log-likelihood of new signals under a flow that was fitted to the normal ones. The smoother ones are anomalous and
# stand on the wrong side.

figure, ax = plt.subplots(figsize=(6.4, 3.2))
for name, colour in zip(new, ("C0", "C2", "C1"), strict=True):
    ax.hist(flow.score_samples(new[name]), np.linspace(-40, 0, 41), alpha=0.6, color=colour, label=name)
ax.set(xlabel="log p(x), nats", ylabel="signals")
ax.legend(frameon=False)

# %%
# Half is chance, and below half is upside down. Typicality takes what is too likely for odd. The ratio, which compares
# with a flow of mutated signals, helps little here: the anomalies differ in their noise, and it is made for anomalies
# that differ in their content.

detectors = {
    "log p(x)": flow,
    "Typicality": Typicality(flow).fit(signals(500, 0.4)),
    "LikelihoodRatio": LikelihoodRatio(flow).fit(normals),
}
print(f"{'AUROC':18}{'smoother':>10}{'noisier':>10}")
for name, detector in detectors.items():
    areas = []
    for kind in ("smoother", "noisier"):
        scores = detector.score_samples(np.concatenate([new["normal"], new[kind]]))
        areas.append(roc_auc_score(np.repeat([0, 1], 400), -scores))
    print(f"{name:18}" + "".join(f"{area:10.2f}" for area in areas))
