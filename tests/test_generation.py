"""What is measured of a generator, and when it raises an alarm."""

import warnings
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn

from tiny import normals, tiny
from unlikelihood import DCGAN, KNN, Contrastive, EncoderSearch, FeatureSpace, Images, LatentSearch, Split, evaluate
from unlikelihood.data.mnist import read_idx
from unlikelihood.metrics.generators import (
    copied_share,
    density_and_coverage,
    frechet_distance,
    inception_score,
    inception_scores,
    kernel_distance,
    missing_share,
    quality,
    quality_of,
)
from unlikelihood.metrics.similarity import ms_ssim
from unlikelihood.training.alarms import NotTrustworthy


def gaussian(n, d=3, mean=0.0, scale=1.0, seed=0):
    return np.random.default_rng(seed).normal(mean, scale, (n, d))


def test_the_frechet_distance_of_gaussians_is_in_closed_form():
    real, made = gaussian(50_000), gaussian(50_000, mean=2.0, scale=3.0, seed=1)
    # |mean|^2 + d (1 - 3)^2
    assert frechet_distance(real, made) == pytest.approx(3 * 4 + 3 * 4, rel=0.02)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(real[:, :1], real[:, :1] + 2) == pytest.approx(4)


def test_the_kernel_distance_is_unbiased_and_sees_a_shift():
    equal = [kernel_distance(gaussian(40, seed=2 * i), gaussian(40, seed=2 * i + 1)) for i in range(300)]
    assert abs(np.mean(equal)) < 3 * np.std(equal) / np.sqrt(300)
    assert kernel_distance(gaussian(500), gaussian(500, mean=1.0, seed=1)) > 1


def test_coverage_shows_dropped_modes_and_density_does_not():
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.normal(mode, 0.1, (200, 2)) for mode in (-3, 0, 3, 6)])
    again = np.concatenate([rng.normal(mode, 0.1, (200, 2)) for mode in (-3, 0, 3, 6)])
    density, coverage = density_and_coverage(real, again)
    assert density == pytest.approx(1, abs=0.15)
    assert coverage > 0.9
    density, coverage = density_and_coverage(real, again[:200])
    assert density == pytest.approx(1, abs=0.3)
    assert coverage == pytest.approx(0.25, abs=0.03)
    assert density_and_coverage(real, again + 100) == (0, 0)


SEEDS = range(10)


def kinds_of(seed, kinds, n, draw=0, d=6):
    """Return samples of some of ten kinds, at random places and as dense as they happen to be."""
    rng = np.random.default_rng(seed)
    places, widths = 3 * rng.normal(size=(10, d)), rng.uniform(0.2, 1, (10, 1))
    rng = np.random.default_rng([seed, draw])
    kind = rng.choice(kinds, n)
    return places[kind] + widths[kind] * rng.normal(size=(n, d))


@pytest.mark.parametrize("n", [500, 5000, 20_000])
def test_copies_are_told_from_unseen_normals_among_any_number_of_training_samples(n):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        known = kinds_of(seed, range(10), n)
        copies = known[rng.integers(n, size=500)]
        assert copied_share(known, copies) > 0.9
        assert copied_share(known, copies + rng.normal(0, 0.01, copies.shape)) > 0.6
        assert copied_share(known, kinds_of(seed, range(10), 500, draw=1)) < 0.2
        assert copied_share(known, kinds_of(seed, [0], 500, draw=1)) < 0.2, "a kind that happens to be dense"


def test_values_that_normals_repeat_are_no_copies(rng):
    known, fresh = (rng.integers(0, 3, (500, 2)).astype(float) for _ in range(2))
    assert copied_share(known, fresh) < 0.1
    assert copied_share(np.ones((500, 2)), np.ones((300, 2))) == 0
    assert copied_share(known[:200], fresh, np.array_split(known, 7)) == copied_share(known[:200], fresh, [known])


def test_kinds_left_out_are_told_from_chance():
    for seed in SEEDS:
        real = kinds_of(seed, range(10), 500)
        for count in (1, 3, 5):
            kinds = np.random.default_rng(seed).permutation(10)[:count]
            assert missing_share(real, kinds_of(seed, kinds, 500, draw=1)) == pytest.approx(1 - count / 10, abs=0.2)
        assert abs(missing_share(real, kinds_of(seed, range(10), 500, draw=1))) < 0.12
    assert missing_share(np.ones((300, 2)), np.ones((300, 2))) == 0


