"""Packages that are installed with an extra, and imported where they are needed."""

from collections.abc import Iterator
from contextlib import contextmanager


class MissingPackage(ImportError):
    """Raised where a package is needed that is not installed; the message says how to install it."""


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Say which extra installs the package that an import in the block lacks.

    Parameters
    ----------
    extra : str
        Its name in ``pyproject.toml``.
    what : str
        What needs the package, such as "writing .parquet".

    Raises
    ------
    MissingPackage
        If an import fails.
    """
    try:
        yield
    except ImportError as error:
        package = error.name.partition(".")[0] if error.name else error
        raise MissingPackage(f"{what} needs {package}: pip install 'unlikelihood[{extra}]'") from error
