"""Run a named experiment."""

from collections.abc import Callable
from pathlib import Path

from jsonargparse import ArgumentParser

from unlikelihood.distributed.tasks import workers as at_once
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
    parser.add_argument(
        "--workers", type=int | None, help="seeds that run at once, in processes that divide the cores among them"
    )
    parser.add_argument("--ray", type=str | None, help="address of a Ray cluster that runs the seeds, such as auto")


def run(recipe: str, out: Path, quick: bool, workers: int | None, ray: str | None) -> None:
    """Run a recipe."""
    experiment: Callable[[bool], Runnable] = discovery.recipe(recipe)
    with at_once(workers, ray):
        print(experiment(quick).run(out))
    print(f"report: {out / 'report.html'}")
