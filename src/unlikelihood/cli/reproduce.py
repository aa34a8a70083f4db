"""Run a named experiment."""

from collections.abc import Callable
from pathlib import Path

from jsonargparse import ArgumentParser

from unlikelihood.evaluation.experiment import Runnable
from unlikelihood.storage import discovery


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `reproduce`."""
    names = sorted(discovery.recipes())
    parser.add_argument("recipe", choices=names, help="name of the experiment")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results; an interrupted run resumes")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="run the small setting of the recipe: fewer seeds or epochs, smaller networks",
    )


def run(recipe: str, out: Path, quick: bool) -> None:
    """Run a recipe."""
    experiment: Callable[[bool], Runnable] = discovery.recipe(recipe)
    print(experiment(quick).run(out))
    print(f"report: {out / 'report.html'}")
