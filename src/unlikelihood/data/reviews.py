"""What a reviewer said of samples, from the CSV file that the page of a triage exports."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.images import Images
from unlikelihood.data.labels import read_table

LABELS = {"normal": 0, "anomalous": 1}
SAID = (*LABELS, "unsure")


@dataclass(frozen=True, eq=False)
class Reviews:
    """The rows of a table of reviews.

    Parameters
    ----------
    path : Path
        Its file.
    name : ndarray of str, shape (n,)
        Of the samples; all differ.
    review : ndarray of str, shape (n,)
        normal, anomalous or unsure, and empty of what was not reviewed.
    line : ndarray of int, shape (n,)
        Where each row stands in the file.
    anomaly_score, p_value : ndarray of float64, shape (n,)
        Of the detector that was reviewed, as far as the table has them; nan where a sample has none.
    """

    path: Path
    name: NDArray[np.str_]
    review: NDArray[np.str_]
    line: NDArray[np.intp]
    anomaly_score: NDArray[np.float64]
    p_value: NDArray[np.float64]

    @property
    def said(self) -> dict[str, str]:
        """What was said of each sample that was reviewed, by its name."""
        reviewed = self.review != ""
        return dict(zip(self.name[reviewed].tolist(), self.review[reviewed].tolist(), strict=True))

    @property
    def label(self) -> NDArray[np.int64]:
        """The label of each row: 0 normal, 1 anomalous, and −1 where the review is none or unsure."""
        return np.array([LABELS.get(review, -1) for review in self.review.tolist()], np.int64)

    def refuse_unknown(self, names: Iterable[str]) -> None:
        """Raise a ValueError that names the line in which a sample was reviewed that is none of these."""
        known, said = set(names), self.said
        for name, line in zip(self.name.tolist(), self.line.tolist(), strict=True):
            if name in said and name not in known:
                raise ValueError(
                    f"reviews={self.path}, line {line}: name={name!r}, expected one of the {len(known)} samples"
                )


def read_reviews(path: Path) -> Reviews:
    """Read a CSV table with the columns name and review, and as far as they are known anomaly_score and p_value.

    Raises
    ------
    ValueError
        If a review is none of those that there are, a sample is reviewed again, or a number is none; it names the line.
    OSError
        If there is no such file.
    """
    if not path.exists():
        raise FileNotFoundError(f"reviews is {str(path)!r}: no such file")
    _, rows = read_table(path, ["name", "review"], "reviews")
    first: dict[str, tuple[int, str]] = {}
    for line, row in rows:
        where, name, review = f"reviews={path}, line {line}", row["name"], row["review"]
        if review not in ("", *SAID):
            raise ValueError(f"{where}: review={review!r}, expected one of {', '.join(SAID)}, or nothing")
        if name in first:
            other, before = first[name]
            raise ValueError(
                f"{where}: name={name!r} for the second time, {review or 'not reviewed'} here and "
                f"{before or 'not reviewed'} in line {other}; expected it once"
            )
        first[name] = line, review
    return Reviews(
        path=path,
        name=np.array(list(first), np.str_),
        review=np.array([review for _, review in first.values()], np.str_),
        line=np.array([line for line, _ in rows], np.intp),
        anomaly_score=_numbers(path, rows, "anomaly_score"),
        p_value=_numbers(path, rows, "p_value"),
    )


def named(images: Images) -> Images:
    """Return images with names: their own, which must differ, or their numbers, as tables have them."""
    if images.name is None:
        return replace(images, name=np.arange(len(images)).astype(str))
    names, counts = np.unique(images.name, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"two samples have the name {str(names[counts > 1][0])!r}: expected names that differ, to review by"
        )
    return images


def labelled(images: Images, reviews: Reviews) -> Images:
    """Return the images that were reviewed as normal or as anomalous, with these labels instead of their own.

    Those that were not, or of which the reviewer was unsure, are counted as left out.

    Raises
    ------
    ValueError
        If a sample was reviewed that is not among them; it names the line.
    """
    images = named(images)
    names = np.asarray(images.name).tolist()
    reviews.refuse_unknown([*names, *images.unread])
    of = reviews.said
    said = [of.get(name, "") for name in names]
    chosen = np.array([place for place, review in enumerate(said) if review in LABELS], np.intp)
    left_out = {"not reviewed": said.count(""), "unsure in the review": said.count("unsure")}
    return replace(
        images[chosen],
        label=np.array([LABELS[said[place]] for place in chosen], np.int64),
        part=None,
        layout=f"{images.layout or 'samples'}, as reviewed in {reviews.path}",
        left_out=dict(images.left_out) | {what: count for what, count in left_out.items() if count},
    )


def _numbers(path: Path, rows: list[tuple[int, dict[str, str]]], column: str) -> NDArray[np.float64]:
    found = []
    for line, row in rows:
        try:
            found.append(float(row.get(column) or math.nan))
        except ValueError:
            raise ValueError(f"reviews={path}, line {line}: {column}={row[column]!r}, expected a number") from None
    return np.array(found, np.float64)
