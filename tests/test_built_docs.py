"""The built documentation in a real browser. `make docs` runs this after it has built the pages."""

from contextlib import closing
from pathlib import Path

import pytest

from chromium import PROGRAM, Chromium

BUILT = Path(__file__).parent.parent / "docs" / "_build"
PAGES = sorted(BUILT.rglob("*.html"))

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(not PAGES, reason="the documentation is not built: make docs"),
]


def faults(browser, page, width):
    """Yield what a reader of a page would miss or not want."""
    browser.open(page, width)
    if (wide := browser.run("document.documentElement.scrollWidth")) > width:
        yield f"is {wide} pixels wide"
    yield from (f"asks for {url}" for url in browser.requested)
    yield from (f"complains: {event['params']}" for event in browser.complaints)
    missing = "[...document.images].filter((each) => each.complete && !each.naturalWidth).map((each) => each.src)"
    yield from (f"lacks {source}" for source in browser.run(missing))


@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_scrolls_sideways_asks_the_network_complains_or_lacks_a_picture(tmp_path, width):
    with closing(Chromium(tmp_path)) as browser:
        found = [f"{page.relative_to(BUILT)} {fault}" for page in PAGES for fault in faults(browser, page, width)]
    assert found == []


def test_what_would_be_caught_is_caught(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        "<img src='gone.png'><p style='width: 2000px'>wide</p><script src='https://example.org/x.js'></script>", "utf-8"
    )
    with closing(Chromium(tmp_path / "profile")) as browser:
        found = "\n".join(faults(browser, page, 390))
    for word in ("pixels wide", "asks for https://example.org/x.js", "complains", "lacks file:"):
        assert word in found