FILES = {"images-idx3-ubyte": 3, "labels-idx1-ubyte": 1}


class Sampler:
    """A generator of what it is given."""

    def __init__(self, samples):
        self.samples = samples

    def generate(self, n):
        return self.samples[:n]


def test_all_training_samples_are_looked_at_and_not_a_part():
    known = kinds_of(0, range(10), 9000).astype(np.float32)
    (alarm,) = quality_of(Sampler(np.random.default_rng(0).permutation(known)), known).alarms
    assert "memorises" in alarm
    assert quality_of(Sampler(kinds_of(0, range(10), 2000, draw=1).astype(np.float32)), known).alarms == ()


def test_the_alarms_know_digits(mnist_path):
    pixels, digit = (read_idx(mnist_path / f"t10k-{part}.gz", axes) for part, axes in FILES.items())
    pixels = pixels[:, None] / np.float32(255)
    train, unseen, kind = pixels[:4000], pixels[4000:], digit[4000:]
    assert quality_of(Sampler(unseen), train).alarms == ()
    for kinds in ([6], [1], [0, 1, 2], [3, 5, 8]):
        (alarm,) = quality_of(Sampler(unseen[np.isin(kind, kinds)]), train).alarms
        assert "has collapsed" in alarm
    (alarm,) = quality_of(Sampler(train[::2]), train).alarms
    assert "memorises" in alarm


def test_the_inception_score_is_the_number_of_classes_at_best_and_one_at_worst():
    assert inception_score(np.eye(5)[np.arange(100) % 5]) == pytest.approx(5)
    assert inception_score(np.eye(5)[np.zeros(10, int)]) == pytest.approx(1)
    assert inception_score(np.full((10, 5), 0.2)) == pytest.approx(1)


def test_without_labels_the_kinds_are_the_clusters():
    rng = np.random.default_rng(0)
    places = rng.normal(0, 10, (5, 3))
    real, made = (places[np.arange(500) % 5] + rng.normal(0, 0.1, (500, 3)) for _ in range(2))
    kinds, score, known = inception_scores(real, made, count=5)
    assert kinds == 5
    assert score == pytest.approx(known, rel=0.01)
    assert 3.5 < score <= 5
    assert inception_scores(real, made[:1].repeat(100, 0), count=5)[1] == pytest.approx(1)
    dropped = made[np.arange(500) % 5 < 2]
    assert inception_scores(real, dropped, count=5)[1] == pytest.approx(2, rel=0.2)
    assert inception_scores(np.ones((300, 2)), made[:, :2]) == (1, None, None)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 40, 24), (1, 20, 20, 20), (2, 5, 6)])
def test_ms_ssim_is_one_for_equals_and_falls_with_noise(shape):
    x = torch.from_numpy(normals(shape, n=8))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ms_ssim(x, x, 1.0), torch.ones(8))
    little, much = (ms_ssim(x, x + level * noise, 1.0) for level in (0.05, 0.3))
    assert (little < 1).all()
    assert (little > much).all()
    torch.testing.assert_close(ms_ssim(x, x + 0.05 * noise, 1.0), ms_ssim(x + 0.05 * noise, x, 1.0))
    torch.testing.assert_close(ms_ssim(7 * x, 7 * (x + 0.05 * noise), 7.0), little)


def judged(made, real):
    return quality(real, made, (real.reshape(len(real), -1), made.reshape(len(made), -1)))


def test_every_alarm_is_raised_by_its_fault_alone():
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.normal(mode, 0.3, (100, 2)) for mode in (-3, 0, 3, 6)])
    healthy = np.concatenate([rng.normal(mode, 0.3, (100, 2)) for mode in (-3, 0, 3, 6)])
    assert judged(healthy, real).alarms == ()
    (collapsed,) = judged(real[:1] + rng.normal(0, 0.1, (400, 2)), real).alarms
    assert "has collapsed" in collapsed
    (lost,) = judged(healthy + 50, real).alarms
    assert "has not learnt" in lost
    (copied,) = judged(real + 1e-4, real).alarms
    assert "memorises" in copied


