"""Shards: ranges of the rows of an archive, and the Parquet parts that hold their scores."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unlikelihood.storage.files import recover, replacing
from unlikelihood.storage.tables import Columns

BLOCK = 256  # samples that are scored together, at least
MOST = 4096  # samples of a shard
BYTES = 2**26  # that a shard takes in float32, at most
FOLDER = 1000  # parts in a folder: writing one looks through those beside it
MANIFEST = b"unlikelihood"  # the key of a part's manifest in its metadata


class Shard(NamedTuple):
    """The rows from `start` to before `stop`, whose part has a `number`."""

    number: int
    start: int
    stop: int

    def __str__(self) -> str:
        return f"shard {self.number} (rows {self.start} to {self.stop - 1})"


def rows_in_shard(shape: Sequence[int], block: int) -> int:
    """Return how many samples of a shape make a shard: whole blocks of them, that fit into 64 MiB."""
    return max(1, min(MOST, BYTES // (4 * math.prod(shape))) // block) * block


def shards(n: int, size: int) -> Iterator[Shard]:
    """Yield the shards of n rows, `size` each but the last.

    Examples
    --------
    >>> [(shard.start, shard.stop) for shard in shards(10, 4)]
    [(0, 4), (4, 8), (8, 10)]
    """
    for number, start in enumerate(range(0, n, size)):
        yield Shard(number, start, min(start + size, n))


def part_of(folder: Path, shard: Shard) -> Path:
    """Return the file of the part of a shard."""
    return folder / f"{shard.number // FOLDER:06d}" / f"part-{shard.number:09d}.parquet"


def parts_in(folder: Path) -> list[Path]:
    """Return the parts that are in a folder, in order."""
    return sorted(folder.glob("[0-9]*/part-*.parquet"))


def manifest_of(part: Path) -> dict[str, Any]:
    """Return the manifest of a part, empty where there is none, or no whole one: its shard is scored again then."""
    import pyarrow
    import pyarrow.parquet

    recover(part)
    try:
        return dict(json.loads(pyarrow.parquet.read_schema(part).metadata[MANIFEST]))
    except (OSError, pyarrow.ArrowException, KeyError, TypeError, ValueError):
        return {}


def write_part(part: Path, table: Columns, manifest: dict[str, Any]) -> None:
    """Write a table and its manifest as one file, which is there whole or not at all."""
    import pyarrow
    import pyarrow.parquet

    made = {
        name: pyarrow.array(column.tolist(), pyarrow.string())
        if column.dtype.kind in "OU"
        else pyarrow.array(column, pyarrow.float64(), from_pandas=True)  # nan is nothing
        for name, column in table.items()
    }
    known = pyarrow.table(made, metadata={MANIFEST: json.dumps(manifest, sort_keys=True)})
    with replacing(part) as temporary:
        pyarrow.parquet.write_table(known, temporary, write_page_checksum=True)
