"""The figures in sentences of the hand-written pages, made of the committed results, as one of them has to say them.

A phrase that quotes a figure stands here with a gap for it. `quotes` fills the gaps; a test looks for the outcome.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.local import DEFECTS
from benchmarks.tables import over_seeds, rows
from unlikelihood.metrics.intervals import Interval, seeds_interval

RESULTS = Path(__file__).parent / "results"
WAYS = ("both", "own units")
OLD = "neighbours, density | Fisher"


def read(name: str) -> dict[str, Any]:
    """Return what a file of results holds."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def area(folder: str, row: str) -> str:
    """Return the AUROC in a row of a recipe's results."""
    return f"{rows(folder)[row]['auroc']['value']:.3f}"


def measured(task: str, group: str, row: str) -> list[Interval]:
    """Return the AUROCs of a detector in the quality table, one a seed, with DeLong's intervals."""
    cells = read("quality.json")["cells"]
    found = [cells[name][row] for name in cells if name.startswith(f"{task} | {group} | ")]
    return [Interval(each["auroc"], *each["interval"]) for each in found]


def spread(areas: list[Interval]) -> str:
    """Return the mean and the standard deviation."""
    values = [each.value for each in areas]
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def ends(areas: list[Interval]) -> str:
    """Return the ends of the interval that holds the seeds and the sampling of the test."""
    found = seeds_interval(areas, same_test=True)
    return f"{found.low:.3f} to {found.high:.3f}"


def small_images(tables: dict[str, Any], kind: str, way: str) -> str:
    """Return the mean AUROC of small images' stand-ins."""
    found = [
        row[way]
        for cell, rows in tables.items()
        if cell.startswith("small ") and f", {kind} | " in cell
        for row in rows.values()
    ]
    return f"{np.mean(found):.3f}"


