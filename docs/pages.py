"""Writes what the pages include: results from JSON files, and the output of every example; run before sphinx-build."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
HEAD = """\
Results
=======

Every table is made from a JSON file under ``benchmarks/results`` by ``make docs``, and every such file by the command
below its title.
"""


def comparison(path: Path) -> str:
    """Return the section of one recipe's ``comparison.json``."""
    record = json.loads(path.read_text())
    lines = []
    for row in record["rows"]:
        auroc, spread, published = row["auroc"], row["spread"], row["reference"]
        cells = (
            row["name"],
            f"{auroc['value']:.3f}" + ("" if spread is None else f" ± {spread:.3f}"),
            f"{auroc['low']:.3f} to {auroc['high']:.3f}",
            str(row["seeds"]),
            "" if published is None else f"{published:.2f}",
            f"{row['fit_seconds']:.0f} s",
        )
        lines.append(cells)
    head = ("detector", "AUROC ± sd", "95 % interval", "seeds", "published", "to fit")
    table = "".join(
        f"   * - {first}\n" + "".join(f"     - {cell}\n" for cell in rest) for first, *rest in (head, *lines)
    )
    recipe, _, quick = path.relative_to(RESULTS).parts[0].partition("--")
    command = f"unlikelihood reproduce {recipe}{' --quick' if quick else ''} --out reports/{recipe}"
    title = record["title"]
    return (
        f"\n{title}\n{'-' * len(title)}\n\n``{command}``\n\n"
        f"{record['text']}\n\n.. list-table::\n   :header-rows: 1\n\n{table}"
    )


def quality(path: Path) -> str:
    """Return the section of every detector on every task."""
    record = json.loads(path.read_text())
    heads = list(dict.fromkeys(head for row in record["summary"].values() for head in row))
    table = "".join(
        f"   * - {name}\n" + "".join(f"     - {row.get(head, '')}\n" for head in heads)
        for name, row in record["summary"].items()
    )
    named = "   * - detector\n" + "".join(f"     - {head}\n" for head in heads)
    made = record["provenance"]
    return (
        f"\nEvery detector\n{'-' * 14}\n\n``python -m benchmarks.quality``\n\n"
        "AUROC, mean ± standard deviation (over how many seeds; over digits for each digit of MNIST held out in turn). "
        "Of a group that shares a part, the first has the time to fit it. Costs are medians on MNIST 9. The volume of "
        f"the gland alone has 0.688 on AdrenalMNIST3D. {made['machine']}, {made['system']}, CPU.\n\n"
        f".. list-table::\n   :header-rows: 1\n\n{named}{table}"
    )


def main() -> None:
    """Write the pages and run the examples."""
    found = sorted(RESULTS.rglob("comparison.json"))
    every = RESULTS / "quality.json"
    sections = [*([quality(every)] if every.exists() else []), *map(comparison, found)]
    (ROOT / "docs" / "results.rst").write_text(HEAD + "".join(sections), encoding="utf-8")
    made = ROOT / "docs" / "generated" / "examples"
    made.mkdir(parents=True, exist_ok=True)
    for example in sorted((ROOT / "docs" / "examples").glob("*.py")):
        run = subprocess.run([sys.executable, example], cwd=made, check=True, stdout=subprocess.PIPE, text=True)
        (made / f"{example.stem}.txt").write_text(run.stdout, encoding="utf-8")


if __name__ == "__main__":
    main()
