"""Writes what the pages include: results from JSON files, and the output of every example; run before sphinx-build."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from benchmarks.tables import figure as area
from benchmarks.tables import interval

from unlikelihood.data.medmnist_sets import SETS
from unlikelihood.storage.discovery import recipe

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DATA = {"Digits": ("Figure 1", "Figure 2"), "Nodules": ("Figure 3",), "Table I: how many of each": ("Table I",)}
HEAD = """\
Results
=======

Every table is made from a JSON file under ``benchmarks/results`` by ``make docs``, and every such file by the command
below its title. Intervals marked \\* are of an earlier version and hold the seeds alone; a row without a commit is of
one that kept none. Flagged are fits whose generator showed a fault after training.
"""
MEDMNIST = """\
MedMNIST
========

``python -m benchmarks.medmnist`` fills this page for the sets that are on the machine, and a set that is named after
it is downloaded. What is normal in each is the default of :class:`~unlikelihood.MedMNIST`.

AUROC on the official test of detectors that were fitted to the normals of the official training part. Networks have
about a minute of one core to fit, at one setting for all sets of as many axes, so that their figures say what a
minute buys and not what a family can do; the only rule is that masks have the likelihood of two values. No setting
was chosen by a result on this page. But the members that :class:`~unlikelihood.Auto` has for masks were chosen with
the masses in the training part of AdrenalMNIST3D, so that there its choice has seen anomalies. Rows that begin with
"supervised" are references, no rivals: they are trained on the labelled anomalies of the training part too.

Intervals (95 %) hold the sampling of the test, by DeLong, and that of the seeds where there are several. They are by
image, as MedMNIST publishes no patients: where a patient gave several images they are too narrow. Of large sets at
most 2000 training normals and 1000 test images are used, drawn at random. Times are processor time.
"""
FAULTS = """\
Damaged files
=============

``make faults`` reads every format after every kind of damage: {cells} cells, each with a time and a memory that it may
take. What is read is *right*, or one line of an *error* that names the file; *skip* is such an error where the whole
files beside it are read, and what is left out is named. *Unknowable* are other values of a kind that nothing in the
file contradicts, as a format without a checksum cannot tell one voxel from another: there only sizes, types, ranges
and codes are checked. Where that is not enough, keep checksums beside the files.
"""


def comparison(path: Path) -> str:
    """Return the section of one recipe's ``comparison.json``."""
    record = json.loads(path.read_text())
    lines = []
    for row in record["rows"]:
        published, made = row["reference"], row.get("provenance", {})
        date = made.get("date", "")
        cells = (
            row["name"],
            area(row),
            interval(row, path.parent.name).replace("*", "\\*"),
            str(row["seeds"]),
            str(row.get("flagged") or ""),
            "" if published is None else f"{published:.2f}",
            f"{row['fit_seconds']:.0f} s",
            str(made.get("commit", "")),
            (date if isinstance(date, str) else max(date))[:10],
        )
        lines.append(cells)
    head = ("detector", "AUROC ± sd", "95 % interval", "seeds", "flagged", "published", "to fit", "commit", "date")
    recipe, _, quick = path.relative_to(RESULTS).parts[0].partition("--")
    command = f"unlikelihood reproduce {recipe}{' --quick' if quick else ''} --out reports/{recipe}"
    title = record["title"]
    return f"\n{title}\n{'-' * len(title)}\n\n``{command}``\n\n{record['text']}\n\n{table(head, *lines)}"


def surface(path: Path) -> str:
    """Return the section on what the thesis' text leaves open of its VAE-AD."""
    record = json.loads(path.read_text(encoding="utf-8"))
    title = record["title"]

    def of(parts: Sequence[str]) -> str:
        found = [cell for part in parts for cell in record.get(part, {}).values()]
        digits = list(found[0]["auroc"])
        head = (
            "form",
            *(f"AUROC, {digit}" for digit in digits),
            "against seen normals",
            "median error",
            "95 % quantile",
        )
        lines = []
        for cell in found:
            setting, normals = cell["setting"], cell["unseen normals"]
            form = "convolutions" if setting["form"] == "VAE" else setting["form"]
            words = (
                f"{form}, {setting['latent']} latents, width {setting['width']}, {setting['epochs']} epochs, errors × "
                f"{setting['scale']:g}, rate {setting['learning_rate']:g}"
            )
            areas = (f"{cell['auroc'][digit]['value']:.3f}" for digit in digits)
            seen = ", ".join(f"{cell['auroc against seen normals'][digit]['value']:.3f}" for digit in digits)
            lines.append((words, *areas, seen, f"{normals['median']:.1f}", f"{normals['95 % quantile']:.1f}"))
        return table(head, *lines)

    return (
        f"\n{title}\n{'-' * len(title)}\n\n``unlikelihood reproduce mnist-vae-surface --out reports/surface``\n\n"
        f"{record['text']} {record['choice']}\n\n.. image:: images/surface.png\n\n{of(('cells', 'further'))}\n"
        f"{record['text of nines']}\n\n{of(('nines',))}"
    )


