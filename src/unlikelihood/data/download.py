"""Fetching public data: checked by hash, and complete or absent."""

# Not by pooch, which checks the hash of what it downloads: the same MNIST is about under several gzip headers, so only
# its unzipped content has a hash. Nor does pooch try another mirror.

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from http.client import HTTPException
from io import BufferedIOBase
from pathlib import Path
from urllib.request import urlopen

from unlikelihood.data.source import DataUnavailable
from unlikelihood.progress import progress
from unlikelihood.storage.files import replacing

GZIP_MAGIC = b"\x1f\x8b"
CHUNK = 1 << 18  # bytes


def fetch(urls: Sequence[str], target: Path, md5: str, timeout: float = 30.0) -> Path:
    """Download a file from the first of its mirrors that has it whole.

    Parameters
    ----------
    urls : sequence of str
        Where the file is, the preferred place first.
    target : Path
        What it will be called. Nothing is there before the whole file is, and its hash has been checked.
    md5 : str
        Expected MD5 of the file, unzipped if it is a gzip file.
    timeout : float
        Seconds without a byte after which a mirror is given up.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    DataUnavailable
        If no mirror has it; the message says why for each.
    """
    failures = []
    for url in urls:
        try:
            with replacing(target) as part:
                _copy(url, part, timeout)
                if (found := content_md5(part)) != md5:
                    raise OSError(f"MD5 {found}, expected {md5}")
        except (OSError, EOFError, HTTPException, zlib.error) as error:
            failures.append(f"{url} ({str(error) or type(error).__name__})")
        else:
            return target
    raise DataUnavailable(
        f"{target.name} could not be downloaded, put it in {target.parent} yourself: {'; '.join(failures)}"
    )


def opened(path: Path) -> BufferedIOBase:
    """Open a file, unzipping it if its content, whatever its name, is that of a gzip file."""
    return gzip.open(path, "rb") if is_gzip(path) else path.open("rb")


def is_gzip(path: Path) -> bool:
    """Return whether the content of a file, whatever its name, is that of a gzip file."""
    with path.open("rb") as file:
        return file.read(len(GZIP_MAGIC)) == GZIP_MAGIC


def content_md5(path: Path) -> str:
    """Return the MD5 of a file's content, unzipped if it is a gzip file, as 32 hexadecimal digits."""
    with opened(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _copy(url: str, part: Path, timeout: float) -> None:
    with urlopen(url, timeout=timeout) as response, part.open("wb") as file:
        length = response.headers.get("Content-Length")
        with progress(f"Downloading {url.rsplit('/')[-1]}", total=int(length) if length else None) as update:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                update(len(chunk))
