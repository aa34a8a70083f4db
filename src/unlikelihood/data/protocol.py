"""The protocol of the thesis for digits: some are anomalies, and all parts hold equally many of each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.splits import draw


def digit_label(digit: NDArray[np.integer], anomalous: Sequence[int]) -> NDArray[np.int64]:
    """Label digits.

    Parameters
    ----------
    digit : ndarray of int of shape (N,)
        The digit, 0 to 9.
    anomalous : sequence of int
        The digits that count as anomalies.

    Returns
    -------
    ndarray of int of shape (N,)
        0 normal, 1 anomalous.

    Raises
    ------
    ValueError
        If no digit is anomalous, none is left to be normal, or one does not exist.
    """
    if not 0 < len(set(anomalous)) < 10 or not set(anomalous) <= set(range(10)):
        raise ValueError(f"anomalous={tuple(anomalous)!r}: expected some, but not all, of the digits 0 to 9")
    return np.isin(digit, list(anomalous)).astype(np.int64)


def cut_digits(
    digit: NDArray[np.integer],
    anomalous: Sequence[int],
    *,
    trainable: NDArray[np.bool_],
    testable: NDArray[np.bool_],
    train_per_digit: int,
    calibration_per_digit: int,
    test: int,
    seed: int,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Choose the parts of the thesis' protocol: equal per normal digit in training, balanced in the test.

    Parameters
    ----------
    digit : ndarray of int of shape (N,)
        The digit, 0 to 9.
    anomalous : sequence of int
        The digits that count as anomalies.
    trainable, testable : ndarray of bool of shape (N,)
        Which images may be trained and calibrated on, and which tested. Where both, the test chooses first.
    train_per_digit, calibration_per_digit : int
        Training and calibration images of each normal digit.
    test : int
        Number of normals, and of anomalies, in the test.
    seed : int
        Seed of the choice.

    Returns
    -------
    tuple of three ndarrays of int
        Indices for training, calibration and test, each in increasing order.

    Raises
    ------
    ValueError
        If there are too few digits of some kind.
    """
    label = digit_label(digit, anomalous)
    train_rng, *test_rngs = np.random.default_rng(seed).spawn(3)
    tested = []
    for kind, (word, rng) in enumerate(zip(("normal", "anomalous"), test_rngs, strict=True)):
        candidates = np.flatnonzero(testable & (label == kind))
        if test > len(candidates):
            raise ValueError(f"test={test}: expected at most {len(candidates)}, the number of {word} digits")
        tested.append(candidates[draw(digit[candidates], test, rng)])
    tested_index = np.sort(np.concatenate(tested))

    free = trainable & (label == 0)
    free[tested_index] = False
    train, calibration = [], []
    wanted = train_per_digit + calibration_per_digit
    for one in sorted(set(range(10)) - set(anomalous)):
        candidates = train_rng.permutation(np.flatnonzero(free & (digit == one)))
        if wanted > len(candidates):
            raise ValueError(
                f"train_per_digit={train_per_digit} and calibration_per_digit={calibration_per_digit}: "
                f"expected at most {len(candidates)} in all, the number of images of digit {one}"
            )
        train.append(candidates[:train_per_digit])
        calibration.append(candidates[train_per_digit:wanted])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(calibration)), tested_index
