"""The page of a service: that of triage, of which the rows and cases come while it is open."""

import base64
import json
from hashlib import sha256
from typing import Any

import jinja2
import numpy as np
from matplotlib import colormaps

from unlikelihood.report.plots.stills import HEAT

SCRIPTS = ("panels.js", "triage.js", "viewer.js", "page.js")
LOADER = jinja2.ChoiceLoader([jinja2.PackageLoader(f"unlikelihood.{room}", ".") for room in ("serve", "report")])
# What the page makes its rows and cases of, with nothing in them yet.
ROW = dict.fromkeys(("rank", "name", "score", "score_text", "p", "p_text", "decision", "why", "review"), "") | {
    "case": 0
}
STILL = {"caption": "as it is", "source": "data:,", "alt": "", "above": ""}
CASE: dict[str, Any] = dict.fromkeys(("title", "text", "summary", "thumb"), "") | {
    "anomalous": False,
    "nearest": [STILL],
    "volume": None,
}
MAPPED = STILL | {"caption": "unusual where coloured", "above": "data:,", "above_alt": ""}


def page(*, calibrated: bool, decided: bool) -> tuple[str, dict[str, str]]:
    """Return the page, and the headers that keep it from loading or running anything else.

    Parameters
    ----------
    calibrated : bool
        Whether samples have p-values.
    decided : bool
        Whether they are called normal or anomalous.
    """
    environment = jinja2.Environment(
        loader=LOADER, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    sources = [LOADER.get_source(environment, name)[0] for name in SCRIPTS]
    colours = np.round(255 * colormaps[HEAT](np.arange(256))[:, :3]).astype(int).ravel().tolist()
    script = "\n".join([f"const HEAT = {json.dumps(colours, separators=(',', ':'))};", *sources])
    values: dict[str, Any] = {
        "key_of_page": "",
        "rows": [ROW],
        "rest": [],
        "calibrated": calibrated,
        "decided": decided,
        "cases": [CASE | {"stills": [STILL, MAPPED]}],
        "among": "the normals that the service was given",
        "ratio": None,
        "still_ratio": None,
        "faded": True,
        "key": "",
        "reviewed": True,
        "notes": "",
    }
    made = environment.get_template("page.html.j2").render(values=values, script=script)
    allowed = base64.b64encode(sha256(f"\n{script}\n".encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{allowed}'; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return made, {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
