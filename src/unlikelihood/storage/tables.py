"""Tables on disk: CSV, and Parquet where pyarrow is installed."""

import csv
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from unlikelihood.storage.extras import needing
from unlikelihood.storage.files import replacing

Columns = Mapping[str, np.ndarray]
"""By name, columns of equal length (n,)."""


def writer(path: Path) -> Callable[[Columns], None]:
    """Return the function that writes columns to `path`, by its ending.

    Raises
    ------
    ValueError
        If the ending is neither ``.csv`` nor ``.parquet``: before anything is scored.
    MissingPackage
        If it is ``.parquet`` and pyarrow is not installed.
    """
    if path.suffix == ".csv":
        return partial(write_csv, path)
    if path.suffix == ".parquet":
        with needing("parquet", "writing .parquet"):
            import pyarrow  # noqa: F401
        return partial(write_parquet, path)
    raise ValueError(f"out is {str(path)!r}, expected a name that ends in .csv or .parquet")


def write_csv(path: Path, columns: Columns) -> None:
    """Write columns to a CSV file, floats so that they read back to the bit."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))


def write_parquet(path: Path, columns: Columns) -> None:
    """Write columns to a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({name: column.tolist() for name, column in columns.items()})
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)
