"""
Where a picture is wrong
========================

Striped pictures, all different and all normal, are what the detector learns. Then a few have a hole or a smudge.
:class:`~unlikelihood.ForeignPatch` says which, and its map says where.
"""

import numpy as np
from matplotlib import pyplot as plt
from scipy.ndimage import gaussian_filter

from unlikelihood import ForeignPatch

SIDE = 48
rng = np.random.default_rng(0)
y, x = np.mgrid[:SIDE, :SIDE].astype(float)


def stripes():
    """Waves across bent lines, with noise."""
    bent = 12 * gaussian_filter(rng.normal(size=(SIDE, SIDE)), 8, mode="wrap")
    wave = np.sin(2 * np.pi * (y + 0.4 * x + bent) / 9 + rng.uniform(0, 2 * np.pi))
    return wave + 0.2 * rng.normal(size=(SIDE, SIDE))


def spot(picture, inside):
    """Put something else where a disc is."""
    disc = np.hypot(*(np.mgrid[:SIDE, :SIDE] - rng.uniform(10, SIDE - 10, 2)[:, None, None])) < rng.uniform(4, 6)
    return np.where(disc, inside(picture), picture), disc


normal = np.stack([stripes() for _ in range(160)])[:, None].astype(np.float32)
detector = ForeignPatch(width=8, epochs=25, batch_size=16, learning_rate=2e-3, seed=0).fit(normal)

# %%
# The first column is normal, the second has a hole, the third a place out of focus. Below are the maps, all in one
# scale; the outline is the truth, which the detector never saw.

hole, where_hole = spot(stripes(), lambda picture: -1.0)
blurred, where_blurred = spot(stripes(), lambda picture: gaussian_filter(picture, 3))
shown = np.stack([stripes(), hole, blurred])[:, None].astype(np.float32)
truth = [np.zeros((SIDE, SIDE), bool), where_hole, where_blurred]
scores, maps = detector.score_samples(shown), detector.anomaly_map(shown)

figure, axes = plt.subplots(2, 3, figsize=(6.4, 4.6))
for column, name in enumerate(("normal", "a hole", "out of focus")):
    axes[0, column].imshow(shown[column, 0], cmap="gray", vmin=-2, vmax=2)
    axes[0, column].set_title(f"{name}\nanomaly score {-scores[column]:.1f}")
    axes[1, column].imshow(maps[column], cmap="inferno", vmin=maps.min(), vmax=maps.max())
    if truth[column].any():
        axes[1, column].contour(truth[column], [0.5], colors="white", linewidths=1)
for ax in axes.flat:
    ax.set_axis_off()

# %%
# One picture of each says little. So here are 60 new ones without and with a defect.

from sklearn.metrics import roc_auc_score

fresh = np.stack([stripes() for _ in range(60)])
holes, blurs = (
    np.stack([spot(stripes(), inside)[0] for _ in range(60)])
    for inside in (lambda picture: -1.0, lambda picture: gaussian_filter(picture, 3))
)
for name, defects in (("holes", holes), ("places out of focus", blurs)):
    both = np.concatenate([fresh, defects])[:, None].astype(np.float32)
    area = roc_auc_score(np.repeat([0, 1], 60), -detector.score_samples(both))
    print(f"AUROC of {name}: {area:.2f}")
