"""Tables on disk: CSV, and Parquet where pyarrow is installed, with what each column means.

A Parquet file holds that in its metadata. A comment in a CSV file would break those who read it, so there it stands in
a file beside it, ``scores.csv-metadata.json``, as the W3C's "Metadata vocabulary for tabular data" (2015) has it.
"""

import csv
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from unlikelihood.storage.files import replacing
from unlikelihood.storage.models import POLARITY

Columns = Mapping[str, np.ndarray]
MEANINGS = {
    "name": "where the sample came from",
    "score": POLARITY,
    "probability": "probability of being anomalous, higher = more anomalous",
    "p_value": "conformal p-value among calibration normals, lower = more anomalous",
    "decision": "-1 anomalous, +1 normal",
    "label": "0 normal, 1 anomalous",
    "group": "what belongs together, usually a patient",
}


def writer(path: Path) -> Callable[..., None]:
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


def write_csv(path: Path, columns: Columns, facts: Mapping[str, str] | None = None) -> None:
    """Write columns of equal length, floats so that they read back to the bit, and their meanings beside them.

    Parameters
    ----------
    path : Path
        The file; its metadata goes to a file of the same name with ``-metadata.json`` after it.
    columns : mapping of str to ndarray, shape (n,)
        By name.
    facts : mapping of str to str, optional
        What else belongs to the table, such as the α of its decisions.
    """
    described = {
        "@context": "http://www.w3.org/ns/csvw",
        "url": path.name,
        **{f"unlikelihood:{name}": fact for name, fact in (facts or {}).items()},
        "tableSchema": {"columns": [{"name": name, "dc:description": MEANINGS.get(name, "")} for name in columns]},
    }
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    with replacing(path.with_name(f"{path.name}-metadata.json")) as temporary:
        temporary.write_text(json.dumps(described, indent=1), encoding="utf-8")


def write_parquet(path: Path, columns: Columns, facts: Mapping[str, str] | None = None) -> None:
    """Write columns of equal length, with their meanings in the file's metadata and in each column's.

    Parameters
    ----------
    path : Path
        The file.
    columns : mapping of str to ndarray, shape (n,)
        By name.
    facts : mapping of str to str, optional
        What else belongs to the table, such as the α of its decisions.
    """
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({name: column.tolist() for name, column in columns.items()})
    meanings = {name: MEANINGS.get(name, "") for name in columns}
    fields = [field.with_metadata({"description": meanings[field.name]}) for field in table.schema]
    described = table.cast(pyarrow.schema(fields, metadata=meanings | dict(facts or {})))
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(described, temporary)
