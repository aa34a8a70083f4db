"""The tables of RESULTS.md, made of the committed results.

python -m benchmarks.tables

A table stands between two comments, ``<!-- table: mnist-vae -->`` and ``<!-- end -->``; what is between them is
written anew. A figure is an AUROC over seeds and its interval; * marks an interval that holds the seeds alone.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from benchmarks.floor import PRODUCTS
from benchmarks.local import DEFECTS
from unlikelihood.storage.files import replacing

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PAGES = ("RESULTS.md",)
BLOCK = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
OWN_TEST = ("phantom",)  # every seed draws its own test, so that the spread of seeds holds its sampling


@dataclass(frozen=True)
class Line:
    """A row of a table.

    Parameters
    ----------
    words : str
        What the page calls the detector.
    row : str
        What the results call it.
    bold : bool
        Whether it stands out.
    folder : str
        The results, unless they are those of the table.
    """

    words: str
    row: str
    bold: bool = False
    folder: str = ""


def rows(folder: str) -> dict[str, dict[str, Any]]:
    """Return the rows of a recipe's results by their names."""
    record = json.loads((RESULTS / folder / "comparison.json").read_text(encoding="utf-8"))
    return {row["name"]: row for row in record["rows"]}


def figure(row: dict[str, Any], bold: bool = False) -> str:
    """Return the AUROC, and its standard deviation over the seeds."""
    spread = "" if row["spread"] is None else f" ± {row['spread']:.3f}"
    return strong(f"{row['auroc']['value']:.3f}{spread}", bold)


def interval(row: dict[str, Any], folder: str) -> str:
    """Return the ends of the interval, with * where it holds the seeds alone."""
    star = " *" if of_seeds_alone(row) and not folder.endswith(OWN_TEST) else ""
    return f"{row['auroc']['low']:.3f} to {row['auroc']['high']:.3f}{star}"


def of_seeds_alone(row: dict[str, Any]) -> bool:
    """Return whether an interval is Student's over the seeds: earlier versions left out the sampling of the test."""
    area, k = row["auroc"], row["seeds"]
    if k == 1:
        return False
    half = student_t.ppf((1 + area["level"]) / 2, k - 1) * row["spread"] / math.sqrt(k)
    return math.isclose(area["value"] - area["low"], half, rel_tol=1e-6, abs_tol=1e-12)


def strong(text: str, bold: bool) -> str:
    """Return text as Markdown, bold or not."""
    return f"**{text}**" if bold else text


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "".join(f"| {' | '.join(cells)} |\n".replace("|  |", "| |") for cells in (head, ["---"] * len(head), *lines))


def recipe(folder: str, *lines: Line) -> Callable[[], str]:
    """Return the writer of a table of one recipe: AUROC, interval, fits that were flagged, published figure.

    A row that has not been run is left out.
    """

    def write() -> str:
        table = []
        for line in (line for line in lines if line.row in rows(line.folder or folder)):
            row = rows(line.folder or folder)[line.row]
            published = "" if row["reference"] is None else f"{row['reference']:.2f}"
            flagged = f"{row['flagged']} of {row['seeds']}" if row.get("flagged") else ""
            table.append(
                [strong(line.words, line.bold), figure(row, line.bold), interval(row, folder), flagged, published]
            )
        head = ["detector", "AUROC", "95 % interval", "flagged", "published"]
        # A column that nobody fills would only widen the table.
        kept = [k for k in range(len(head)) if k < 3 or any(cells[k] for cells in table)]
        return markdown([head[k] for k in kept], [[cells[k] for k in kept] for cells in table])

    return write


