"""Some rows of a recipe, run again, in place of those in the committed results.

python -m benchmarks.rows mnist-vae reports/mnist-vae "VAE of the thesis" [--quick]
python -m benchmarks.rows nodule-gan/phantom reports/nodule-gan/phantom critic

The folder is that of a run of the recipe: what is done there is not done again. Every row has its own provenance.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unlikelihood.evaluation.experiment import Experiment
from unlikelihood.storage import discovery
from unlikelihood.storage.files import replacing

RESULTS = Path(__file__).parent / "results"


def some(experiment: Experiment, names: Sequence[str]) -> Experiment:
    """Return an experiment of the named rows alone; a ValueError lists those that there are."""
    if unknown := set(names) - set(experiment.detectors):
        raise ValueError(f"rows {sorted(unknown)} are not among {list(experiment.detectors)}")
    made = {name: experiment.detectors[name] for name in names}
    references = {name: value for name, value in experiment.references.items() if name in made}
    return replace(experiment, detectors=made, references=references)


def experiment(recipe: str, quick: bool) -> Experiment:
    """Return the experiment of a recipe, or the one behind the slash of a recipe that has several."""
    name, _, part = recipe.partition("/")
    found: Any = discovery.recipe(name)(quick)
    return found.experiments[part] if part else found


def merge(path: Path, run: Path) -> None:
    """Put the rows of a run's ``comparison.json`` into the results at `path`: new ones first, others in their place."""
    new = json.loads(run.read_text(encoding="utf-8"))
    old = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    found = {row["name"]: row for row in new["rows"]}
    rows = [found.pop(row["name"], row) for row in old]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(new | {"rows": [*found.values(), *rows]}, indent=1), encoding="utf-8")


def main(words: Sequence[str]) -> None:
    """Run the rows and merge them."""
    quick = "--quick" in words
    recipe, out, *names = (word for word in words if word != "--quick")
    print(some(experiment(recipe, quick), names).run(out))
    name, *part = recipe.split("/")
    merge(RESULTS.joinpath(name + "--quick" * quick, *part, "comparison.json"), Path(out) / "comparison.json")


if __name__ == "__main__":
    main(sys.argv[1:])
