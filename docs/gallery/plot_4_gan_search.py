"""
A search through a GAN's latents
================================

The thesis' GAN-AD: a generator learns to draw normal digits, and for each new digit its latents are searched for the
drawing that comes nearest. What is left over is the score. :meth:`~unlikelihood.LatentSearch.path` keeps the way.
"""

import warnings

from matplotlib import pyplot as plt
from sklearn.metrics import roc_auc_score

from unlikelihood import DCGAN, Digits, LatentSearch

warnings.simplefilter("ignore")  # what scores would warn of is printed at the end
split = Digits(anomalous=(0,)).split()
gan = DCGAN(latent=16, width=16, epochs=60, batch_size=64, seed=0)
detector = LatentSearch(gan, steps=60).fit(split.train.pixels)

# %%
# Left to right, what the generator draws at steps of the search; at the right end the digit that is looked for. The
# first row is a normal digit, the second a nought, which the generator never learnt to draw.

normal, noughts = (split.test.pixels[split.test.label == label] for label in (0, 1))
paths = [detector.path(sample, moments=7) for sample in (normal[0], noughts[0])]

figure, axes = plt.subplots(2, 8, figsize=(9, 2.7))
for row, path in zip(axes, paths, strict=True):
    for ax, step, picture in zip(row, path.step, path.generation, strict=False):
        ax.imshow(picture[0], cmap="gray", vmin=0, vmax=1)
        ax.set_title(f"step {step}", fontsize=8)
    row[-1].imshow(path.sample[0], cmap="gray", vmin=0, vmax=1)
    row[-1].set_title("wanted", fontsize=8, color="C1")
for ax in axes.flat:
    ax.set_axis_off()

# %%
# The loss on the way, for both.

figure, ax = plt.subplots(figsize=(5.6, 3))
for path, name in zip(paths, ("a normal digit", "a nought"), strict=True):
    ax.plot(path.loss, label=name)
ax.set(xlabel="step of the search", ylabel="loss L")
ax.legend(frameon=False)

# %%
# Whether noughts end higher than other digits in general. A generator is compared with the normals after training, and
# small GANs often leave some kinds of them out; then every score warns, and ``alarms_`` says so:

area = roc_auc_score(split.test.label, -detector.score_samples(split.test.pixels))
print(f"AUROC of the noughts: {area:.2f}")
print(*detector.generator_.alarms_ or ["no alarm"], sep="\n")
