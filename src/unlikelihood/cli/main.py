"""The command line: it reads arguments, calls `commands`, and turns errors into one line."""

import sys
import warnings
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib.metadata import version
from itertools import pairwise
from typing import TextIO

from jsonargparse import ArgumentParser, DefaultHelpFormatter

import unlikelihood
from unlikelihood.storage.discovery import names

COMMANDS = {
    "fit": "fit a detector to the normal training samples of a data set",
    "score": "score every sample of a data set with a fitted detector",
    "evaluate": "test a fitted detector on unseen normals and anomalies, and write the report",
    "reproduce": "run a named experiment over several seeds, and compare it with the published result",
    "show": "summarise a data set: counts, shape, intensities, groups, and a gallery",
    "cache": "say what is kept of decoded images and resampled scans, and clear it",
}
PARTS = ("train", "calibration", "test")
PARTED = ("fit", "evaluate")  # commands that take the parts of the data from places of their own
EXPECTED = (ValueError, OSError, ArithmeticError, ImportError, RuntimeError)  # others are told with their type
EPILOGUE = """\
examples:
  unlikelihood reproduce mnist-vae --quick --out reports/demo
  unlikelihood fit --data MNIST --detector VAE --detector.latent 20 --out models/vae
  unlikelihood score models/vae --data Folder --data.path scans/ --out scores.csv
  unlikelihood evaluate models/vae --data MNIST --out reports/vae
  unlikelihood fit --train healthy/ --calibration later/ --out models/mine
  unlikelihood evaluate models/mine --test mixed/ --out reports/mine

`unlikelihood COMMAND --help` explains a command, `unlikelihood fit --data.help MNIST` a data
source and `unlikelihood fit --detector.help VAE` a detector. Research software, not a medical device.
"""


class Help(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the lines of the examples as they are written."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of the process unless given.

    Returns
    -------
    int
        0, 1 after an error, or 130 after an interruption. Wrong arguments exit with 2.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = ArgumentParser(
        prog="unlikelihood",
        description=unlikelihood.__doc__,
        epilog=EPILOGUE,
        formatter_class=Help,
        version=version("unlikelihood"),
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    chosen = next((word for word in given if not word.startswith("-")), None)
    subcommands = parser.add_subcommands(dest="command", metavar="COMMAND", required=False)
    for name, line in COMMANDS.items():
        subparser = ArgumentParser(description=f"{line[0].upper()}{line[1:]}.")
        if name == chosen:
            # Only now is torch imported, and only the chosen command's parser is filled.
            from unlikelihood.cli import commands

            getattr(commands, f"{name}_arguments")(subparser)
        subcommands.add_subcommand(name, subparser, help=line)
    given = _with_source(given, chosen)
    for option, package in (("--data", "data"), ("--detector", "detectors")):
        named = _value(given, option)
        if named is not None and named not in names(package) and "." not in named:
            from unlikelihood.cli import commands

            parser.error(f"{option} {named}: expected one of {', '.join(commands.choices(package))}")
    source, part = _value(given, "--data"), _first_part(given, chosen)
    if part and source in names("data"):
        from unlikelihood.cli import commands

        if not commands.takes_path(source):
            parser.error(f"--{part}: expected with a source of one path, such as Folder or Volumes, not {source}")
    parsed = parser.parse_args(given)
    if parsed.command is None:
        parser.print_help()
        return 0
    return _run(parsed.command, parser.instantiate(parsed)[parsed.command], debug=parsed.debug)


def _value(given: Sequence[str], option: str) -> str | None:
    """Return what the command line says of an option, None if nothing."""
    after = (after for word, after in pairwise(given) if word == option)
    joined = (word.partition("=")[2] for word in given if word.startswith(f"{option}="))
    return next(after, None) or next(joined, None)


def _first_part(given: Sequence[str], command: str | None) -> str | None:
    """Return the first part of the data that is given by a path of its own."""
    return next((part for part in PARTS if command in PARTED and _value(given, f"--{part}")), None)


def _with_source(given: list[str], command: str | None) -> list[str]:
    """Add the source that reads the parts given by paths, which is Folder unless another is named."""
    part = _first_part(given, command)
    if command is None or part is None:
        return given
    after = given.index(command) + 1
    source = [] if _value(given, "--data") else ["--data", "Folder"]
    path = [] if _value(given, "--data.path") else ["--data.path", str(_value(given, f"--{part}"))]
    return [*given[:after], *source, *given[after:], *path]


def _run(command: str, arguments: object, *, debug: bool) -> int:
    from unlikelihood.cli import commands

    with warnings.catch_warnings():
        warnings.showwarning = _one_line
        try:
            getattr(commands, command)(**vars(arguments))
        except KeyboardInterrupt:
            print("unlikelihood: interrupted; the same command resumes a fit where it was", file=sys.stderr)
            return 130
        except Exception as error:
            if debug:
                raise
            kind = "" if isinstance(error, EXPECTED) else f"{type(error).__name__}: "
            message = " ".join(str(error).split()) or "it takes more than there is"
            print(f"unlikelihood: error: {kind}{message}", file=sys.stderr)
            return 1
    return 0


def _one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"unlikelihood: warning: {message}", file=sys.stderr)
