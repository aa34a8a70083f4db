"""The command line: it reads arguments, runs the module of the command, and turns errors into one line."""

import importlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from types import ModuleType

from jsonargparse import ActionConfigFile, Namespace

import unlikelihood
from unlikelihood.cli.parser import Parser, as_typed, value_of
from unlikelihood.storage.discovery import names
from unlikelihood.storage.extras import MissingPackage

COMMANDS = {
    "fit": "fit a detector to the normal training samples of a data set",
    "score": "score every sample of a data set with a fitted detector",
    "watch": "score images as they arrive in a folder",
    "serve": "answer for a fitted detector over HTTP, and show a page on which images are dropped and ranked",
    "triage": "make a page of samples without labels, the most anomalous first, to review them on",
    "evaluate": "test a fitted detector on unseen normals and anomalies, and write the report",
    "export": "write a fitted detector, from the raw sample to the decision, as one file for other programs",
    "sign": "sign a fitted detector, for machines that load signed ones only",
    "reproduce": "run a named experiment over several seeds, and compare it with the published result",
    "show": "summarise a data set: counts, shape, intensities, groups, and a gallery",
    "cache": "say what is kept of decoded images and resampled scans, and clear it",
}
CONFIG = "YAML file of arguments, as --print_config prints it; what is given after it goes before what is in it"
PARTS = ("train", "calibration", "test")
PARTED = ("fit", "evaluate")  # commands that take the parts of the data from places of their own
EXPECTED = (ValueError, OSError, ArithmeticError, ImportError, RuntimeError)  # others are told with their type
EPILOGUE = """\
examples:
  unlikelihood reproduce mnist-vae --quick --out reports/demo
  unlikelihood fit --data MNIST --detector VAE --detector.latent 20 --out models/vae
  unlikelihood score models/vae --data Folder --data.path scans/ --out scores.csv
  unlikelihood score models/vae --data Arrays --data.path archive.npy --out scores/ --workers 8
  unlikelihood watch models/vae incoming/ --out scores.csv
  unlikelihood triage models/vae --data Folder --data.path scans/ --out triage/
  unlikelihood serve models/vae --port 8000
  unlikelihood evaluate models/vae --data MNIST --out reports/vae
  unlikelihood export models/vae --to onnx --out vae.onnx --dtype uint8
  unlikelihood fit --train healthy/ --calibration later/ --out models/mine
  unlikelihood evaluate models/mine --test mixed/ --out reports/mine

`unlikelihood COMMAND --help` explains a command. `unlikelihood fit --detector.help` lists the detectors, a line for
each, and `--detector.help VAE` explains one; `--data.help` does so for data. `--print_config` prints what was typed
as a file for `--config`. Research software, not a medical device.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of the process unless given.

    Returns
    -------
    int
        0, 1 after an error, 2 where a package of an extra is missing, or 130 after an interruption. Wrong arguments
        exit with 2, too, and SIGTERM with 143.
    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(
        prog="unlikelihood",
        description=unlikelihood.__doc__,
        epilog=EPILOGUE,
        version=version("unlikelihood"),
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    chosen = next((word for word in typed if not word.startswith("-")), None)
    subcommands = parser.add_subcommands(dest="command", metavar="COMMAND", required=False)
    for name, line in COMMANDS.items():
        subparser = Parser(description=f"{line[0].upper()}{line[1:]}.")
        if name == chosen:
            # Only now is torch imported, and only the chosen command's parser is filled.
            module_of(name).add_arguments(subparser)
            subparser.add_argument("--config", action=ActionConfigFile, help=CONFIG)
        subcommands.add_subcommand(name, subparser, help=line)
    given = _with_source(typed, chosen)
    source, part = value_of(given, "--data"), _first_part(given, chosen)
    if part and source in names("data"):
        from unlikelihood.cli.arguments import takes_path

        if not takes_path(source):
            parser.error(f"--{part}: expected with a source of one path, such as Folder or Volumes, not {source}")
    parsed = parser.parse_args(given)
    if parsed.command is None:
        parser.print_help()
        return 0
    return _run(parser, parsed, typed)


def module_of(command: str) -> ModuleType:
    """Return the module of a command: `add_arguments` adds what `run` takes."""
    return importlib.import_module(f"unlikelihood.cli.{command}")


def _first_part(given: Sequence[str], command: str | None) -> str | None:
    """Return the first part of the data that is given by a path of its own."""
    return next((part for part in PARTS if command in PARTED and value_of(given, f"--{part}")), None)


def _with_source(given: list[str], command: str | None) -> list[str]:
    """Add the source that reads the parts given by paths, which is Folder unless another is named."""
    part = _first_part(given, command)
    if command is None or part is None:
        return given
    after = given.index(command) + 1
    source = [] if value_of(given, "--data") else ["--data", "Folder"]
    path = [] if value_of(given, "--data.path") else ["--data.path", str(value_of(given, f"--{part}"))]
    return [*given[:after], *source, *given[after:], *path]


def _run(parser: Parser, parsed: Namespace, typed: Sequence[str]) -> int:
    from unlikelihood.cli.results import warning_in_one_line

    with _ending_in_order(), warning_in_one_line():
        try:
            arguments = vars(parser.instantiate(parsed)[parsed.command])
            arguments.pop("config", None)
            module_of(parsed.command).run(**arguments)
        except KeyboardInterrupt:
            print("unlikelihood: interrupted; the same command resumes where it was", file=sys.stderr)
            return 130
        except Exception as error:
            if parsed.debug:
                raise
            kind = "" if isinstance(error, EXPECTED) else f"{type(error).__name__}: "
            message = " ".join(str(error).split()) or "it takes more than there is"
            print(f"unlikelihood: error: {as_typed(kind + message, typed)}", file=sys.stderr)
            return 2 if isinstance(error, MissingPackage) else 1
    return 0


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Let SIGTERM end the block as an error does, which leaves nothing half-written and no worker."""

    def end(number: int, frame: object) -> None:
        print("unlikelihood: terminated; the same command resumes where it was", file=sys.stderr)
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # which alone may say what a signal does
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
