"""Records in JSON that know whether they are still what was written."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlikelihood.storage.reading import naming


def seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of plain values with its checksum, for a JSON file that `read_sealed` reads."""
    plain = json.loads(json.dumps(record, allow_nan=False))  # as it is read again: keys are text
    plain.pop("checksum", None)  # of what was read
    return {**plain, "checksum": sha256(canonical(plain))}


def read_sealed(path: Path) -> dict[str, Any]:
    """Return the record in a JSON file, without its checksum.

    One of an earlier version, which has none, is taken as it is.

    Raises
    ------
    ValueError
        If it is no record, or was changed after it was written; the message names the file.
    OSError
        If there is no such file.
    """
    if not path.exists() and not path.is_symlink():
        raise FileNotFoundError(f"{path}: no such file")
    with naming(path, "a record"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError(f"it holds a {type(record).__name__}")
        kept = record.pop("checksum", None)
        if kept is not None and kept != sha256(canonical(record)):
            raise ValueError("it was changed after it was written: its checksum does not fit")
    return record


def canonical(record: Mapping[str, Any]) -> bytes:
    """Return the bytes that the checksum of a record is taken over."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