def quotes() -> list[str]:
    """Return the phrases that README.md, RESULTS.md or the page on data must hold."""
    nines, glands, phantoms, lidc = (
        measured(task, "Auto", "Auto") for task in ("MNIST 9", "AdrenalMNIST3D", "Phantom", "LIDC")
    )
    digits = {digit: measured(f"MNIST {digit}", "Auto", "Auto")[0].value for digit in range(10)}
    worst, best = min(digits, key=digits.__getitem__), max(digits, key=digits.__getitem__)
    marks = read("candidates.json")["sensitivity at false positives a scan"]
    search, encoder, training = (
        read("volumes.json")[part] for part in ("LatentSearch, 200 steps", "EncoderSearch, k = 0", "training")
    )
    peaks = {each["detector"]: each["peak GiB"] for each in training if each["size"] == 28}
    sets = ("phantom", "adrenal", "lidc")
    gan = [area(f"nodule-gan--quick/{name}", "GAN-AD, thesis recipe") for name in sets]
    sensitivity = "mnist-gan-sensitivity--quick"
    searched = sorted(row["auroc"]["value"] for name, row in rows(sensitivity).items() if "thesis" in name)
    places = read("auto-phantom/evaluation.json")["places"]
    surface = read("mnist-vae-surface/surface.json")
    chosen = next(cell for cell in surface["cells"].values() if cell["setting"] == surface["chosen"])
    four, seven = (chosen["auroc"][digit]["value"] for digit in ("4", "7"))
    local = {
        name: {part: value[:5] for part, value in row.items()} for name, row in read("local.json")["summary"].items()
    }
    foreign = local["ForeignPatch"]
    photographs = read("pretrained.json")
    gaussian = photographs["summary"]["PatchGaussian"]
    seeds = len({cell.split(" | ")[2] for cell in photographs["cells"]})
    plain = surface["chosen"] | {"epochs": 10}
    pair = next(cell["auroc"] for cell in surface["cells"].values() if cell["setting"] == plain)
    alone = [next(iter(surface[f"{digit} alone"].values()))["auroc"][digit]["value"] for digit in ("4", "7")]
    on_nines = sorted(cell["auroc"]["9"]["value"] for cell in surface["nines"].values())
    near = max(read("neighbours.json")["rows"], key=lambda row: (row["n"], -row["k"]))
    (dcgan,) = read("nodule-dcgan/phantom/generation.json")["generators"]["3D DCGAN"]
    alarms = "no alarm" if not dcgan["alarms"] else "an alarm"
    large = read("large.json")
    tables = read("stand_ins.json")["cells"]
    wine, vectors = (
        {way: np.mean([tables[f"{name} | {seed}"][way] for name in names for seed in range(3)]) for way in WAYS}
        for names in ([f"wine {k}" for k in range(3)], [f"pixels {k}" for k in range(9)])
    )
    small = {way: small_images(tables, "digits", way) for way in ("tangents", "neighbours", OLD)}
    both, before = (small_images(tables, "textures", way) for way in ("tangents, texture | HarmonicMean", OLD))
    areas = sorted(large[kind]["auroc"] for kind in DEFECTS if kind != "hole")
    cells = read("quality.json")["cells"].items()
    costs = [cell["Auto"]["fit seconds"] for name, cell in cells if name.startswith("MNIST ") and " | Auto | " in name]
    scans, own = (read("newcomer.json")[title] for title in ("CT", "Your own images"))
    worked = sum(step["processor seconds"] for step in scans["steps"]) / 60
    minute = search["times faster than the thesis' minute, by the processor"]
    return [
        f"{own['minutes to the page']} minutes from 200 healthy pictures of mixed sizes to the page of {own['ranked']} "
        "new ones",
        f"{scans['minutes to the page']} minutes from 20 phantom scans to a page that ranks {scans['ranked']} "
        f"candidates in 5 others, {worked:.1f} of them of a processor",
        f"neighbours among the likeliest: they find {100 * near['recall']:.1f} % of the {near['k']} nearest of a digit "
        f"among {near['n']:,}",
        f"nines among MNIST's other digits **{spread(nines)}**; the mean over the ten digits held out in turn "
        f"**{np.mean(list(digits.values())):.3f}**",
        f"official test, **{spread(glands)}**; malignant phantoms of nodules {spread(phantoms)};",
        f"to learn from, {spread(lidc)}, near chance",
        f"{chosen['setting']['latent']} latents, width {chosen['setting']['width']}, pixels in [0, 1] "
        f"({chosen['unseen normals']['95 % quantile']:.1f}; fours {four:.3f}, sevens {seven:.3f})",
        f"it has {pair['4']['value']:.3f} on fours and {pair['7']['value']:.3f} on sevens, "
        f"but {alone[0]:.3f} and {alone[1]:.3f} where",
        f"{len(on_nines)} settings of ten epochs",
        f"{on_nines[0]:.3f} to {on_nines[-1]:.3f} on the nines, one seed each",
        f"and 20 latents after 30 epochs the {area('mnist-vae', 'VAE of 20 latents')} above",
        f"On the nines, measured after that, it has {area('mnist-vae', 'VAE of the thesis')}.",
        f"has **{spread(nines)}** on the same nines over 5 seeds ({ends(nines)})",
        f"**{np.mean(list(digits.values())):.3f}** in the mean over the ten digits",
        f"({digits[worst]:.3f} for {worst} to {digits[best]:.3f} for {best})",
        f"It takes {np.median(costs) / 60:.1f} minutes to fit in one process of one thread",
        f"it finds {spread(measured('Digits', 'Auto', 'Auto'))} (5 seeds; nearest neighbours "
        f"have {np.mean([each.value for each in measured('Digits', 'KNN', 'KNN')]):.3f})",
        f"where it has {small['tangents']}, neighbours {small['neighbours']} and what `Auto` had before, "
        f"neighbours and `LOF`, {small[OLD]}",
        f"the mean of its stand-ins is {both}, and was {before}",
        f"official test it has **{spread(glands)}** ({ends(glands)})",
        f"the gland's volume has {area('nodule-vae--quick/adrenal', 'volume alone')}",
        f"On `Phantom` it has {spread(phantoms)} over 3 seeds ({ends(phantoms)})",
        f"`ForeignPatch` finds the images with an AUROC of {foreign['images']} and the pixels with {foreign['pixels']} "
        f"(AUPRO {foreign['AUPRO']})",
        f"has {local['Auto']['images']} and {local['Auto']['pixels']} (AUPRO {local['Auto']['AUPRO']})",
        f"residual has {local['PCAResidual']['images']} and {local['PCAResidual']['pixels']}",
        f"a VAE {local['VAE']['images']} and {local['VAE']['pixels']}",
        f"so that blur ({foreign['blur']}) and scratches ({foreign['scratch']}) are not new to it",
        f"turned places ({foreign['twist']}) and smooth brighter ones ({foreign['bump']}) are",
        f"it has {wine['both']:.3f} that way and {wine['own units']:.3f} without",
        f"it has {vectors['both']:.3f} for {vectors['own units']:.3f}",
        f"with {large['hole']['pixels']} (AUPRO {large['hole']['AUPRO']}), but the images that have one with "
        f"{large['hole']['auroc']} ({large['hole']['interval'][0]} to {large['hole']['interval'][1]}; "
        f"{large['of each kind']} of them among {large['normal']} normals), and those of the other kinds with "
        f"{areas[0]} to {areas[-1]}",
        f"It takes {large['processor seconds to fit']} s of a processor to fit and "
        f"{large['processor seconds to score one']} s to score an image, in {large['peak GiB']} GiB",
        f"the ± is over {seeds} seeds, the first column is of one",
        f"`PatchGaussian`, has {over_seeds('pretrained', 'PatchGaussian', [*DEFECTS])} ({gaussian['stripes'][:5]} on "
        f"stripes, {gaussian['cells'][:5]} on cells)",
        "finds {:.0f}, {:.0f} and {:.0f} % of the nodules".format(*(100 * marks[each] for each in ("1", "4", "8"))),
        f"the thesis' search has {gan[0]} on phantoms, {gan[1]} on the glands and {gan[2]} on LIDC",
        f"the GAN-AD of the glands' thickness has {area('nodule-gan--quick/adrenal-thickness', 'GAN-AD')}",
        f"over 3 seeds, nine settings of the thesis' search have {searched[0]:.3f} to {searched[-1]:.3f}",
        f"those of the critic {area(sensitivity, 'contrastive features, critic, 128 samples a digit')} to "
        f"{area(sensitivity, 'contrastive features, critic')}",
        f"{spread(lidc)} over five folds of LIDC's patients ({ends(lidc)})",
        f"their volume alone has {area('nodule-vae--quick/lidc', 'volume alone')}",
        f"the pixels with {places['pixel_auroc']['value']:.3f}",
        f"and {100 * places['regions_found_at_4']['value']:.0f} % of the nodules at four false marks a cube",
        f"cover {100 * dcgan['quality']['coverage']:.0f} % of their neighbourhoods, and raise {alarms}",
        f"takes {search['processor milliseconds an image'] / 1000:.2f} s of a processor an image, {minute} times less",
        f"the encoder alone {encoder['processor milliseconds an image']:.1f} ms",
        f"in {peaks['VAE']:.2f} (VAE), {peaks['DCGAN']:.2f} (DCGAN) and {peaks['WGANGP']:.2f} GiB (WGAN-GP)",
    ]