def volumes() -> str:
    """Return the table of the VAEs of volumes, with the two baselines of each data set in one row."""
    data = {
        "phantom": "`Phantom`, 120 benign and 120 malignant",
        "adrenal": "AdrenalMNIST3D, official test",
        "lidc": "LIDC-IDRI, 26 benign and 67 malignant",
    }
    whitened = "VAE, whitened residual of 14 mm"
    lines = {
        "phantom": [
            Line("VAE, the thesis' score (on NLST: 0.62)", "VAE, thesis recipe"),
            Line("VAE of the central 14 mm, whitened residual", whitened, bold=True),
        ],
        "adrenal": [
            Line("VAE, the thesis' score but for its likelihood of two values", "VAE, Bernoulli likelihood"),
            Line("VAE of the distance to the surface, in voxels", "VAE of the inside distance"),
            Line("VAE of the statistics of thickness, more passes", "VAE", bold=True),
        ],
        "lidc": [
            Line("VAE, the thesis' score", "VAE, thesis recipe"),
            Line("VAE of the central 14 mm, whitened residual", whitened),
        ],
    }
    table = []
    for name, title in data.items():
        folder = f"nodule-vae--quick/{name}"
        found = rows(folder)
        # What is trained for longer has a table of its own.
        found |= rows(f"{folder}-thickness") if name == "adrenal" else {}
        for k, line in enumerate(lines[name]):
            row = found[line.row]
            area = strong(f"{row['auroc']['value']:.3f}", line.bold)
            table.append(["" if k else title, strong(line.words, line.bold), area, interval(row, folder)])
        both = "; ".join(f"{found[each]['auroc']['value']:.3f}" for each in ("volume alone", "mean intensity"))
        table.append(["", "volume alone; mean intensity", both, ""])
    return markdown(["data", "detector", "AUROC", "95 % interval"], table)


def volumes_in_full() -> str:
    """Return the table of the volumes on which networks had the thesis' 100 passes."""
    search, vae = "GAN-AD, the thesis' search", "VAE, the thesis' score"
    lines = {
        "`Phantom` (the thesis, on NLST)": [
            Line(vae, "VAE, thesis recipe", folder="nodule-vae/phantom"),
            Line("VAE of the central 14 mm", "VAE, whitened residual of 14 mm", folder="nodule-vae/phantom"),
            Line(search, "GAN-AD, thesis recipe", folder="nodule-gan/phantom"),
            Line("the same GAN's critic", "critic", folder="nodule-gan/phantom"),
        ],
        "AdrenalMNIST3D, official test": [
            Line(search, "GAN-AD, thesis recipe", folder="nodule-gan/adrenal"),
            Line("the same GAN's critic", "critic", folder="nodule-gan/adrenal"),
        ],
    }
    table = []
    for title, some in lines.items():
        for k, line in enumerate(some):
            row = rows(line.folder)[line.row]
            published = "" if row["reference"] is None else f"{row['reference']:.2f}"
            flagged = f"{row['flagged']} of {row['seeds']}" if row["flagged"] else "none"
            cells = [line.words, figure(row), interval(row, line.folder), str(row["seeds"]), flagged, published]
            table.append(["" if k else title, *cells])
    return markdown(["data", "detector", "AUROC", "95 % interval", "seeds", "flagged", "published"], table)


def planted() -> str:
    """Return the table of planted defects: detectors that train, and those on a network trained on photographs."""
    columns = {
        "`Auto`": ("local", "Auto"),
        "`ForeignPatch`": ("local", "ForeignPatch"),
        "pretrained: `PatchMemory`": ("pretrained", "PatchMemory"),
        "pretrained: `PatchGaussian`": ("pretrained", "PatchGaussian"),
        "pretrained: `KNN` of embeddings": ("pretrained", "KNN"),
    }
    lines = {"images, of all kinds": [*DEFECTS]}
    lines |= {f"images, {kind}": [kind] for kind in DEFECTS}
    lines |= {f"{words}, of all kinds": [f"{kind}, {words}" for kind in DEFECTS] for words in ("pixels", "AUPRO")}
    table = [
        [words, *(over_seeds(*column, figures) for column in columns.values())] for words, figures in lines.items()
    ]
    return markdown(["", *columns], table)


def over_seeds(record: str, name: str, figures: Sequence[str]) -> str:
    """Return the mean of a detector's figures over textures, and its standard deviation over seeds if several."""
    cells = json.loads((RESULTS / f"{record}.json").read_text(encoding="utf-8"))["cells"]
    of_seed: dict[str, list[float]] = {}
    for cell, row in cells.items():
        _, detector, seed = cell.split(" | ")
        if detector == name:
            of_seed.setdefault(seed, []).extend(row[each] for each in figures if each in row)
    means = [np.mean(values) for values in of_seed.values() if values]
    if not means:
        return ""
    return f"{np.mean(means):.3f}" + (f" ± {np.std(means, ddof=1):.3f}" if len(means) > 1 else "")


