"""The figures that README.md, RESULTS.md and the documentation print are those of the committed results."""

import json
import re
from pathlib import Path

import pytest
from benchmarks import newcomer, quotes, rows, tables

from unlikelihood.metrics.intervals import Interval, seeds_interval
from unlikelihood.storage import discovery

ROOT = Path(__file__).parent.parent
RESULTS = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
WRITTEN = " ".join(
    (ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "RESULTS.md", "docs/data.rst", "docs/ct.rst")
)
FIGURE = re.compile(r"(?<![\w.])\d\.\d{2,}(?![\w.])")


def test_every_table_is_what_the_results_make_of_it():
    assert set(tables.TABLES) == {block["name"] for block in tables.BLOCK.finditer(RESULTS)}
    assert tables.filled(RESULTS) == RESULTS, "run python -m benchmarks.tables"


def test_a_table_that_is_not_made_of_the_results_holds_no_figure():
    """In every page that is written by hand."""
    pages = {"RESULTS.md": tables.BLOCK.sub("", RESULTS)}
    for path in [ROOT / "README.md", *ROOT.glob("docs/*.rst"), *ROOT.glob("docs/*.md"), ROOT / "CONTRIBUTING.md"]:
        if path.name not in ("results.rst", "medmnist.rst", "faults.rst"):  # made by docs/pages.py
            pages[path.name] = path.read_text(encoding="utf-8")
    for name, page in pages.items():
        lines = [line for line in page.splitlines() if line.startswith("|") or re.match(r"\s+(\* )?- ", line)]
        assert not [line for line in lines if FIGURE.search(line)], name


def test_a_changed_figure_is_found():
    block = next(tables.BLOCK.finditer(RESULTS))[0]
    changed = FIGURE.sub("0.111", block, count=1)
    assert changed != block
    assert tables.filled(changed) == block


def test_a_table_that_nobody_makes_is_refused():
    with pytest.raises(ValueError, match="table 'nope' is not one of mnist-vae"):
        tables.filled("<!-- table: nope -->\n<!-- end -->")


@pytest.mark.parametrize("quote", quotes.quotes())
def test_a_figure_in_a_sentence_is_that_of_the_results(quote):
    assert quote in " ".join(WRITTEN.replace("``", "`").split())


def test_an_interval_of_seeds_alone_is_told_from_one_that_holds_the_test():
    areas = [Interval(value, value - 0.03, value + 0.02) for value in (0.6, 0.62, 0.67)]
    whole = seeds_interval(areas, same_test=True)
    seeds = seeds_interval([Interval(area.value, area.value, area.value) for area in areas], same_test=True)
    spread = 0.0360555127546399

    def row(area):
        return {"auroc": vars(area), "seeds": 3, "spread": spread}

    assert tables.of_seeds_alone(row(seeds))
    assert not tables.of_seeds_alone(row(whole))


def test_every_figure_of_the_results_tells_where_it_came_from_or_that_it_is_of_an_earlier_run():
    """A row has a commit, a time and a machine; rows from before that was kept have no such part at all."""
    for path in tables.RESULTS.rglob("comparison.json"):
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
            if "provenance" in row:
                assert {"commit", "date", "machine", "processor"} <= set(row["provenance"]), (path, row["name"])


def test_rows_that_ran_again_take_the_place_of_the_old_ones(tmp_path):
    def written(name, **rows):
        path = tmp_path / name / "comparison.json"
        path.parent.mkdir()
        record = {"title": name, "rows": [{"name": row, "auroc": area} for row, area in rows.items()]}
        path.write_text(json.dumps(record), encoding="utf-8")
        return path

    kept, run = written("kept", a=0.1, b=0.2), written("run", b=0.3, c=0.4)
    rows.merge(kept, run)
    found = json.loads(kept.read_text(encoding="utf-8"))
    assert found["title"] == "run"
    assert {row["name"]: row["auroc"] for row in found["rows"]} == {"c": 0.4, "a": 0.1, "b": 0.3}
    experiment = discovery.recipe("mnist-vae")(True)
    assert list(rows.some(experiment, ["ink"]).detectors) == ["ink"]
    with pytest.raises(ValueError, match=r"rows \['nope'\] are not among"):
        rows.some(experiment, ["nope"])


def test_the_commands_that_a_newcomer_was_timed_at_are_those_that_the_readme_prints():
    for title, record in json.loads(newcomer.RESULTS.read_text(encoding="utf-8")).items():
        commands = [step["command"] for step in record["steps"]]
        assert commands == newcomer.printed(title), "run python -m benchmarks.newcomer"
