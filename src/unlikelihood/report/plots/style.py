"""The colours and the look that all pictures share.

Normal is blue and anomalous vermilion everywhere, in the palette of Okabe and Ito, for all kinds of colour
vision.
"""

import re
from html import escape
from io import StringIO

import matplotlib
from matplotlib.figure import Figure

NORMAL, ANOMALOUS = "#0072b2", "#d55e00"
INK, MUTED, FAINT = "#24292f", "#6e7781", "#d0d7de"
PALETTE = ("#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)  # for what is of neither class
VARIABLES = {NORMAL: "normal", ANOMALOUS: "anomalous", INK: "ink", MUTED: "muted", FAINT: "faint"}
WIDTH = 4.3  # inches: half a page, or all of a phone

styled = matplotlib.rc_context(
    {
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": MUTED,
        "axes.edgecolor": MUTED,
        "axes.facecolor": "none",
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "lines.linewidth": 1.6,
        "lines.solid_capstyle": "round",
        "figure.facecolor": "white",
    }
)


def svg(figure: Figure, prefix: str) -> str:
    """Return a figure as an ``<svg>`` element in the page's colours and font that refers to nothing outside itself.

    The figure's label is its alternative text; `prefix` begins every identifier, so that no two figures share one.
    """
    buffer = StringIO()
    # Pictures stay apart, each in its own pixels.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix, "image.composite_image": False}):
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # HTML knows SVG's namespaces, and the size is the page's to choose.
    text = re.sub(r' (xmlns(:xlink)?="[^"]*"|width="[\d.]+pt"|height="[\d.]+pt")', "", text)
    text = text.replace("xlink:href", "href")
    # Pictures are named by what they show, and two slices may show the same; nothing refers to them.
    text = re.sub(r'(<image [^>]*?) ?\bid="[^"]*"', r"\1", text)
    text = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", text)
    for colour, name in VARIABLES.items():
        text = text.replace(colour, f"var(--{name})")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(str(figure.get_label()))}"', 1)