def search(path: Path, figure: Path) -> str:
    """Return the section on the search of a latent space, and draw its AUROC against what a query costs."""
    record = json.loads(path.read_text())
    points = record["AUROC against steps, every third test sample"]
    canvas, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for name in dict.fromkeys(point["detector"] for point in points):
        of_it = [point for point in points if point["detector"] == name]
        milliseconds = [point["processor_milliseconds_a_query"] for point in of_it]
        axes.plot(milliseconds, [point["auroc"] for point in of_it], "o-", label=name)
        for x, point in zip(milliseconds, of_it, strict=True):
            axes.annotate(str(point["steps"]), (x, point["auroc"]), (0, 5), textcoords="offset points", fontsize=7)
    axes.set(xscale="log", xlabel="processor milliseconds a query", ylabel="AUROC")
    axes.legend(fontsize=8)
    canvas.savefig(figure)
    head = ("detector", "steps", "AUROC", "processor time a query")
    lines = [
        (p["detector"], str(p["steps"]), f"{p['auroc']:.3f}", f"{p['processor_milliseconds_a_query']:.2f} ms")
        for p in points
    ]
    title = "What steps of a search buy"
    return (
        f"\n{title}\n{'-' * len(title)}\n\n``python -m benchmarks.search``\n\n"
        f"A search of {record['queries']} queries at once takes {record['ratio to the bare arithmetic']} times as long "
        f"as its bare forward and backward passes, and is {record['times faster than one at a time']} times faster "
        "than one query at a time. Nines among the other digits, one seed; the numbers beside the points are steps.\n\n"
        f".. image:: {figure.relative_to(ROOT / 'docs').as_posix()}\n\n{table(head, *lines)}"
    )


