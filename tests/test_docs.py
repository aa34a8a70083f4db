"""The documentation: a page for each detector, and links that lead somewhere."""

import json
import re
from pathlib import Path

import pytest
from docs import links

from unlikelihood.contract.detector import Detector
from unlikelihood.storage import discovery

ROOT = Path(__file__).parent.parent
PAGES = {path.stem: path for path in (ROOT / "docs" / "detectors").glob("*/*.rst")}
RESULTS = ROOT / "benchmarks" / "results"


def test_every_detector_has_a_page_and_every_page_a_detector():
    assert set(PAGES) == set(discovery.subclasses(Detector, "detectors"))


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_says_when_it_works_and_when_it_does_not_and_shows_its_own_class(name):
    page = PAGES[name].read_text(encoding="utf-8")
    assert page.startswith(f"{name}\n")
    assert re.findall(r"autoclass:: unlikelihood\.(\w+)", page) == [name]
    assert page.index("**When it works.**") < page.index("**When it does not.**") < page.index("autoclass::")
    prose = page.split(".. measured::")[0].split(".. autoclass::")[0]
    assert not re.search(r"\d\.\d", prose), "figures come from the results"


def test_every_group_of_detectors_is_on_their_first_page():
    first = (ROOT / "docs" / "detectors" / "index.rst").read_text(encoding="utf-8")
    included = re.findall(r"generated/detectors/(\w+)\.rst", first)
    assert sorted(included) == sorted({path.parent.name for path in PAGES.values()})


@pytest.mark.parametrize("name", sorted(name for name in PAGES if "measured::" in PAGES[name].read_text("utf-8")))
def test_a_page_names_rows_that_were_measured(name):
    quality = json.loads((RESULTS / "quality.json").read_text(encoding="utf-8"))["summary"]
    block = re.search(r"\.\. measured::\n\n((?:   .+\n)+)", PAGES[name].read_text(encoding="utf-8"))
    for line in block[1].splitlines():
        record, _, row = line.strip().rpartition(": ")
        comparison = RESULTS / record / "comparison.json"
        if not record:
            assert row in quality
        elif comparison.exists():
            assert row in [each["name"] for each in json.loads(comparison.read_text(encoding="utf-8"))["rows"]]
        else:
            assert row in json.loads((RESULTS / f"{record}.json").read_text(encoding="utf-8"))["summary"]


def test_links_that_lead_nowhere_or_elsewhere_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<p id="here"></p><a href="b.html#there">b</a><a href="#here">a</a>', "utf-8")
    (tmp_path / "b.html").write_text('<p id="there"></p><a href="https://example.org">other</a>', "utf-8")
    assert list(links.faults(tmp_path)) == []
    (tmp_path / "c.html").write_text(
        '<a href="a.html#nowhere">a</a><a href="d.html">d</a><script src="https://example.org/x.js"></script>', "utf-8"
    )
    assert list(links.faults(tmp_path)) == [
        "c.html: a.html#nowhere has no such place",
        "c.html: d.html does not exist",
        "c.html: loads https://example.org/x.js",
    ]