def floor() -> str:
    """Return the table of the floor of arithmetic over the time that is taken, and of what else takes the most."""
    record = json.loads((RESULTS / "floor.json").read_text(encoding="utf-8"))["rows"]
    columns = {f"{what}, {shape}": (shape, what) for shape in record for what in ("fit", "score")}

    def cell(name: str, shape: str, what: str) -> str:
        if not (row := record[shape].get(name, {}).get(what)):
            return ""
        shares = row["shares of time"]
        kind, share = next(each for each in shares.items() if each[0] != PRODUCTS)
        least = row["floor over time"][0]
        return f"{least:{'.2f' if least > 0.01 else '.1g'}} of {shares[PRODUCTS]:.2f}, {kind} {share:.2f}"

    names = sorted({name for rows_ in record.values() for name in rows_})
    return markdown(["", *columns], [[f"`{name}`", *(cell(name, *of) for of in columns.values())] for name in names])


def before() -> str:
    """Return the table of how many times as fast it is as before, and of how alike the scores rank."""
    record, table = json.loads((RESULTS / "speed.json").read_text(encoding="utf-8"))["before"], []
    for name, row in record["rows"].items():
        times = ["{:.2f} ({:.2f} to {:.2f})".format(*row[what]["times as fast"]) for what in ("fit", "score")]
        table.append([name, *times, f"{row['rank correlation']:.3f}"])
    return markdown(
        [f"beside {record['commit']}", "fit, times as fast", "score, times as fast", "rank correlation of the scores"],
        table,
    )


TABLES: dict[str, Callable[[], str]] = {
    "mnist-vae": recipe(
        "mnist-vae",
        Line("VAE of the thesis: 5 latents, width 8, its score after 30 epochs", "VAE of the thesis"),
        Line("VAE of 20 latents and width 16, the thesis' score after 30 epochs", "VAE of 20 latents"),
        Line("the same, whitened residual", "VAE of 20 latents, whitened residual"),
        Line("VAE on contrastive features, density of its latents", "VAE on contrastive features", bold=True),
        Line("nearest neighbours, pixels", "nearest neighbours"),
        Line("LOF, pixels", "LOF"),
        Line("isolation forest", "isolation forest"),
        Line("PCA residual", "PCA residual"),
        Line("ink (sum of the pixels)", "ink"),
    ),
    "mnist-gan": recipe(
        "mnist-gan--quick",
        Line(
            "GAN-AD of the thesis: DCGAN of width 32, 50 epochs, 100 search steps",
            "GAN-AD of the thesis, width 32, 50 epochs",
            folder="mnist-gan",
        ),
        Line("the same of width 16, 20 epochs", "GAN-AD of the thesis, width 16, 20 epochs"),
        Line(
            "GAN-AD on contrastive features: WGAN-GP of the embeddings, the thesis' search from an encoder's answer",
            "GAN-AD on contrastive features, search",
        ),
        Line(
            "the same GAN's critic: nearest normals in its last layer",
            "GAN-AD on contrastive features, critic",
            bold=True,
        ),
        Line("the contrastive features alone, nearest normals", "contrastive features, no GAN"),
    ),
    "planted": planted,
    "volumes": volumes,
    "volumes-in-full": volumes_in_full,
    "floor": floor,
    "before": before,
}


def filled(page: str) -> str:
    """Return a page with its tables written anew; a ValueError names a table that is not known."""

    def write(block: re.Match[str]) -> str:
        if block["name"] not in TABLES:
            raise ValueError(f"table {block['name']!r} is not one of {', '.join(TABLES)}")
        return f"{block[1]}\n{TABLES[block['name']]()}\n{block[3]}"

    return BLOCK.sub(write, page)


def main() -> None:
    """Write the tables of every page."""
    for name in PAGES:
        page = (ROOT / name).read_text(encoding="utf-8")
        with replacing(ROOT / name) as temporary:
            temporary.write_text(filled(page), encoding="utf-8")


if __name__ == "__main__":
    main()
