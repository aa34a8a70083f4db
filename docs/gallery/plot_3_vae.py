"""
What a VAE makes of digits
==========================

A :class:`~unlikelihood.VAE` is fitted to the digits 0 to 8 and then shown nines, which it never saw. It draws many of
them nearly as well as other digits: what has to be found is in what is left over, and in the latents that it takes.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.metrics import roc_auc_score

from unlikelihood import ELBO, VAE, Digits, OptimalGaussian

split = Digits(anomalous=(9,)).split()
vae = VAE(latent=8, width=16, epochs=60, learning_rate=2e-3, likelihood=OptimalGaussian(), scoring=ELBO())
vae.fit(split.train.pixels)

# %%
# Above each digit, below what comes back through eight latents.

normal, nines = (split.test.pixels[split.test.label == label] for label in (0, 1))
shown = np.concatenate([normal[:48:8], nines[:6]])
again = vae.reconstruct(shown)

figure, axes = plt.subplots(2, 12, figsize=(9, 1.8))
for column in range(12):
    for row, pictures in enumerate((shown, again)):
        axes[row, column].imshow(pictures[column, 0], cmap="gray", vmin=0, vmax=1)
        axes[row, column].set_axis_off()
axes[0, 0].set_title("normal digits", loc="left", fontsize=9)
axes[0, 6].set_title("nines, never seen", loc="left", fontsize=9)

# %%
# The line between two normal digits in the space of latents. Where a blend of two looks like a nine, nines are likely.

figure, axes = plt.subplots(3, 10, figsize=(9, 2.9))
pairs = [(normal[0], normal[7]), (normal[3], normal[21]), (normal[14], normal[30])]
for row, (start, end) in enumerate(pairs):
    for ax, picture in zip(axes[row], vae.interpolate(start, end, 10), strict=True):
        ax.imshow(picture[0], cmap="gray", vmin=0, vmax=1)
        ax.set_axis_off()

# %%
# How well nines are ranked, half being chance: by the error of what comes back, and by the bound of log p(x), which
# also counts how far the latents are from usual. These digits have 64 pixels; on MNIST the error ranks nines worse.

error = np.square(split.test.pixels - vae.reconstruct(split.test.pixels)).reshape(len(split.test), -1).sum(1)
print(f"AUROC of the error: {roc_auc_score(split.test.label, error):.2f}")
print(f"AUROC of the bound: {roc_auc_score(split.test.label, -vae.score_samples(split.test.pixels)):.2f}")