def test_random_pairs_of_a_collapsed_generator_are_too_alike():
    real = normals((1, 16, 16), n=300)
    found = judged(real[:1] + np.zeros_like(real), real)
    assert found.likeness == pytest.approx(1)
    assert found.real_likeness < 0.9


class Collapsed(DCGAN):
    """Its generator cannot see z."""

    def build(self, shape):
        net = super().build(shape)
        for synthesis in (net.generator, net.average):
            nn.init.zeros_(synthesis.layers[0].weight)
            synthesis.layers[0].weight.register_hook(torch.zeros_like)
        return net


def gan(cls):
    return cls(latent=4, width=8, epochs=10, batch_size=32, learning_rate=1e-3, average=0.9)


@pytest.fixture(scope="module")
def train():
    return normals((1, 8, 8), n=512)


@pytest.fixture(scope="module")
def collapsed(train):
    return gan(Collapsed).fit(train)


def test_a_collapsed_generators_detectors_say_so_when_they_score(collapsed, train):
    assert "has collapsed" in collapsed.alarms_[0]
    wrappers = [LatentSearch(collapsed, 1), EncoderSearch(collapsed, epochs=1, width=2)]
    nested = FeatureSpace(collapsed, FeatureSpace(gan(Collapsed).set_params(epochs=1), KNN()))
    for detector in [collapsed, *(wrapper.fit(train) for wrapper in (*wrappers, nested))]:
        with pytest.warns(NotTrustworthy) as found:
            detector.score_samples(train[:5])
        # Once for each generator, and by the name of the detector that was called.
        said = [str(warning.message) for warning in found]
        assert said == [f"{type(detector).__name__}: {alarm}" for alarm in detector.alarms()]
        assert "the generator has collapsed" in said[0]


def test_an_encoder_of_the_domain_raises_the_same_alarms(collapsed, train):
    encoder = Contrastive(features=8, width=8, epochs=10, batch_size=64).fit(train)
    (alarm,) = quality_of(collapsed, train, encoder).alarms
    assert "has collapsed" in alarm
    assert quality_of(Sampler(normals((1, 8, 8), n=512, seed=1)), train, encoder).alarms == ()
    fitted = gan(DCGAN).set_params(epochs=2, encoder=encoder).fit(train)
    assert fitted.quality_ == asdict(quality_of(fitted, train, encoder))
    assert fitted.quality_["frechet"] != quality_of(fitted, train).frechet


class Healthy(DCGAN):
    """It makes new normals, whatever its network has learnt."""

    def generate(self, n):
        return normals((1, 8, 8), n=n, seed=1)


def test_a_healthy_generator_raises_no_alarm(train):
    healthy = gan(Healthy).set_params(epochs=1).fit(train)
    assert healthy.alarms_ == ()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LatentSearch(healthy, 1).fit(train).score_samples(train[:5])


def test_the_snapshots_end_with_the_fitted_generator(train):
    fitted = gan(DCGAN).set_params(epochs=6).fit(train[:128])
    snapshots = fitted.snapshots()
    assert snapshots.shape == (6, 6, 1, 8, 8)
    with torch.no_grad():
        np.testing.assert_allclose(snapshots[-1], fitted.decode(fitted.net_.z).numpy(), atol=1e-6)
    assert all(np.abs(each - snapshots[-1]).max() > 0.01 for each in snapshots[:-1])


def test_the_report_shows_the_generator(train, collapsed, tmp_path):
    X = normals((1, 8, 8), n=20, seed=1)
    test = Images(pixels=X, label=np.arange(20) % 2)
    split = Split(train=Images(pixels=train), calibration=Images(pixels=train[:0]), test=test)
    with pytest.warns(NotTrustworthy):
        evaluate(LatentSearch(collapsed, 1).fit(train), split, draws=10).save(tmp_path / "collapsed")
    page = (tmp_path / "collapsed" / "report.html").read_text(encoding="utf-8")
    assert "The generator has collapsed" in page
    assert "Coverage" in page
    assert "Inception-like score of normals" in page
    assert (tmp_path / "collapsed" / "figures" / "snapshots.png").exists()
    evaluate(tiny("DCGAN").fit(train[:40]), split, draws=10).save(tmp_path / "few")
    assert "Too few normals" in (tmp_path / "few" / "report.html").read_text(encoding="utf-8")
