"""
Older patients than those of the calibration
============================================

P-values promise something about normals like those of the calibration. Say normals look more anomalous with age, and
those that come now are older. Then a threshold raises too many alarms, until each calibration normal counts by how much
more often its age is met now.
"""

import numpy as np
from matplotlib import pyplot as plt

from unlikelihood import KNN, Conformal

rng = np.random.default_rng(0)


def normals(n, mean_age):
    """Return ages, and two measurements that spread with age."""
    age = rng.normal(mean_age, 10, (n, 1))
    return age, np.exp((age - 50) / 25) * rng.normal(size=(n, 2))


_, train = normals(500, 50)
detector = KNN().fit(train)
age_then, then = normals(2000, 50)
age_now, now = normals(2000, 60)

# %%
# The weight of an age is learnt from the ages alone, by telling then from now.

conformal = Conformal(detector).fit(then, covariate=age_then)
plain = conformal.p_value(now)
weighted = conformal.p_value(now, covariate=age_now)

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
ages = np.linspace(20, 90, 36)
left.hist(age_then[:, 0], ages, alpha=0.6, color="0.6", label="calibration")
left.hist(age_now[:, 0], ages, alpha=0.6, color="C0", label="now")
left.set(xlabel="age", ylabel="normals")
left.legend(frameon=False)
alphas = np.linspace(0.005, 0.3, 60)
right.plot(alphas, alphas, color="0.6", linestyle=":", label="as promised")
right.plot(alphas, [np.mean(plain <= alpha) for alpha in alphas], color="C1", label="plain p-values")
right.plot(alphas, [np.mean(weighted <= alpha) for alpha in alphas], color="C0", label="weighted p-values")
right.set(xlabel="α: false alarms allowed", ylabel="share of normals with an alarm")
right.legend(frameon=False)

# %%
# This holds if normals of one age are alike then and now, and no age comes that the calibration never met.

for name, p in (("plain", plain), ("weighted", weighted)):
    print(f"false alarms at α = 0.05, {name}: {np.mean(p <= 0.05):.3f}")
