"""Equations as MathML, which browsers draw themselves: no script, and nothing from elsewhere."""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator


def inline(page: HTML5Translator, node: nodes.math) -> None:
    """Write an equation in a sentence."""
    page.body.append(mathml(node))
    raise nodes.SkipNode


def block(page: HTML5Translator, node: nodes.math_block) -> None:
    """Write an equation of its own; a blank line begins another, and a wide space is where a line may break."""
    for line in filter(str.strip, node.astext().split("\n\n")):
        parts = [part for part in line.split("\\qquad") if part.strip()]
        if any(part.count("{") != part.count("}") for part in parts):
            parts = [line]  # the space is inside of something
        written = "".join(mathml(nodes.math_block(part, part), as_block=True) for part in parts)
        page.body.append(f'<div class="equation">{written}</div>\n')
    raise nodes.SkipNode


def mathml(node: nodes.Element, as_block: bool = False) -> str:
    """Return an equation; one that cannot be written is a warning."""
    try:
        return str(tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        logging.getLogger(__name__).warning("%s: %s", error, node.astext(), location=node)
        return ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Make ``html_math_renderer = "mathml"`` known to Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
