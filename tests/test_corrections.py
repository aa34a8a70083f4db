"""What mends a likelihood keeps the identities that its paper gives it."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import chi2, kstest
from torch import nn
from torch.distributions import Normal

from tiny import SHAPES, normals, tiny
from unlikelihood import (
    ELBO,
    KNN,
    NAP,
    SAP,
    VAE,
    FeatureSpace,
    GradientNorm,
    InputComplexity,
    LikelihoodRatio,
    LikelihoodRegret,
    Objective,
    PathStatistics,
    Trained,
    Typicality,
    Variational,
)
from unlikelihood.detectors.likelihood_ratio import mutated
from unlikelihood.training.alarms import NothingLearnt


class Linear(nn.Module):
    """Probabilistic PCA with a diagonal posterior, which is exact: the columns of the decoder are orthogonal."""

    def __init__(self, features, latent):
        super().__init__()
        self.decoder = nn.Linear(latent, features, bias=False)
        self.encoder = nn.Linear(features, latent)
        self.variance = nn.Parameter(torch.ones(latent))


class LinearVAE(Variational[Linear]):
    """log p(x|z) = log N(x; Wz, I), p(z) = N(0, I), q(z|x) = p(z|x) but for what a test does to it."""

    latent: int = 2
    shift: float = 0.0

    def build(self, shape):
        return Linear(shape[0], self.latent)

    def objectives(self, net):
        return [Objective("none", net, lambda x: net.encoder(x).square().mean(), optimizer=torch.optim.SGD)]

    def _finish(self, X):
        w = torch.eye(self.shape_[0], self.latent).double() * torch.arange(1, self.latent + 1).double()
        precision = 1 + w.square().sum(0)
        self.net_.decoder.weight.data = w
        self.net_.encoder.weight.data = (w / precision).T.contiguous()
        self.net_.encoder.bias.data = torch.full((self.latent,), self.shift).double()
        self.net_.variance.data = 1 / precision

    def encode(self, x):
        mean = self.net_.encoder(x)
        return Normal(mean, self.net_.variance.sqrt().expand_as(mean))

    def log_likelihood(self, x, z):
        return Normal(self.decode(z), 1.0).log_prob(x).sum(-1)

    def log_prior(self, z):
        return Normal(0.0, 1.0).log_prob(z).sum(-1)

    def activations(self, x):
        return [x, self.net_.encoder(x)]

    def decode(self, z):
        return self.net_.decoder(z)

    def draw(self, n, *key):
        return torch.zeros(n, self.latent)

    def score_batch(self, x):
        return self.log_likelihood(x, self.encode(x).loc)


class Location(Trained[nn.Linear]):
    """log N(x; θ, I), up to a constant."""

    learning_rate: float = 1e-2

    def build(self, shape):
        return nn.Linear(1, shape[0], bias=False)

    def objectives(self, net):
        adam = partial(torch.optim.Adam, lr=self.learning_rate)
        return [Objective("squares", net, lambda x: (x - net.weight[:, 0]).square().mean(), optimizer=adam)]

    def score_batch(self, x):
        return -(x - self.net_.weight[:, 0]).square().sum(1) / 2


@pytest.fixture(name="X")
def samples(rng):
    return rng.normal(size=(200, 4))


@pytest.mark.parametrize("shape", SHAPES.values())
def test_the_ratio_of_a_detector_with_itself_is_nought(shape):
    X = normals(shape)
    vae = tiny("VAE").fit(X)
    with pytest.warns(NothingLearnt, match="scores are 0"):
        assert not LikelihoodRatio(vae, background=vae).fit(X).score_samples(X).any()
    with pytest.warns(NothingLearnt, match="scores are 0"):
        assert not LikelihoodRatio(tiny("VAE"), rate=0.0).fit(X).score_samples(X).any()


def test_the_ratio_is_a_difference_and_its_background_is_not_the_model():
    X = normals((1, 8, 8))
    vae = tiny("VAE").fit(X)
    ratio = LikelihoodRatio(vae).fit(X)
    assert ratio.detector_ is vae
    difference = vae.score_samples(X) - ratio.background_.score_samples(X)
    assert difference.any()
    np.testing.assert_array_equal(ratio.score_samples(X), difference)


@pytest.mark.parametrize("shape", SHAPES.values())
def test_mutation_replaces_its_share_of_values_by_some_within_their_channels_range(shape):
    X = np.random.default_rng(0).normal(size=(2000 // math.prod(shape) + 20, *shape)) * 3
    X += np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1)) * 100
    changed = mutated(X, 0.2, seed=1)
    share = (changed != X).mean()
    assert abs(share - 0.2) < 5 * math.sqrt(0.2 * 0.8 / X.size)
    others = (0, *range(2, X.ndim))
    assert (changed.min(others) >= X.min(others)).all()
    assert (changed.max(others) <= X.max(others)).all()


def test_typicality_peaks_at_the_entropy():
    X = normals((1, 8, 8))
    vae = tiny("VAE").fit(X)
    typicality = Typicality(vae).fit(X[:30])
    assert typicality.entropy_ == pytest.approx(-vae.score_samples(X[:30]).mean())
    off = vae.score_samples(X) + typicality.entropy_
    assert (off > 0).any()
    assert (off < 0).any()
    np.testing.assert_allclose(typicality.score_samples(X), -np.abs(off))


@pytest.mark.parametrize("shape", SHAPES.values())
def test_complexity_is_what_the_score_adds_and_grows_from_constants_over_ramps_to_noise(shape):
    noise = np.random.default_rng(0).random((1, *shape))
    ramp = np.broadcast_to(np.linspace(0, 1, shape[-1]), (1, *shape))
    X = np.concatenate([np.full((1, *shape), 0.3), ramp, noise]).astype(np.float32)
    detector = InputComplexity(KNN()).fit(np.concatenate([normals(shape), X]))
    constant, ramp, noise = detector.complexity(X)
    assert 0 < constant <= ramp <= noise
    assert constant < noise
    part = detector.detector_.score_samples(X)
    np.testing.assert_allclose(detector.score_samples(X) - part, detector.complexity(X))


def test_complexity_of_incompressible_bytes_is_their_number_of_bits():
    X = np.random.default_rng(0).integers(0, 256, (3, 1, 64, 64)).astype(np.uint8)
    complexity = InputComplexity(KNN()).fit(X).complexity(X)
    np.testing.assert_allclose(complexity, 64 * 64 * math.log(256), rtol=2e-3)


def test_complexity_needs_no_unit():
    X = normals((1, 8, 8))
    hounsfield = X * 2000 - 1000
    expected = InputComplexity(KNN()).fit(X).complexity(X)
    np.testing.assert_array_equal(InputComplexity(KNN()).fit(hounsfield).complexity(hounsfield), expected)


def test_there_is_no_regret_where_the_encoder_is_exact(X):
    exact = LikelihoodRegret(LinearVAE(epochs=1)).fit(X)
    regret = -exact.score_samples(X)
    assert (regret >= 0).all()
    assert regret.max() < 0.02  # what eight draws of the noise leave of their correlation


def test_the_regret_of_a_shifted_encoder_is_what_the_shift_costs(X):
    # In closed form: ELBO(μ + s) = ELBO(μ) - s² (1 + W²) / 2 in each latent dimension.
    shifted = LikelihoodRegret(LinearVAE(shift=0.5, epochs=1), steps=200).fit(X)
    cost = 0.5**2 * ((1 + 1) + (1 + 4)) / 2
    np.testing.assert_allclose(-shifted.score_samples(X), cost, atol=0.05)


def test_regret_grows_with_the_steps(X):
    vae = tiny("VAE").fit(X)
    few, many = (-LikelihoodRegret(vae, steps=steps).fit(X).score_samples(X[:40]) for steps in (1, 30))
    assert (few >= 0).all()
    assert (many >= few).all()
    assert many.mean() > 1.3 * few.mean()


def test_path_statistics_are_those_of_the_vae(X):
    vae = LinearVAE(epochs=1).fit(X)
    paths = PathStatistics(vae).fit(X)
    path, mean, scale, distortion, rate, likelihood = (paths.embed(X) * paths.scale_ + paths.mean_).T
    x = torch.from_numpy(X)
    q = vae.encode(x)
    np.testing.assert_allclose(path, (x - vae.decode(q.loc)).norm(dim=1).detach())
    np.testing.assert_allclose(mean, q.loc.norm(dim=1).detach())
    np.testing.assert_allclose(scale, math.sqrt(1 / 2 + 1 / 5))
    # Where the posterior is exact, every draw of it gives log p(x) = log N(x; 0, I + WWᵀ).
    variance = np.array([2, 5, 1, 1])
    log_p = -(np.square(X) / variance + np.log(2 * np.pi * variance)).sum(1) / 2
    np.testing.assert_allclose(likelihood, log_p)
    np.testing.assert_allclose(distortion - rate, log_p)


def test_path_statistics_score_by_a_density_and_carry_any_other_detector(X):
    paths = PathStatistics(tiny("VAE")).fit(X)
    z = paths.embed(X)
    h = len(X) ** -0.2
    kernel = np.exp(-np.square((z[:, None] - z) / h) / 2).mean(1) / (h * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(paths.score_samples(X), np.log(kernel).sum(1))
    wrapped = FeatureSpace(paths, KNN()).fit(X)
    np.testing.assert_array_equal(wrapped.score_samples(X), KNN().fit(z).score_samples(z))


@pytest.mark.parametrize("score", [SAP, NAP])
def test_what_an_autoencoder_returns_unchanged_has_followed_the_path(score):
    class Perfect(LinearVAE):
        def _finish(self, X):
            super()._finish(X)
            self.net_.decoder.weight.data = torch.eye(2).double()
            self.net_.encoder.weight.data = torch.eye(2).double()
            self.net_.encoder.bias.data.zero_()

    X = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.warns(NothingLearnt, match="scores are -0"):
        assert not score(Perfect(epochs=1)).fit(X).score_samples(X).any()


def test_sap_is_the_squared_difference_of_sample_and_reconstruction_summed_over_layers(X):
    vae = LinearVAE(epochs=1).fit(X)
    x = torch.from_numpy(X)
    back = vae.decode(vae.encode(x).loc)
    layers = zip(vae.activations(x), vae.activations(back), strict=True)
    expected = -sum((h - k).square().sum(1) for h, k in layers).detach()
    np.testing.assert_allclose(SAP(vae).fit(X).score_samples(X), expected)


def test_nap_does_not_change_with_an_invertible_map_of_the_activations(X):
    mix = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 4)))

    class Mixed(LinearVAE):
        def activations(self, x):
            return [x @ mix, self.net_.encoder(x) * 7]

    X_test = X[:20] * 3
    plain, mixed = (
        score(LinearVAE(shift=0.5, epochs=1)).fit(X) for score in (NAP, lambda vae: NAP(Mixed(shift=0.5, epochs=1)))
    )
    np.testing.assert_allclose(mixed.score_samples(X_test), plain.score_samples(X_test))
    assert not np.allclose(
        SAP(Mixed(epochs=1)).fit(X).score_samples(X), SAP(LinearVAE(epochs=1)).fit(X).score_samples(X)
    )


def test_nap_of_the_training_samples_sums_to_the_rank_of_their_differences(X):
    # ‖U‖² of a matrix with orthonormal columns; the reconstruction spans 2 of 4 axes, the latents depend on them.
    nap = NAP(LinearVAE(epochs=1)).fit(X)
    assert nap.whitening_.shape[1] == 4
    assert -nap.score_samples(X).sum() == pytest.approx(4)


def test_gradient_norm_of_a_gaussians_mean_is_chi_squared(rng):
    X = rng.normal(size=(2000, 5))
    norm = -GradientNorm(Location(epochs=30), damping=1e-9).fit(X).score_samples(X)
    assert norm.mean() == pytest.approx(5, rel=1e-6)  # gᵀF⁻¹g averages to the number of weights where F is fitted
    held_out = rng.normal(size=(500, 5))
    norm = -GradientNorm(Location(epochs=30), damping=1e-9).fit(X).score_samples(held_out)
    assert kstest(norm, chi2(5).cdf).pvalue > 0.01


@pytest.mark.parametrize("shape", SHAPES.values())
def test_gradient_norm_is_that_of_autograd_sample_by_sample(shape):
    X = normals(shape, n=12)
    vae = tiny("VAE", scoring=ELBO(4)).fit(X)
    norm = GradientNorm(vae).fit(X)
    weights = list(vae.net_.parameters())
    gradients = []
    for x in X:
        score = vae.score_batch(torch.from_numpy(x[None]).to(weights[0].dtype)).sum()
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(score, weights)]).double().numpy())
    g = np.array(gradients)
    fisher = np.square(g).mean(0)
    expected = -(np.square(g) / (fisher + 1e-3 * fisher.mean())).sum(1)
    np.testing.assert_allclose(norm.score_samples(X), expected, rtol=1e-4)


def test_gradient_norm_refuses_a_score_without_a_gradient():
    class Rounded(VAE):
        def score_batch(self, x):
            return torch.from_numpy(super().score_batch(x).numpy().round())

    with pytest.raises(ValueError, match=r"detector is a Rounded, .* expected"):
        GradientNorm(Rounded(latent=2, width=2, epochs=1)).fit(normals((1, 8, 8)))
