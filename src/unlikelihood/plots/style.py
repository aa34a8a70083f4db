"""The colours and the look that all pictures share.

Normal is blue and anomalous vermilion everywhere, in the palette of Okabe and Ito, for all kinds of colour
vision.
"""

import matplotlib

NORMAL, ANOMALOUS = "#0072b2", "#d55e00"
INK, MUTED, FAINT = "#24292f", "#6e7781", "#d0d7de"
PALETTE = (NORMAL, ANOMALOUS, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
WIDTH = 4.6  # inches: half a page, or all of a phone

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
