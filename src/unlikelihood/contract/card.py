"""The model card: what somebody who finds a model folder should know before using it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unlikelihood.contract.detector import Detector

CARD = """\
# {kind}

A detector that was fitted by `unlikelihood` to normal samples. It ranks new samples of the same
kind by how normal they look.

| | |
|---|---|
| fitted to | {n:,} normal samples of shape {shape}, with values from {low:g} to {high:g} |
| score | higher = more normal |
| decision | {decision} |
| where | {where} |
| parameters | `{parameters}` |

{alarms}## Intended use

Research: to rank samples that come from where its normals came from, for a person to look at. It is not a medical
device, and must not be used to decide about a patient.

## Limits

- It knows what was normal among its samples. Another scanner, protocol, population or preparation can look anomalous,
  and an anomaly of a kind that leaves the pixels usual can look normal.
- {promise}
- How well it tells anomalies from normals is not known from its training: `unlikelihood evaluate` measures it on
  labelled samples that it never saw.
- A sample that is made to look normal to a known model will look normal.
"""


def card(detector: "Detector") -> str:
    """Return the model card of a fitted detector, in Markdown."""
    alarms = "".join(f"**Do not trust it without a look: {alarm}.**\n\n" for alarm in detector.alarms())
    n = len(getattr(detector, "calibration_", ()))
    decision = "none: it was not calibrated, and only ranks"
    promise = "It was not calibrated: a threshold on its training scores would raise more false alarms than it says."
    if n:
        try:
            decision = f"anomalous below {detector.offset_:g}, from {n:,} normals that training did not see"
        except ValueError:
            decision = f"none at {detector.level:.3g}: the {n:,} normals of the calibration are too few"
        promise = (
            f"At most {detector.level:.3g} of new normals are called anomalous on average if they are like the {n:,}\n"
            "  of the calibration. How many anomalies are found, nothing promises."
        )
    low, high = getattr(detector, "range_", (float("nan"),) * 2)
    return CARD.format(
        kind=type(detector).__name__,
        n=getattr(detector, "n_samples_", 0),
        shape=" x ".join(map(str, detector.shape_)),
        low=low,
        high=high,
        decision=decision,
        where=f"{detector.map_kind}",
        parameters=" ".join(repr(detector).split()),
        alarms=alarms,
        promise=promise,
    )
