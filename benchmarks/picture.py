"""The picture of a triage at the head of the README.

python -m benchmarks.picture

Two hundred made-up stripes are the normals; others, some with a defect planted, are ranked. It takes Chromium.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.local import DEFECTS, made
from unlikelihood.cli.main import main

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "triage.png"
WIDTH, HEIGHT, TOP = 1100, 1250, 420  # pixels; what is above is not shown


def write(folder: Path, name: str, X: np.ndarray) -> None:
    """Write images (n, 1, H, W) from 0 to 1 as PNG."""
    folder.mkdir(exist_ok=True)
    for number, x in enumerate(X):
        Image.fromarray(np.round(255 * x[0]).astype(np.uint8)).save(folder / f"{name}{number:03}.png")


def draw(folder: Path) -> None:
    """Fit, triage, and take the picture of the page."""
    images = made("stripes", 3)
    write(folder / "healthy", "", images["train"])
    write(folder / "new", "normal ", images["normal"][:20])
    for kind in DEFECTS:
        write(folder / "new", f"{kind} ", images[kind][:3])
    model, page = str(folder / "model"), folder / "page"
    main(["fit", "--train", str(folder / "healthy"), "--detector", "ForeignPatch", "--out", model])
    main(["triage", model, "--data", "Folder", "--data.path", str(folder / "new"), "--out", str(page)])
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise FileNotFoundError("chromium is not installed, and the picture is taken with it")
    flags = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"]
    taken = folder / "page.png"
    subprocess.run([browser, *flags, f"--screenshot={taken}", (page / "report.html").as_uri()], check=True)
    with Image.open(taken) as whole:
        whole.convert("RGB").crop((0, TOP, WIDTH, HEIGHT)).quantize(128).save(PICTURE, optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        draw(Path(place))
