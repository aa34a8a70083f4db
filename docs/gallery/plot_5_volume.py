"""
A volume in three planes, and its map
=====================================

:class:`~unlikelihood.Phantom` makes small CT volumes around lung nodules, benign ones and malignant ones with spicules,
lobes and an uneven density. :class:`~unlikelihood.RadialProfile` learns the benign ones: how bright and how even each
shell around the middle is. Images and volumes go through the same lines.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.metrics import roc_auc_score

from unlikelihood import Phantom, RadialProfile

data = Phantom(train=200, calibration=2, benign=60, malignant=60, evaluated=60, size=24)
split = data.split()
detector = RadialProfile().fit(split.train.pixels)

# %%
# The most anomalous malignant nodule, cut through its middle in three planes. Above the window from -1000 to 400 HU;
# below, over it, how far each voxel is from the mean of its shell in the nearest normals.

scores = detector.score_samples(split.test.pixels)
case = int(np.argmin(np.where(split.test.label == 1, scores, np.inf)))
volume = split.test.pixels[case, 0]
heat = detector.anomaly_map(split.test.pixels[case : case + 1])[0]
middle = np.argwhere(split.test.mask[case]).mean(axis=0).round().astype(int)

figure, axes = plt.subplots(2, 3, figsize=(6.6, 4.6))
for axis, name in enumerate(("axial", "coronal", "sagittal")):
    plane, over = (np.take(values, middle[axis], axis) for values in (volume, heat))
    truth = np.take(split.test.mask[case], middle[axis], axis)
    for ax in axes[:, axis]:
        ax.imshow(plane, cmap="gray", vmin=0, vmax=1, origin="upper" if axis == 0 else "lower")
        ax.set_axis_off()
    axes[0, axis].set_title(name, fontsize=9)
    strength = np.clip(over / np.quantile(heat, 0.998), 0, 1)
    axes[1, axis].imshow(strength, cmap="inferno", alpha=strength, origin="upper" if axis == 0 else "lower")
    axes[1, axis].contour(truth, [0.5], colors="white", linewidths=0.8)

# %%
# Traits of both kinds overlap, so no detector is perfect here. Size alone is the baseline.

from unlikelihood import TotalVolume

size = TotalVolume().fit(split.train.pixels).score_samples(split.test.pixels)
for name, of in (("RadialProfile", scores), ("volume alone", size)):
    print(f"AUROC of {name}: {roc_auc_score(split.test.label, -of):.2f}")
