"""Handwritten digits of which some count as anomalies: the small set that scikit-learn brings along."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from unlikelihood.data.images import Images, numbered
from unlikelihood.data.protocol import cut_digits, digit_label
from unlikelihood.data.source import Source
from unlikelihood.data.splits import Split


@dataclass(frozen=True, kw_only=True)
class Digits(Source):
    """The 1,797 digits of 8×8 pixels in scikit-learn, for trying things out without a download.

    The parts are cut as those of `MNIST`, with fewer images in each. Intensities are in [0, 1].

    Parameters
    ----------
    anomalous : tuple of int
        The digits that count as anomalies; the others are normal.
    train_per_digit : int
        Training images of each normal digit.
    calibration_per_digit : int
        Calibration images of each normal digit.
    test : int
        Number of normals, and of anomalies, in the test.
    seed : int
        Seed of the cut into parts.

    Examples
    --------
    >>> Digits(anomalous=(9,)).split().train
    Images(900 of shape (1, 8, 8), 0 anomalous)
    """

    anomalous: tuple[int, ...] = (9,)
    train_per_digit: int = 100
    calibration_per_digit: int = 40
    test: int = 162

    def read(self) -> Images:
        """Read all digits.

        Returns
        -------
        Images
            1,797 images of shape (1, 8, 8), labelled.
        """
        return self._read()[0]

    def split(self) -> Split:
        """Cut the digits into parts, equally many of each digit as far as there are enough of it.

        Returns
        -------
        Split
            The parts; the same for the same seed.
        """
        images, digit = self._read()
        anywhere = np.ones(len(images), dtype=bool)
        train, calibration, test = cut_digits(
            digit,
            self.anomalous,
            trainable=anywhere,
            testable=anywhere,
            train_per_digit=self.train_per_digit,
            calibration_per_digit=self.calibration_per_digit,
            test=self.test,
            seed=self.seed,
        )
        return Split(train=images[train], calibration=images[calibration], test=images[test])

    def _read(self) -> tuple[Images, NDArray[np.int64]]:
        pixels, digit = load_digits(return_X_y=True)
        images = Images(
            pixels=pixels.reshape(-1, 1, 8, 8) / 16,  # 16 is their full scale
            label=digit_label(digit, self.anomalous),
            name=numbered("digits", len(digit)),
        )
        return images, digit
