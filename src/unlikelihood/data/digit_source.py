"""Digits of which some are anomalies, in the parts of the thesis' protocol: equally many of each digit."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unlikelihood.data.images import Images
from unlikelihood.data.mapped import Mapped, Stored, held
from unlikelihood.data.source import Source
from unlikelihood.data.splits import Split, draw


class StoredDigits(NamedTuple):
    """Images (N, H, W) as they are stored, the digit in each, their names, and which may be used for what."""

    pixels: Any  # an array or `Mapped`
    digit: NDArray[np.integer]
    name: NDArray[np.str_]
    trainable: NDArray[np.bool_]
    testable: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class DigitSource(Source):
    """Images of digits, some of which count as anomalies; intensities in [0, 1].

    Each normal digit gives equally many images to train on and to calibrate with. The test holds as many normals as
    anomalies, equally many of each digit as far as there are enough of it.

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
    """

    full_scale: ClassVar[int]  # the stored intensity that becomes 1
    anomalous: tuple[int, ...] = (9,)
    train_per_digit: int
    calibration_per_digit: int
    test: int

    @abstractmethod
    def digits(self) -> StoredDigits:
        """Read what is stored."""

    @override
    def read(self) -> Images:
        return self._images(self.digits(), slice(None))

    @override
    def split(self) -> Split:
        digits = self.digits()  # as they are stored until some are chosen: float32 may take four times the memory
        train_rng, *test_rngs = np.random.default_rng(self.seed).spawn(3)
        test = self._test(digits, test_rngs)
        free = digits.trainable.copy()
        free[test] = False
        train, calibration = self._train_and_calibration(digits.digit, free, train_rng)
        return Split(
            train=self._images(digits, train),
            calibration=self._images(digits, calibration),
            test=self._images(digits, test),
            left_out={"digits beyond the counts": len(digits.digit) - len(train) - len(calibration) - len(test)},
        )

    def _images(self, digits: StoredDigits, chosen: NDArray[np.intp] | slice) -> Images:
        stored = Mapped.of(digits.pixels)
        scaled = [Stored(part.values[:, None], (0, self.full_scale)) for part in stored.parts]
        return Images(
            pixels=held(Mapped(scaled, stored.rows).choose(chosen)),
            label=self._label(digits.digit[chosen]),
            name=digits.name[chosen],
        )

    def _label(self, digit: NDArray[np.integer]) -> NDArray[np.int64]:
        if not 0 < len(set(self.anomalous)) < 10 or not set(self.anomalous) <= set(range(10)):
            raise ValueError(f"anomalous={self.anomalous!r}: expected some, but not all, of the digits 0 to 9")
        return np.isin(digit, list(self.anomalous)).astype(np.int64)

    def _test(self, digits: StoredDigits, rngs: Sequence[np.random.Generator]) -> NDArray[np.intp]:
        label, chosen = self._label(digits.digit), []
        for kind, (word, rng) in enumerate(zip(("normal", "anomalous"), rngs, strict=True)):
            candidates = np.flatnonzero(digits.testable & (label == kind))
            if self.test > len(candidates):
                raise ValueError(f"test={self.test}: expected at most {len(candidates)}, the number of {word} digits")
            chosen.append(candidates[draw(digits.digit[candidates], self.test, rng)])
        return np.sort(np.concatenate(chosen))

    def _train_and_calibration(
        self, digit: NDArray[np.integer], free: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        train, calibration = [], []
        wanted = self.train_per_digit + self.calibration_per_digit
        for one in sorted(set(range(10)) - set(self.anomalous)):
            candidates = rng.permutation(np.flatnonzero(free & (digit == one)))
            if wanted > len(candidates):
                raise ValueError(
                    f"train_per_digit={self.train_per_digit} and calibration_per_digit={self.calibration_per_digit}: "
                    f"expected at most {len(candidates)} in all, the number of images of digit {one}"
                )
            train.append(candidates[: self.train_per_digit])
            calibration.append(candidates[self.train_per_digit : wanted])
        return np.sort(np.concatenate(train)), np.sort(np.concatenate(calibration))
