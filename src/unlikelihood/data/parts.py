"""Parts of an experiment that lie in places of their own."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from unlikelihood.data.folder import Folder
from unlikelihood.data.images import Images, numbered
from unlikelihood.data.mapped import joined
from unlikelihood.data.source import RandomSplitSource, Source


@dataclass(frozen=True, kw_only=True)
class Parts(RandomSplitSource):
    """Training, calibration and test images from different sources; a path stands for the `Folder` there.

    What has no labels in train and calibration is taken as normal, and labelled anomalies there are left out. Where
    there is no calibration, some of train is taken for it, as `fractions` say. Names begin with the part.

    Further parameters are those of `RandomSplitSource`.

    Parameters
    ----------
    train, calibration, test : Source, str or Path, optional
        Where the images of each part are.

    Examples
    --------
    >>> Parts(train="scans/healthy", test="scans/mixed").train
    'scans/healthy'
    """

    train: Source | str | Path | None = field(default=None, kw_only=False)
    calibration: Source | str | Path | None = field(default=None, kw_only=False)
    test: Source | str | Path | None = field(default=None, kw_only=False)

    @override
    def read(self) -> Images:
        given = {"train": self.train, "calibration": self.calibration, "test": self.test}
        parts = [_part(name, source) for name, source in given.items() if source is not None]
        if not parts:
            raise ValueError("train=None, calibration=None and test=None: expected one of them at least")
        return _joined(parts)


def _part(part: str, source: Source | str | Path) -> Images:
    images = (source if isinstance(source, Source) else Folder(source)).read()
    names = numbered("", len(images)) if images.name is None else images.name
    return replace(
        images,
        label=np.zeros(len(images), np.int64) if images.label is None and part != "test" else images.label,
        name=np.array([f"{part}/{name}" for name in names]),
        part=np.full(len(images), part),
        unread={f"{part}/{name}": reason for name, reason in images.unread.items()},
        layout=f"{part}: {images.layout or type(source).__name__}",
    )


def _joined(parts: Sequence[Images]) -> Images:
    first = parts[0]
    for other in parts[1:]:
        for what in ("shape", "spacing", "orientation"):
            if getattr(other, what) != getattr(first, what):
                raise ValueError(
                    f"{other.layout}: {what} is {getattr(other, what)}, expected {getattr(first, what)} "
                    f"as in {first.layout}"
                )
    columns: dict[str, Any] = {}
    columns["pixels"] = joined([part.pixels for part in parts])
    for name in ("label", "group", "name", "mask", "part", "centre"):
        values = [getattr(part, name) for part in parts]
        columns[name] = None if any(value is None for value in values) else np.concatenate(values)
    layout = "\n".join(part.layout for part in parts)
    left_out = sum((Counter(part.left_out) for part in parts), Counter())
    unread = {name: reason for part in parts for name, reason in part.unread.items()}
    return replace(first, **columns, layout=layout, left_out=dict(left_out), unread=unread)
