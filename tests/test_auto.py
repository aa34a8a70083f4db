"""The rule that puts a committee together from the normals alone."""

import numpy as np
import pytest

from tiny import normals
from unlikelihood import Auto, load

DRAWN = np.where(normals((1, 16, 16)) > 0.4, normals((1, 16, 16)), 0).astype(np.float32)
TEXTURED = np.random.default_rng(0).random((40, 1, 16, 16), dtype=np.float32)


def around(shape, n=40):
    """Return samples of noise with a ball in the middle, larger or smaller."""
    rng = np.random.default_rng(0)
    away = np.sqrt(sum((axis - (length - 1) / 2) ** 2 for axis, length in zip(np.indices(shape), shape, strict=True)))
    ball = away < rng.uniform(3, 5, (n, 1, *[1] * len(shape)))
    return (ball + 0.3 * rng.normal(size=(n, 1, *shape))).astype(np.float32)


def members(X):
    return [type(member).__name__ for member in Auto(steps=1).fit(X).committee_.detectors_]


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (normals((6,)), ["KNN", "LOF", "StandardisedFeatures", "StandardisedFeatures"]),
        (np.where(normals((1, 8, 8)) > 0.4, normals((1, 8, 8)), 0), ["TangentDistance"]),
        (normals((1, 15, 40)), ["ExposureMatched"] * 2),
        (normals((1, 15, 40, 20)), ["TangentDistance", "Radiomics"]),
        ((normals((1, 16, 16, 16)) > 0.4).astype(np.float32), ["Radiomics"]),
        ((normals((1, 16, 16)) > 0.4).astype(np.float32), ["FeatureSpace"] * 2),
        (DRAWN, ["FeatureSpace"] * 2),
        (around((16, 20)), ["RadialProfile", "Crops", "ForeignPatch"]),
        (around((16, 16, 16)), ["RadialProfile", "Crops"]),
        (np.roll(around((20, 20)), 5, 2), ["ExposureMatched"] * 2),
        (TEXTURED, ["ExposureMatched"] * 2),
        (np.tile(TEXTURED, (1, 1, 1, 9)), ["ExposureMatched"] * 2),
    ],
    ids=[
        "vectors",
        "small, drawn",
        "narrow",
        "narrow volumes",
        "masks of volumes",
        "masks of images",
        "drawn",
        "images around",
        "volumes around",
        "off the middle",
        "textured",
        "large",
    ],
)
def test_the_kind_of_normals_decides_who_is_on_the_committee(X, expected, monkeypatch):
    monkeypatch.setattr("unlikelihood.detectors.auto.WINDOWS", 40)  # of large normals, for the time it takes
    assert members(X) == expected
    assert members(3 * X[::-1] - 7) == expected  # whatever their unit and order


@pytest.mark.parametrize(
    ("X", "steps", "device", "processes"),
    [
        (DRAWN, 576, "cpu", 2),
        (TEXTURED, 576, "cpu", 2),
        (np.tile(TEXTURED, (1, 1, 1, 9)), 576, "cpu", 2),
        (normals((6,)), 576, "cpu", 1),
        (around((16, 20)), 576, "cpu", 1),
        (DRAWN, 1, "cpu", 1),
        (DRAWN, 576, "cuda", 1),
    ],
)
def test_several_networks_are_fitted_by_as_many_processes_as_there_are_threads(
    monkeypatch, X, steps, device, processes
):
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    auto = Auto(steps=steps, device=device)
    auto.shape_ = X.shape[1:]
    assert auto._processes(auto._members(X)[0]) == processes


@pytest.mark.filterwarnings("ignore:.*cannot rank them")  # so few tell little
@pytest.mark.parametrize("shape", [(3,), (1, 12, 12), (1, 16, 16), (1, 16, 16, 16)], ids=str)
def test_four_normals_are_enough_and_fewer_are_refused_by_their_number(shape):
    X = np.random.default_rng(0).random((4, *shape), dtype=np.float32)
    assert np.isfinite(Auto(steps=1).fit(X).score_samples(X)).all()
    with pytest.raises(ValueError, match="Auto: X has n_samples=3, expected at least 4"):
        Auto(steps=1).fit(X[:3])


def test_the_critics_are_not_one_repeated():
    of_seeds = [Auto(steps=1, seed=seed).fit(DRAWN).committee_.detectors_ for seed in (0, 1)]
    scores = [critic.score_samples(DRAWN) for critics in of_seeds for critic in critics]
    assert np.abs(np.corrcoef(scores)[np.triu_indices(4, 1)]).max() < 0.999


def test_a_saved_one_scores_the_same(tmp_path):
    fitted = Auto(steps=1).fit(DRAWN)
    fitted.save(tmp_path / "auto")
    np.testing.assert_array_equal(load(tmp_path / "auto").score_samples(TEXTURED), fitted.score_samples(TEXTURED))


def test_a_checkpoint_is_kept_while_the_encoders_train_and_not_longer(tmp_path):
    Auto(steps=1, checkpoint=str(tmp_path / "fit"), checkpoint_seconds=0).fit(DRAWN)
    assert not list(tmp_path.iterdir())


def test_a_darker_picture_is_no_defect_unless_exposure_counts():
    for exposure in (False, True):
        auto = Auto(steps=1, exposure=exposure).fit(TEXTURED)
        log_p = auto.committee_.log_p_values(0.5 * TEXTURED)
        assert (np.median(log_p.min(axis=1)) < -10) == exposure