def memory(path: Path, neighbours: Path) -> str:
    """Return the section on what many samples take."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    rows.sort(key=lambda row: (len(row["shape"]), row["detector"], row["n"]))
    head = (
        "detector",
        "shape",
        "samples",
        "to fit, MiB",
        "to score, MiB",
        "to fit, µs a sample",
        "to score, µs a sample",
        "processor",
    )
    lines = [
        (
            row["detector"],
            "x".join(map(str, row["shape"][1:])),
            f"{row['n']:,}",
            *(f"{row[key]:,.0f}" for key in ("fit_mib", "score_mib", "fit_us", "score_us")),
            row["processor"],
        )
        for row in rows
    ]
    found = json.loads(neighbours.read_text(encoding="utf-8"))["rows"]
    near = [
        (f"{row['n']:,}", str(row["k"]), f"{row['searched']} of {row['cells']}", f"{row['recall']:.3f}")
        for row in found
    ]
    title = "What many samples take"
    return (
        f"\n{title}\n{'-' * len(title)}\n\n``python -m benchmarks.memory``\n\n"
        "Memory above that of a small fit, beside the pages of the file that the samples lie in; time of the processor "
        "with one thread. Networks are tiny and see each sample once. What compares with all scores at most 10,000.\n"
        f"\n{table(head, *lines)}\n``python -m benchmarks.neighbours``\n\n"
        "The share of the k nearest training digits that the approximate search finds, of 1,000 test digits of MNIST; "
        "of 180,000, two thirds are the training digits moved by a pixel.\n\n"
        f"{table(('training samples', 'k', 'cells searched', 'recall'), *near)}"
    )


def archive(path: Path) -> str:
    """Return what scoring an archive costs."""
    record = json.loads(path.read_text(encoding="utf-8"))
    lines = []
    for part, found in record.items():
        made = f"{found['date'][:10]}, {found['processor']}, load {found['load before and after']}"
        if "rows" in found and isinstance(found["rows"], list):
            cells = [f"{row['rows']:,} in {row['seconds']:g} s, {row['mib']:.0f} MiB" for row in found["rows"]]
            cells.append(f"exponent {found['exponent']:g} ± {found['its standard error']:g}")
        else:
            keys = list(found)[: list(found).index("load before and after")]
            cells = [f"{key}: {found[key]:,}" if type(found[key]) is int else f"{key}: {found[key]}" for key in keys]
        lines.append((part, "; ".join(cells).replace("{", "").replace("}", "").replace("'", ""), made))
    head = ("", "measured", "when and where")
    return (
        "``python -m benchmarks.archive``, one thread each; seconds of vectors and images are of the processor, MiB "
        f"those of the whole process:\n\n{table(head, *lines)}"
    )


def archive_plan(path: Path) -> str:
    """Return how long 10⁹ samples take, by what a row was measured to take of the processor."""
    record = json.loads(path.read_text(encoding="utf-8"))
    costs = {}
    for part in ("images", "vectors"):
        last = record[part]["rows"][-1]
        costs[f"{part}, scored in one process"] = 1e6 * last["seconds"] / last["rows"]
    costs["an image beside its score"] = record["overhead"]["of it beside the loop"]
    costs["an image read and hashed again"] = record["overhead"]["second call, microseconds a row"]
    lines = [(name, f"{cost:,.0f}", f"{cost * 1e9 / 3.6e9:,.1f}") for name, cost in costs.items()]
    return table(("what", "microseconds a row", "core-hours for 10⁹"), *lines)


def quality(path: Path) -> str:
    """Return the section of every detector on every task."""
    record = json.loads(path.read_text())
    costs = ("fit seconds", "score milliseconds", "weights", "peak MiB of the group")
    heads = dict.fromkeys(head for row in record["summary"].values() for head in row)
    areas = [head for head in heads if head not in costs]
    made = record["provenance"]
    glands = json.loads((RESULTS / "nodule-vae--quick" / "adrenal" / "comparison.json").read_text())["rows"]
    volume = next(row["auroc"]["value"] for row in glands if row["name"] == "volume alone")

    def of(heads: Sequence[str]) -> str:
        rows = record["summary"].items()
        # Nothing in a cell is broken into lines.
        lines = [(name, *(row.get(head, "").replace(" ", "\u00a0") for head in heads)) for name, row in rows]
        return table(("detector", *heads), *lines)

    return (
        f"\nEvery detector\n{'-' * 14}\n\n``python -m benchmarks.quality``\n\n"
        "AUROC, mean ± standard deviation (over how many seeds; over digits for each digit of MNIST held out in turn). "
        "Of a group that shares a part, the first has the time to fit it. Costs are medians on MNIST 9. The volume of "
        f"the gland alone has {volume:.3f} on AdrenalMNIST3D. {made['machine']}, {made['system']}, CPU.\n\n"
        f"{of(areas)}\n{of(costs)}"
    )


def medmnist(path: Path) -> str:
    """Return the page of the sets of MedMNIST."""
    record = json.loads(path.read_text(encoding="utf-8"))
    sections = [medmnist_set(record, name) for name in record["summary"]]
    lines = [
        (name, SETS[name].words(SETS[name].normal), f"``{command}``") for name, command in record["missing"].items()
    ]
    title = "Not at hand where this was run"
    missing = f"\n{title}\n{'-' * len(title)}\n\n{table(('set', 'normal', 'filled by'), *lines)}" if lines else ""
    return MEDMNIST + "".join(sections) + missing


def medmnist_set(record: dict[str, Any], name: str) -> str:
    """Return the section of one set of MedMNIST."""
    lines, alarms, made = [], [], []
    for row, found in record["summary"][name].items():
        cells = [cell for key, cell in record["cells"].items() if key.startswith(f"{name} | {row} | ")]
        made += [cell["provenance"] for cell in cells]
        low, high = found["interval"]
        seconds = np.median([cell["seconds to fit"] for cell in cells])
        interval, setting = f"{low:.3f} to {high:.3f}", cells[0]["setting"]
        lines.append(
            (row, f"{found['auroc']:.3f}", interval, str(found["seeds"]), f"{seconds:.0f} s", f"``{setting}``")
        )
        alarms += [f"- {row}, seed {seed}: {alarm}\n" for seed, cell in enumerate(cells) for alarm in cell["alarms"]]
    facts = "; ".join(f"{key}: {value}" for key, value in record["sets"][name].items())
    days = sorted({one["date"][:10] for one in made})
    where = f"{' to '.join(dict.fromkeys((days[0], days[-1])))}, {made[0]['machine']}, {made[0]['system']}, one thread."
    warned = f"\nAlarms of the generators:\n\n{''.join(alarms)}" if alarms else ""
    left = record["unfinished"].get(name)
    warned += f"\nNot run yet: {', '.join(left)}. The command goes on where it stopped.\n" if left else ""
    head = ("", "AUROC", "95 % interval", "seeds", "to fit", "setting")
    return f"\n{name}\n{'-' * len(name)}\n\n{facts}.\n{where}\n\n{table(head, *lines)}{warned}"


def faults(path: Path) -> str:
    """Return the page of what comes of damaged files."""
    record = json.loads(path.read_text(encoding="utf-8"))
    kinds = list(record["outcomes"])
    lines = [
        (name, *(str(len(row["outcomes"].get(kind, ())) or "") for kind in kinds), row["checksum"], row["instead"])
        for name, row in record["readers"].items()
    ]
    head = ("reader", *kinds, "checksum of", "checked besides")
    made = record["provenance"]
    whole = f"{FAULTS.format(cells=record['cells'])}\n{table(head, *lines)}\n{made['date'][:10]}, {made['system']}.\n"
    return whole + at_random(path.with_name("fuzz.json"))


def at_random(path: Path) -> str:
    """Return the section on files that are damaged at random."""
    rows = json.loads(path.read_text(encoding="utf-8"))["readers"]
    tried, minutes = (sum(row[key] for row in rows.values()) for key in ("tried", "seconds"))
    kinds: Counter[str] = Counter()
    for row in rows.values():
        kinds.update(row["outcomes"])
    counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    title = "At random"
    return (
        f"\n{title}\n{'-' * len(title)}\n\n``python -m benchmarks.faults.fuzz`` draws changes of bytes, numbers and "
        f"lines for as long as it is told to: {tried:,} files of {len(rows)} readers in {minutes / 60:.0f} minutes. "
        f"What came of them: {counts}.\n"
    )


def parity(path: Path) -> str:
    """Return the section on exported files."""
    largest = "largest difference, of the scores' spread"
    record = json.loads(path.read_text(encoding="utf-8"))
    kept = [row for row in record["rows"] if "refused" not in row]
    refused = dict.fromkeys((row["detector"], row["refused"]) for row in record["rows"] if "refused" in row)
    lines = [(row["detector"], row["samples"], f"{row[largest]:.0e}", str(row["differing decisions"])) for row in kept]
    few = ", ".join(f"{number} by {name}" for name, number in record["decisions that differ in bfloat16"].items())
    head = ("detector", "samples", "largest difference", "decisions that differ")
    title = "Exported files"
    return (
        f"\n{title}\n{'-' * len(title)}\n\n``python -m benchmarks.parity``\n\n"
        f"What ONNX Runtime says of {record['raw samples']:,} raw samples, beside the detector: the largest difference "
        "of two scores, as a share of their spread, and decisions that differ, one by one and 256 at once, with one "
        f"thread and with two.\n\n{table(head, *lines)}\n"
        f"Refused:\n\n{table(('detector', 'why'), *refused)}\n"
        f"In bfloat16 other decisions of {record['raw samples']:,}: {few}. So it is not written.\n"
    )


def speed(path: Path) -> str:
    """Return the section on what common work costs, beside others that do it."""
    ours, lines = "unlikelihood", []
    for name, sizes in json.loads(path.read_text(encoding="utf-8"))["cases"].items():
        for case in sizes:
            cost, areas = case["milliseconds each"], case.get("auroc", {})
            what = (name if case is sizes[0] else "", f"{case['size']:,}")
            lines.append((*what, ours, f"{cost[ours]:g}", "", f"{areas[ours]:.3f}" if areas else ""))
            for other, (middle, low, high) in case["ratio"].items():
                area = f"{areas[other]:.3f}" if areas else ""
                lines.append(("", "", other, f"{cost[other]:g}", f"{middle:.2f} ({low:.2f} to {high:.2f})", area))
            lines += [("", "", other, "", "not installed", "") for other in case.get("absent", ())]
    head = ("what", "how many", "who", "ms each", "its time over ours", "AUROC")
    title = "Speed"
    return (
        f"\n{title}\n{'-' * len(title)}\n\n``python -m benchmarks.speed``\n\n"
        "Milliseconds of the processor, all in one run and in turn, networks on one thread. Over ours: the median of "
        f"the rounds, lowest and highest in brackets; above 1, ours is the faster.\n\n{table(head, *lines)}\n"
    )


def detectors(group: Path) -> str:
    """Return the list of a group of detectors, with the first sentence of each, and their pages below it."""
    names = sorted(page.stem for page in group.glob("*.rst"))
    listed = "".join(f"   {name}\n" for name in names)
    pages = "".join(f"   {group.name}/{name}\n" for name in names)
    return f".. currentmodule:: unlikelihood\n\n.. autosummary::\n\n{listed}\n.. toctree::\n   :hidden:\n\n{pages}"


def thesis(path: Path) -> str:
    """Return the page of the thesis: its figures and tables in order, and what came out."""
    record = json.loads(path.read_text(encoding="utf-8"))
    command = record["provenance"]["command"]
    lines = [
        (
            row["name"],
            f"{row['reference']:.2f}",
            area(row),
            interval(row, path.parent.name),
            "yes" if row.get("flagged") else "",
            f"{row['fit_seconds']:.0f} s",
        )
        for row in record["rows"]
    ]
    shown = []
    for chapter in recipe("thesis")(True).chapters:
        figures = getattr(chapter, "figures", DATA.get(chapter.title, ("a table of its rows",)))
        shown.append((chapter.title, " ".join(getattr(chapter, "text", "").split()), ", ".join(figures)))
    head = ("method", "the thesis", "here", "95 % interval", "flagged", "to fit")
    title = "The thesis, figure by figure"
    return (
        f"{title}\n{'=' * len(title)}\n\n{record['text']}\n\n``{command}``\n\n"
        "writes one page with every figure below, in this order, and goes on where it stopped if it is given again.\n\n"
        f"{table(('chapter', 'what is run', 'what is drawn'), *shown)}\n"
        f"AUROC, one seed each, {record['provenance']['date'][:10]}, commit {record['provenance']['commit']}. Flagged "
        f"is a generator that showed a fault.\n\n{table(head, *lines)}\n"
        "The published figures are not reached. :doc:`/results` has more seeds, varies what the thesis' text leaves "
        "open, and has other detectors on the same data.\n"
    )


def table(head: tuple[str, ...], *lines: tuple[str, ...]) -> str:
    """Return a table in reStructuredText."""
    rows = "".join(
        f"   * - {first}\n" + "".join(f"     - {cell}\n" for cell in rest) for first, *rest in (head, *lines)
    )
    return f".. list-table::\n   :header-rows: 1\n\n{rows}"


def main() -> None:
    """Write the pages and run the examples."""
    made = ROOT / "docs" / "generated" / "examples"
    shutil.rmtree(made.parent, ignore_errors=True)  # pages of names that are gone
    made.mkdir(parents=True, exist_ok=True)
    sections = [quality(RESULTS / "quality.json")]
    sections += [comparison(path) for path in sorted(RESULTS.rglob("comparison.json"))]
    sections.append(surface(RESULTS / "mnist-vae-surface" / "surface.json"))
    sections.append(search(RESULTS / "search.json", made.parent / "search.svg"))
    sections.append(memory(RESULTS / "memory.json", RESULTS / "neighbours.json"))
    sections.append(parity(RESULTS / "parity.json"))
    sections.append(speed(RESULTS / "speed.json"))
    (made.parent / "archive.rst").write_text(archive(RESULTS / "archive.json"), encoding="utf-8")
    (made.parent / "archive-plan.rst").write_text(archive_plan(RESULTS / "archive.json"), encoding="utf-8")
    (made.parent / "thesis.rst").write_text(thesis(RESULTS / "thesis--quick" / "reproduction.json"), encoding="utf-8")
    (made.parent / "detectors").mkdir()
    for group in filter(Path.is_dir, (ROOT / "docs" / "detectors").iterdir()):
        (made.parent / "detectors" / f"{group.name}.rst").write_text(detectors(group), encoding="utf-8")
    (ROOT / "docs" / "results.rst").write_text(HEAD + "".join(sections), encoding="utf-8")
    (ROOT / "docs" / "faults.rst").write_text(faults(RESULTS / "faults.json"), encoding="utf-8")
    (ROOT / "docs" / "medmnist.rst").write_text(medmnist(RESULTS / "medmnist.json"), encoding="utf-8")
    for example in sorted((ROOT / "docs" / "examples").glob("*.py")):
        run = subprocess.run([sys.executable, example], cwd=made, check=True, stdout=subprocess.PIPE, text=True)
        (made / f"{example.stem}.txt").write_text(run.stdout, encoding="utf-8")


if __name__ == "__main__":
    main()
