"""Handwritten digits of which some count as anomalies: the small set that scikit-learn brings along."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.datasets import load_digits
from typing_extensions import override

from unlikelihood.data.digit_source import DigitSource, StoredDigits
from unlikelihood.data.images import numbered


@dataclass(frozen=True, kw_only=True)
class Digits(DigitSource):
    """The 1,797 digits of 8×8 pixels in scikit-learn, for trying things out without a download; see `DigitSource`.

    Examples
    --------
    >>> Digits(anomalous=(9,)).split().train
    Images(900 of shape (1, 8, 8), 0 anomalous)
    """

    full_scale: ClassVar[int] = 16
    train_per_digit: int = 100
    calibration_per_digit: int = 40
    test: int = 162

    @override
    def digits(self) -> StoredDigits:
        pixels, digit = load_digits(return_X_y=True)
        anywhere = np.ones(len(digit), dtype=bool)
        return StoredDigits(pixels.reshape(-1, 8, 8), digit, numbered("digits", len(digit)), anywhere, anywhere)
