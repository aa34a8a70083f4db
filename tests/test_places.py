"""Figures of maps are those of a brute force, and say what the papers say."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from tiny import normals, tiny
from unlikelihood.data.images import Images
from unlikelihood.data.splits import Split
from unlikelihood.evaluation.evaluation import evaluate
from unlikelihood.metrics.froc import froc
from unlikelihood.metrics.places import (
    Marks,
    aupro,
    best_dice,
    conformal_threshold,
    dice,
    judge_places,
    pixel_auroc,
)
from unlikelihood.report.record import Record


def examples(rng, n=6, space=(9, 11), levels=20):
    """Return masks of some squares, and maps with many ties that are a little higher there."""
    mask = np.zeros((n, *space), bool)
    for each in mask[: n // 2]:
        for _ in range(3):
            corner = [rng.integers(0, length - 3) for length in space]
            each[tuple(slice(at, at + rng.integers(1, 4)) for at in corner)] = True
    return mask, np.round(levels * (rng.random(mask.shape) + 0.5 * mask)) / levels


def overlap_by_brute_force(mask, maps, limit):
    """Return the area under the mean share of the regions over the false positive rate, threshold by threshold."""
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        marked = maps >= threshold
        shares = []
        for each, found in zip(mask, marked, strict=True):
            regions, count = ndimage.label(each, np.ones((3,) * each.ndim))
            shares += [found[regions == number].mean() for number in range(1, count + 1)]
        points.append(((marked & ~mask).sum() / (~mask).sum(), np.mean(shares)))
    fine = np.linspace(0, limit, 200001)
    curve = np.interp(fine, *np.array(points).T)
    return np.trapezoid(curve, fine) / limit


@pytest.mark.parametrize("space", [(9, 11), (5, 6, 7)])
def test_figures_are_those_of_a_brute_force(rng, space):
    mask, maps = examples(rng, space=space)
    assert pixel_auroc(mask, maps) == pytest.approx(roc_auc_score(mask.ravel(), maps.ravel()))
    assert aupro(mask, maps) == pytest.approx(overlap_by_brute_force(mask, maps, 0.3), abs=1e-4)
    assert aupro(mask, maps, 1.0) == pytest.approx(overlap_by_brute_force(mask, maps, 1.0), abs=1e-4)
    assert best_dice(mask, maps) == pytest.approx(max(dice(mask, maps >= value) for value in np.unique(maps)))


def test_perfect_maps_get_everything_and_even_ones_chance(rng):
    mask, _ = examples(rng)
    assert (pixel_auroc(mask, mask * 1.0), aupro(mask, mask * 1.0), best_dice(mask, mask * 1.0)) == (1, 1, 1)
    even = np.ones(mask.shape)
    assert pixel_auroc(mask, even) == pytest.approx(0.5)
    assert aupro(mask, even) == pytest.approx(0.15)


def test_a_small_region_counts_as_much_as_a_large_one():
    mask = np.zeros((1, 20, 20), bool)
    mask[0, :10, :10] = mask[0, 15, 15] = True
    large, small = np.zeros(mask.shape), np.zeros(mask.shape)
    large[0, :10, :10] = small[0, 15, 15] = 1
    assert aupro(mask, large) == pytest.approx(aupro(mask, small))
    assert pixel_auroc(mask, large) > pixel_auroc(mask, small) + 0.3


def test_figures_do_not_depend_on_the_unit_or_the_order(rng):
    mask, maps = examples(rng)
    order = rng.permutation(len(mask))
    for figure in (pixel_auroc, aupro, best_dice):
        assert figure(mask, maps) == pytest.approx(figure(mask[order], np.exp(3 * maps[order])))


def test_at_the_conformal_threshold_few_new_normals_have_a_mark(rng):
    marked = []
    for _ in range(300):
        maps = rng.normal(size=(40, 4, 4))
        threshold = conformal_threshold(maps[:39], alpha=0.1)
        marked.append((maps[39] > threshold).any())
    assert np.mean(marked) == pytest.approx(0.1, abs=0.06)
    assert conformal_threshold(maps[:8], alpha=0.1) is None
    assert conformal_threshold(maps[:9], alpha=0.1) == maps[:9].max()


def test_marks_are_peaks_and_say_which_region_they_hit():
    mask, values = np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20))
    mask[4:7, 4:7, 4:7] = mask[12:15, 12:15, 12:15] = True
    values[5, 5, 5], values[18, 2, 2] = 3, 2
    values[13, 12:15, 13] = 1  # a plateau is one mark
    marks = Marks.of(mask, values)
    assert sorted(zip(marks.value.tolist(), marks.region.tolist(), strict=True)) == [(1, 1), (2, -1), (3, 0)]
    assert marks.regions == 2
    assert froc(marks.region, marks.value, 2, 1, (0, 1)) == {0: 0.5, 1: 1.0}


def test_every_figure_lies_in_its_interval_and_better_maps_have_better_ones(rng):
    mask, worse = examples(rng, n=20, space=(8, 8, 8), levels=1000)
    better = worse + mask
    found, other = (judge_places(mask, maps, threshold=1.2, draws=30) for maps in (worse, better))
    assert list(found) == [
        *("pixel_auroc", "aupro", "best_dice", "dice_at_threshold"),
        *("regions_found_at_0.25", "regions_found_at_1", "regions_found_at_4"),
    ]
    for each in (*found.values(), *other.values()):
        assert 0 <= each.low <= each.value <= each.high <= 1
    assert found["dice_at_threshold"].value == pytest.approx(dice(mask, worse > 1.2))
    assert found["dice_at_threshold"].value <= found["best_dice"].value
    for name in ("pixel_auroc", "aupro", "best_dice"):
        assert other[name].low > found[name].value
    grouped = judge_places(mask, worse, group=np.arange(20) // 2, draws=30)
    assert "dice_at_threshold" not in grouped


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda mask, maps: (mask[1:], maps), "expected bool of the shape"),
        (lambda mask, maps: (mask.astype(int), maps), "expected bool of the shape"),
        (lambda mask, maps: (mask, np.where(mask, np.nan, maps)), "not finite"),
        (lambda mask, maps: (mask & False, maps), "one kind of pixel"),
    ],
)
def test_what_cannot_be_judged_is_refused(rng, spoil, message):
    with pytest.raises(ValueError, match=message):
        pixel_auroc(*spoil(*examples(rng)))


def masked_split(shape, n=30):
    """Return a split whose anomalies have a bright square where their masks are."""
    rng = np.random.default_rng(5)
    parts = [normals(shape, n=n, seed=seed) for seed in range(4)]
    anomalous, mask = parts[3], np.zeros((2 * n, *shape[1:]), bool)
    for row in range(n):
        inside = tuple(slice(at, at + 2) for at in rng.integers(0, np.subtract(shape[1:], 2)))
        mask[n + row][inside] = True
        anomalous[row][:, mask[n + row]] += 1
    test = Images(np.concatenate([parts[2], anomalous]), label=np.repeat([0, 1], n), mask=mask)
    return Split(Images(parts[0]), Images(parts[1]), test)


@pytest.mark.parametrize("name", ["PCAResidual", "KNN"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 8, 8, 8)])
def test_an_evaluation_judges_places_where_there_are_masks(name, shape, tmp_path):
    split = masked_split(shape)
    detector = tiny(name, n_components=1).fit(split.train.pixels)
    found = evaluate(detector, split, draws=20)
    # Whatever is covered, a square of two pixels is found no better than the windows are large.
    assert found.places["pixel_auroc"].low > (0.9 if name == "PCAResidual" else 0.6)
    assert ("regions_found_at_1" in found.places) == (len(shape) == 4)
    assert found.data["map_kind"] == str(detector.map_kind)
    assert Record.load(found.write(tmp_path)).places == found.places
    assert "pixel auroc" in found.summary()
    assert found.data["map_samples"] == (60 if detector.map_kind.own else 24)
    assert not evaluate(tiny("KNN").fit(split.train.pixels), split, draws=20, attributed=0).places
    bare = replace(split, test=replace(split.test, mask=None))
    assert evaluate(detector, bare, draws=20).places == {}


def test_the_threshold_of_places_is_that_of_normals_which_training_never_saw():
    split = masked_split((1, 8, 8))
    detector = tiny("PCAResidual", n_components=1).fit(split.train.pixels)
    data = evaluate(detector, split, draws=20).data
    assert data["map_threshold"] == conformal_threshold(detector.anomaly_map(split.calibration.pixels), 0.05)
    few = evaluate(detector, replace(split, calibration=split.calibration[:5]), draws=20)
    assert "dice_at_threshold" not in few.places
