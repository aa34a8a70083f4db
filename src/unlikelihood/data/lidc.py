"""Real lung nodules of the LIDC-IDRI collection, as cubes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unlikelihood.data.arrays import npz_array, numpy_file
from unlikelihood.data.images import Images, numbered
from unlikelihood.data.source import DataUnavailable, Source, data_folders, existing, first_file
from unlikelihood.data.splits import Split

FILE = "lidc_nodules_32.npz"
RATINGS = (1, 2, 3, 4, 5)
INDETERMINATE = 3  # the middle of the radiologist's five ratings


@dataclass(frozen=True, kw_only=True)
class LIDC(Source):
    """Lung nodules of LIDC-IDRI, one a patient, of which a radiologist rated how malignant they look.

    Nodules rated 1 or 2 are normal and those rated 4 or 5 anomalous; those rated 3 are left out. Intensities are the
    file's 8 bits divided by 255. No fold trains on a patient that it tests: it tests on its own share of the normals
    and on all anomalies, which nothing trains on, and trains on the other normals. There is no calibration part.

    The file, `lidc_nodules_32.npz`, has the arrays `volumes` (n, 32, 32, 32) and `malignancy`, 1 to 5; it cannot be
    downloaded, and does not say how its axes lie in the patient.

    Parameters
    ----------
    path : str or Path, optional
        The file; looked for in `$UNLIKELIHOOD_DATA` and the cache unless given.
    folds : int
        Into how many shares the normals are divided. The remainder of `seed` by it is the fold, and the shares follow
        from the quotient.
    """

    path: str | Path | None = None
    folds: int = 5

    @override
    def read(self) -> Images:
        file = self._file()
        with numpy_file(file) as arrays:
            volumes, malignancy = (npz_array(file, arrays, key) for key in ("volumes", "malignancy"))
        if volumes.dtype != np.uint8 or volumes.ndim != 4:
            raise ValueError(f"{file}: volumes of {volumes.dtype} {volumes.shape}, expected uint8 (n, 32, 32, 32)")
        if (
            malignancy.dtype.kind not in "iuf"
            or malignancy.shape != (len(volumes),)
            or not np.isin(malignancy, RATINGS).all()
        ):
            raise ValueError(f"{file}: malignancy of shape {malignancy.shape}, expected 1 to 5 for each volume")
        rated = malignancy != INDETERMINATE
        name = numbered("lidc", len(volumes))[rated]
        return Images(
            pixels=volumes[rated][:, None] / np.float32(255),
            label=(malignancy[rated] > INDETERMINATE).astype(np.int64),
            group=name,
            name=name,
            left_out={"nodules rated 3, indeterminate": int((~rated).sum())},
        )

    @override
    def split(self) -> Split:
        images = self.read()
        if images.label is None or not 2 <= self.folds <= int((images.label == 0).sum()):
            raise ValueError(f"folds={self.folds}: expected at least 2 and at most one for each normal nodule")
        tested = images.label == 1
        tested[self._share(np.flatnonzero(images.label == 0))] = True
        return Split(train=images[~tested], calibration=images[:0], test=images[tested])

    def _share(self, normal: NDArray[np.intp]) -> NDArray[np.intp]:
        repetition, fold = divmod(self.seed, self.folds)
        return np.array_split(np.random.default_rng(repetition).permutation(normal), self.folds)[fold]

    def _file(self) -> Path:
        if self.path is not None:
            return existing("path", self.path)
        if file := first_file(data_folders(), FILE):
            return file
        raise DataUnavailable(f"{FILE} is not at hand: put it into $UNLIKELIHOOD_DATA or the cache, or give its path")
