"""Checks the built pages: every link within them leads somewhere, and none loads anything from elsewhere.

python -m docs.links [docs/_build]
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("object", "data")}


class Page(HTMLParser):
    """The links of a page, and the places in it that links can lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[bool, str]] = []  # whether it is loaded, and where it leads
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what an element refers to and what it is called."""
        for name, value in attrs:
            if value is None:
                continue
            if name in ("id", "name"):
                self.places.add(value)
            elif name in ("href", "src", "data"):
                self.links.append(((tag, name) in LOADED, value))


def faults(root: Path) -> Iterator[str]:
    """Yield each link of the pages below `root` that leads nowhere, or that loads from elsewhere.

    Sources that are shown beside the pages (``_modules``) link back by the names of classes, of which some are two.
    """
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(root.rglob("*.html"))}
    for path, page in pages.items():
        if path.is_relative_to(root / "_modules"):
            continue
        for loaded, link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if loaded and parts.scheme != "data":
                    yield f"{path.relative_to(root)}: loads {link}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            if target.is_dir():
                target /= "index.html"
            place = unquote(parts.fragment)
            known = (
                pages.get(root / target.relative_to(root.resolve())) if target.is_relative_to(root.resolve()) else None
            )
            if not target.exists():
                yield f"{path.relative_to(root)}: {link} does not exist"
            elif place and known and place not in known.places:
                yield f"{path.relative_to(root)}: {link} has no such place"


def main(root: Path) -> None:
    """Print what is wrong, and fail if anything is."""
    found = list(faults(root))
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main(Path(*sys.argv[1:]) if sys.argv[1:] else Path(__file__).parent / "_build")
