"""
A network of your own
=====================

Any PyTorch module that maps pictures to maps of features can be the eye of a detector.
:class:`~unlikelihood.TorchEncoder` takes it as it is, and :class:`~unlikelihood.PatchMemory` keeps what normal patches
look like through it. Here it is a bank of fixed filters; a pretrained network goes in the same place.
"""

import numpy as np
import torch
from matplotlib import pyplot as plt
from scipy.ndimage import gaussian_filter
from torch import nn

from unlikelihood import PatchMemory, TorchEncoder

SIZE = 9
y, x = np.mgrid[:SIZE, :SIZE] - SIZE // 2
filters = []
for angle in np.arange(4) * np.pi / 4:
    for period in (4, 8):
        wave = 2 * np.pi * (np.cos(angle) * x + np.sin(angle) * y) / period
        window = np.exp(-(x**2 + y**2) / (2 * 2.0**2))
        filters += [window * np.cos(wave), window * np.sin(wave)]

convolution = nn.Conv2d(1, len(filters), SIZE, stride=2, padding=SIZE // 2, bias=False)
convolution.weight.data = torch.tensor(np.stack(filters)[:, None] / SIZE, dtype=torch.float32)


class Energies(nn.Module):
    """How strongly waves of four directions and two lengths run through each place."""

    def forward(self, pictures):
        """Return (B, 8, H / 2, W / 2)."""
        waves = convolution(pictures)
        return nn.functional.avg_pool2d(waves[:, 0::2] ** 2 + waves[:, 1::2] ** 2, 3, stride=1, padding=1).sqrt()


# %%
# The normals are woven; in one picture a patch of the weave is turned.

rng = np.random.default_rng(0)
rows, columns = np.mgrid[:64, :64]


def weave(turned=False):
    """Threads that cross, with noise."""
    a, b = (rows + columns, rows - columns) if turned else (rows, columns)
    phase = rng.uniform(0, 2 * np.pi, 2)
    picture = np.sin(2 * np.pi * a / 8 + phase[0]) + np.sin(2 * np.pi * b / 8 + phase[1])
    return picture + 0.6 * rng.normal(size=picture.shape)


normal = np.stack([weave() for _ in range(60)])[:, None].astype(np.float32)
disc = np.clip(12 - np.hypot(rows - 40, columns - 24), 0, 1)
odd = (1 - disc) * weave() + disc * weave(turned=True)
shown = np.stack([weave(), odd])[:, None].astype(np.float32)

detector = PatchMemory(TorchEncoder(Energies()), size=300).fit(normal)
maps = detector.anomaly_map(shown)

figure, axes = plt.subplots(1, 4, figsize=(9, 2.5))
for column, name in enumerate(("normal", "a turned patch")):
    axes[2 * column].imshow(gaussian_filter(shown[column, 0], 0.5), cmap="gray")
    axes[2 * column].set_title(name, fontsize=9)
    axes[2 * column + 1].imshow(maps[column], cmap="inferno", vmin=maps.min(), vmax=maps.max())
    axes[2 * column + 1].set_title("its map", fontsize=9)
axes[3].contour(disc, [0.5], colors="white", linewidths=1)
for ax in axes:
    ax.set_axis_off()

# %%
# A model file keeps the network's weights but not its code, as nothing is ever unpickled: ``load(path,
# module=Energies())`` takes them.

normal_score, odd_score = -detector.score_samples(shown)
print(f"anomaly score of the normal picture {normal_score:.2f}, of the other {odd_score:.2f}")
