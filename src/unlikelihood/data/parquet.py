"""Samples in Parquet files."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unlikelihood.data.arrays import channels_first
from unlikelihood.data.decoded import Decoded, Row
from unlikelihood.data.image_files import check_values, suffix_of
from unlikelihood.data.images import numbered
from unlikelihood.data.mapped import WHOLE, Mapped, Stored, held
from unlikelihood.data.packed_source import PackedRows, PackedSource, among
from unlikelihood.storage.extras import needing
from unlikelihood.storage.reading import Unreadable, calling, check_claim, naming

KEPT = 2  # row groups that are held of a column: threads read on both sides of where two meet


@dataclass(frozen=True, kw_only=True)
class Parquet(PackedSource):
    """Images, volumes or vectors in Parquet files, labelled or not.

    A column of encoded images (binary, or the struct of bytes and path that Hugging Face writes) is read as `Folder`
    reads image files. A column of lists of numbers is read as `Arrays` reads an array: nested, of fixed size, tensors,
    or flat with a `shape`. Files are read by row group, of which two at a time have to fit in memory. Samples are
    named "a.parquet/00012" after file and row.

    Further parameters are those of `PackedSource`.

    Parameters
    ----------
    column : str
        Name of the column of the samples.
    shape : tuple of int, optional
        Shape of a sample, for flat lists of numbers.
    channel_axis : int, optional
        Axis of the channels in (N, …), for lists of numbers, as in `Arrays`: None if there is no such axis.
    label : str, optional
        Name of the column of labels.
    group : str, optional
        Name of the column of groups (patients).
    name : str, optional
        Name of a column that takes the place of the row's number in the names.
    """

    suffix: ClassVar[str] = ".parquet"
    column: str = "image"
    shape: tuple[int, ...] | None = None
    channel_axis: int | None = 1
    label: str | None = None
    group: str | None = None
    name: str | None = None

    @override
    def opened(self) -> "ParquetRows":
        return ParquetRows(self, self.files())


class ParquetRows(PackedRows):
    """Samples in Parquet files, of which the row groups that are asked for are read.

    Parameters
    ----------
    source : Parquet
        Which columns are read, and how.
    files : list of Path
        The files.
    """

    def __init__(self, source: Parquet, files: list[Path]) -> None:
        with needing("parquet", "reading Parquet"):
            import pyarrow.parquet  # noqa: F401
        self.source = source
        self.encoded = False
        self._kept: dict[tuple[Any, ...], Any] = {}
        self._reading = Lock()
        groups = [self._groups_of(file, first=file == files[0]) for file in files]
        super().__init__(source, files, [sum(sizes) for sizes in groups], {})
        self._groups = [(file, group) for file, sizes in zip(files, groups, strict=True) for group in range(len(sizes))]
        self._group_starts = np.cumsum([0, *(size for sizes in groups for size in sizes)])

    @override
    def names(self, start: int, stop: int) -> NDArray[np.str_]:
        found = [
            numbered(self.files[k].name, last - first, first) for k, first, last in among(self.starts, start, stop)
        ]
        names = np.concatenate([np.empty(0, np.str_), *found])
        if self.source.name is None:
            return names
        given = self._column(self.source.name, start, stop)
        return np.array(
            [f"{name.partition('/')[0]}/{called}" for name, called in zip(names, given, strict=True)], np.str_
        )

    @override
    def labels(self, start: int, stop: int) -> list[int] | None:
        if (column := self.source.label) is None:
            return None
        values = self._column(column, start, stop)
        words = [str(int(value)) if isinstance(value, (bool, float)) and value in (0, 1) else value for value in values]
        return [
            self.source.names.label_in({column: str(word)}, column, self.where(start + k))
            for k, word in enumerate(words)
        ]

    @override
    def groups(self, start: int, stop: int) -> list[Any] | None:
        return None if self.source.group is None else self._column(self.source.group, start, stop)

    @override
    def window_of(self, dtype: np.dtype[Any]) -> tuple[float, float] | None:
        return super().window_of(dtype) if self.encoded else self.source.window

    @override
    def sample(self, number: int) -> Row:
        place = int(np.searchsorted(self._group_starts, number, side="right")) - 1
        row = number - int(self._group_starts[place])
        found = self._table(place, self.source.column)
        with calling(self.where(number), "an image" if self.encoded else "numbers"):
            if not self.encoded:
                values = found[row] if isinstance(found, np.ndarray) else self._numbers(found.slice(row, 1))[0]
                check_values(values)
                return Row(values, None, (values.shape, values.dtype))
            content = found[row].as_py()
            if content is None:
                raise ValueError("it is missing: the file holds no bytes of it")
            return self.image(content, suffix_of(content))

    @override
    def decoded(self, start: int, stop: int, *, skip: bool) -> Decoded:
        whole = None if self.encoded else self._together(start, stop)
        if whole is None:
            return super().decoded(start, stop, skip=skip)
        return Decoded(held(Mapped([Stored(whole, self.source.window)])), None, np.arange(stop - start), [])

    def _together(self, start: int, stop: int) -> NDArray[Any] | None:
        """Return samples that are arrays alike, and few; None of others, which are read one by one."""
        parts: list[NDArray[Any]] = []
        for place, first, last in among(self._group_starts, start, stop):
            found = self._table(place, self.source.column)
            if not isinstance(found, np.ndarray) or found[0].size * (stop - start) * 4 > WHOLE:
                return None
            parts.append(found[first:last])
        if len({(part.shape[1:], part.dtype) for part in parts}) != 1:
            return None
        whole = np.concatenate(parts)
        try:
            check_values(whole)
        except ValueError:
            return None
        return whole

    def _groups_of(self, file: Path, *, first: bool) -> list[int]:
        """Return the rows of each row group of a file, after a look at its columns."""
        with naming(file, "a Parquet file"), _opened(file) as content:
            schema = content.schema_arrow
            for parameter in ("column", "label", "group", "name"):
                if (name := getattr(self.source, parameter)) is not None and schema.names.count(name) != 1:
                    raise ValueError(f"{parameter}={name!r}: expected one of its columns {', '.join(schema.names)}")
            if self.source.group is not None and not _names(schema.field(self.source.group).type):
                raise ValueError(f"group={self.source.group!r}: expected a column of text or of whole numbers")
            encoded = _is_encoded(schema.field(self.source.column).type, self.source)
            if not first and encoded != self.encoded:
                raise ValueError(f"its column {self.source.column} is of another kind than in the first file")
            self.encoded = encoded
            known = content.metadata
            sizes = [known.row_group(group).num_rows for group in range(known.num_row_groups)]
            if min(sizes, default=0) < 0 or sum(sizes) != known.num_rows:
                raise ValueError(f"its row groups hold {sizes[:9]} rows, its head says {known.num_rows}")
            return sizes

    def _column(self, name: str, start: int, stop: int) -> list[Any]:
        """Return what a column holds from `start` to before `stop`: nothing missing."""
        found: list[Any] = []
        for place, first, last in among(self._group_starts, start, stop):
            values = self._table(place, name).slice(first, last - first)
            if values.null_count:
                row = self._group_starts[place] + first + values.is_null().to_pylist().index(True)
                raise Unreadable(f"{self._at(int(row))}: its column {name} is empty")
            found.extend(values.to_pylist())
        return found

    def _at(self, number: int) -> str:
        """Return the file and the row of a sample."""
        file = self.file_of(number)
        return f"{file}/{number - self.starts[list(self.files).index(file)]:05d}"

    def _table(self, place: int, name: str) -> Any:
        """Return a column of a row group; that of numbers as an array, or as lists if these make none."""
        with self._reading:
            if (place, name) not in self._kept:
                found = self._read(place, name)
                held_now = [key for key in self._kept if key[1] == name]
                if len(held_now) == KEPT:
                    del self._kept[held_now[0]]
                self._kept[place, name] = found
            return self._kept[place, name]

    def _read(self, place: int, name: str) -> Any:
        import pyarrow.compute

        file, group = self._groups[place]
        with naming(file, "a Parquet file"), _opened(file) as content:
            part = content.metadata.row_group(group)
            check_claim(file.stat().st_size, part.total_byte_size)
            table = content.read_row_group(group, columns=[name], use_threads=False)
            expected = int(self._group_starts[place + 1] - self._group_starts[place])
            if table.num_rows != expected:
                raise ValueError(f"its row group {group} holds {table.num_rows} rows, expected {expected}")
            values = table.column(name).combine_chunks()
            if name != self.source.column:
                return values
            if self.encoded:
                return pyarrow.compute.struct_field(values, "bytes") if _is_struct(values.type) else values
            try:
                return self._numbers(values)
            except ValueError:  # which the sample at fault will say
                return values

    def _numbers(self, values: Any) -> NDArray[Any]:
        """Return lists of numbers as an array (n, C, …) or (n, F)."""
        import pyarrow

        shape = self.source.shape
        if isinstance(values.type, pyarrow.BaseExtensionType):
            shape = shape or tuple(values.type.shape)
            values = values.storage
        sizes = [len(values)]
        while _is_list(values.type):
            if values.null_count:
                raise ValueError("it is missing, or a list in it")
            lengths = np.asarray(values.value_lengths())
            if (lengths != lengths[:1]).any():
                raise ValueError("its lists differ in length")
            sizes.append(int(lengths[0]) if len(lengths) else 0)
            values = values.flatten()
        if values.null_count:
            raise ValueError("some of its numbers are missing")
        if shape is not None:
            if math.prod(shape) != math.prod(sizes[1:]) or min(shape) < 1:
                raise ValueError(f"it holds {math.prod(sizes[1:])} numbers, expected shape={tuple(shape)}")
            sizes = [sizes[0], *shape]
        return channels_first(values.to_numpy(zero_copy_only=False).reshape(sizes), self.source.channel_axis)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    import pyarrow.parquet

    with pyarrow.OSFile(str(file)) as content:
        yield pyarrow.parquet.ParquetFile(content, page_checksum_verification=True)


def _names(kind: Any) -> bool:
    """Return whether a column of a type may name groups."""
    from pyarrow import types

    own = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_integer(own) or types.is_string(own) or types.is_large_string(own))


def _is_struct(kind: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_struct(kind))


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return any(is_one(kind) for is_one in (types.is_list, types.is_large_list, types.is_fixed_size_list))


def _is_encoded(kind: Any, source: Parquet) -> bool:
    """Return whether a column of a type holds encoded images, and not numbers."""
    import pyarrow
    from pyarrow import types

    binary = kind.field("bytes").type if types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
    if types.is_binary(binary) or types.is_large_binary(binary):
        if source.shape is not None:
            raise ValueError(f"shape={source.shape}: expected None for its column {source.column} of encoded images")
        return True
    inner = kind.storage_type if isinstance(kind, pyarrow.BaseExtensionType) else kind
    depth = 0
    while _is_list(inner):
        inner, depth = inner.value_type, depth + 1
    if not depth or not (types.is_integer(inner) or types.is_floating(inner) or types.is_boolean(inner)):
        raise ValueError(f"column={source.column!r} holds {kind}, expected encoded images or lists of numbers")
    if source.size is not None or source.channels is not None:
        raise ValueError(f"size and channels are for encoded images, expected None for {source.column} of numbers")
    return False
