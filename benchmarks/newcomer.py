"""A newcomer's first hour: the commands that the README prints, as printed, on a folder of images and on CT, timed.

python -m benchmarks.newcomer [titles of the README's sections ...]

The images are made-up stripes of many sizes without labels, some with a defect; the scans are phantoms. Reviews are
what a person who knows the defects would export from the page of the triage. Nothing is kept but the table.
"""

import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from benchmarks.local import DEFECTS, made
from benchmarks.speed import processor
from unlikelihood.data.ct.phantom import Phantom
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import provenance

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "newcomer.json"
EACH, SCANS, SIDES = 4, 5, (90, 200)  # images of each defect, new scans, pixels


def section(title: str) -> str:
    """Return a section of the README."""
    return (ROOT / "README.md").read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]


def printed(title: str) -> list[str]:
    """Return the commands in the first block of a section."""
    block = re.search(r"```\n(.*?)```", section(title), re.DOTALL)
    if block is None:
        raise ValueError(f"README.md, {title}: expected a block of commands")
    return block[1].splitlines()


def images(place: Path) -> None:
    """Write healthy images and new ones, of which some have a defect."""
    found, rng = made("stripes", 4), np.random.default_rng(0)
    new = {"normal": found["normal"][: EACH * len(DEFECTS)]} | {kind: found[kind][:EACH] for kind in DEFECTS}
    for folder, kinds in {"healthy": {"": found["train"]}, "new": new}.items():
        (place / folder).mkdir()
        for kind, X in kinds.items():
            for number, x in enumerate(X):
                grey = Image.fromarray(np.round(255 * x[0]).astype(np.uint8))
                grey.resize(rng.integers(*SIDES, 2).tolist()).save(place / folder / f"{kind}{number:03}.png")


def is_defect(row: dict[str, str]) -> bool:
    """Return whether the image of a row has a defect."""
    return not row["name"].startswith("normal")


def scans(place: Path) -> None:
    """Write the phantoms of the README, and new ones."""
    count = re.search(r'`Phantom\(\).write\("ct/", scans=(\d+)\)`', section("CT"))
    if count is None:
        raise ValueError("README.md, CT: expected how phantoms are written")
    Phantom().write(place / "ct", scans=int(count[1]))
    Phantom(seed=1).write(place / "new", scans=SCANS)


def ranked(place: Path) -> list[dict[str, str]]:
    """Return the rows of the table beside the page."""
    with (place / "triage" / "ranked.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def review(place: Path) -> None:
    """Write what the page exports of images when all of them have been reviewed."""
    with (place / "reviews.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("name", "review", "anomaly_score"))
        for row in ranked(place):
            table.writerow((row["name"], "anomalous" if is_defect(row) else "normal", row["anomaly_score"]))


FOLDERS: dict[str, Callable[[Path], None]] = {"Your own images": images, "CT": scans}


def run(title: str, place: Path) -> list[dict[str, Any]]:
    """Run the commands of a section in a folder, each with the time that it took and the line that it ended with."""
    at = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "UNLIKELIHOOD_CACHE": str(place)}
    steps = []
    for command in printed(title):
        started, worked = time.perf_counter(), processor()
        done = subprocess.run(command, shell=True, cwd=place, env=os.environ | at, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{command}: ended with {done.returncode}")
        said = done.stdout.splitlines()[-1]
        taken = {
            "seconds": round(time.perf_counter() - started, 1),
            "processor seconds": round(processor() - worked, 1),
            "processes that wanted a core": round(os.getloadavg()[0], 1),
        }
        steps.append({"command": command} | taken | {"said": said})
        print(steps[-1], flush=True)
        if title == "Your own images" and (place / "triage").exists():
            review(place)
    return steps


def main(titles: list[str]) -> None:
    """Run some sections, or all, and write the table after each."""
    record: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for title in titles or FOLDERS:
        made = provenance()
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            FOLDERS[title](place)
            steps = run(title, place)
            rows = ranked(place)
        to_page = sum(step["seconds"] for step in steps[:2]) / 60
        record[title] = {"steps": steps, "minutes to the page": round(to_page, 1), "ranked": len(rows)}
        if title == "Your own images":
            area = roc_auc_score([is_defect(row) for row in rows], [float(row["anomaly_score"]) for row in rows])
            record[title]["AUROC of the ranks"] = round(float(area), 3)
        record[title]["provenance"] = made
        with replacing(RESULTS) as file:
            file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
