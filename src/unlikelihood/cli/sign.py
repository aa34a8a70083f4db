"""Sign a model folder."""

from pathlib import Path

from jsonargparse import ArgumentParser

from unlikelihood.cli.arguments import add_model
from unlikelihood.cli.results import done
from unlikelihood.storage.signatures import TRUSTED, sign


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `sign`."""
    add_model(parser)
    parser.add_argument(
        "--key",
        type=Path,
        required=True,
        help=f"PEM file of an Ed25519 private key, as openssl genpkey makes it; where {TRUSTED} names a file of public "
        "keys, only models that one of them signed are loaded",
    )


def run(model: Path, key: Path) -> None:
    """Sign a fitted model, for machines that load signed models only."""
    done("sign", signature=sign(model, key))
