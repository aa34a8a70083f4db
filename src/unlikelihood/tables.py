"""Tables on disk: CSV, and Parquet where pyarrow is installed."""

import csv
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from unlikelihood.files import replacing
from unlikelihood.persistence import POLARITY

Columns = Mapping[str, np.ndarray]


def writer(path: Path) -> Callable[[Columns], None]:
    """Return the function that writes columns to `path`, by its ending.

    Raises
    ------
    ValueError
        If the ending is neither ``.csv`` nor ``.parquet``: before anything is scored.
    ImportError
        If it is ``.parquet`` and pyarrow is not installed.
    """
    if path.suffix == ".csv":
        return partial(write_csv, path)
    if path.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise ImportError("writing .parquet needs pyarrow: pip install 'unlikelihood[parquet]'") from None
        return partial(write_parquet, path)
    raise ValueError(f"out is {str(path)!r}, expected a name that ends in .csv or .parquet")


def write_csv(path: Path, columns: Columns) -> None:
    """Write columns of equal length; floats so that they read back to the bit."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))


def write_parquet(path: Path, columns: Columns) -> None:
    """Write columns of equal length, with the score's polarity in the file's metadata."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({name: column.tolist() for name, column in columns.items()})
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(table.replace_schema_metadata({"score": POLARITY}), temporary)
