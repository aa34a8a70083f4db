"""What a variational autoencoder's parts compute, against closed forms."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm, spearmanr
from sklearn.base import clone
from torch.distributions import Normal

from tiny import normals
from unlikelihood import (
    ELBO,
    IWAE,
    NAP,
    SAP,
    VAE,
    Bernoulli,
    CorrelatedGaussian,
    DiagonalGaussian,
    Exemplars,
    Gaussian,
    GradientNorm,
    LatentDensity,
    LearntGaussian,
    LikelihoodRegret,
    OptimalGaussian,
    PathStatistics,
    Reconstruction,
    StandardNormal,
)
from unlikelihood.nn.scores import Score
from unlikelihood.training.seeding import seeded


def pairs(shape, n=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, *shape, generator=generator, dtype=torch.float64) for _ in range(2)]


def test_the_thesis_likelihood_is_minus_the_summed_squared_error_but_for_a_constant():
    x, mean = pairs((1, 4, 4))
    expected = -(x - mean).square().sum((1, 2, 3)) - 8 * math.log(math.pi)
    torch.testing.assert_close(Gaussian()((1, 4, 4))(x, mean), expected)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
def test_gaussian_is_the_normal_density(sigma):
    x, mean = pairs((6,))
    expected = norm.logpdf(x, mean, sigma).sum(1)
    np.testing.assert_allclose(Gaussian(sigma)((6,))(x, mean), expected)


def test_the_optimal_sigma_is_the_likeliest():
    x, mean = pairs((6,))
    likelihood = OptimalGaussian()((6,)).double()
    likelihood.fit_residuals((x - mean).flatten(1).split(4))
    likelihood.eval()
    best = likelihood(x, mean).sum()
    sigma = math.exp(likelihood.log_variance.item() / 2)
    assert best == pytest.approx(Gaussian(sigma)((6,))(x, mean).sum().item())
    assert all(Gaussian(factor * sigma)((6,))(x, mean).sum() < best for factor in (0.9, 1.1))


@pytest.mark.parametrize("rank", [None, 3])
def test_the_correlated_gaussian_is_the_normal_density_of_its_covariance(rank):
    rng = np.random.default_rng(0)
    residual = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 0.3
    likelihood = CorrelatedGaussian(rank, ridge=0.2)((1, 2, 3)).double().eval()
    likelihood.fit_residuals(torch.from_numpy(residual).split(64))
    mean, covariance = residual.mean(0), np.cov(residual.T, bias=True)
    eigenvalue, axes = np.linalg.eigh(covariance)
    if rank:
        eigenvalue[:-rank] = eigenvalue[:-rank].mean()
    eigenvalue += 0.2 * np.trace(covariance) / 6
    sigma = axes @ np.diag(eigenvalue) @ axes.T
    x, output = pairs((1, 2, 3))
    expected = multivariate_normal(mean, sigma).logpdf((x - output).flatten(1))
    np.testing.assert_allclose(likelihood(x, output), expected)
    np.testing.assert_allclose((likelihood.mean(output) - output).flatten(1), np.broadcast_to(mean, (5, 6)))


def test_the_correlated_gaussian_needs_fewer_samples_than_values():
    likelihood = CorrelatedGaussian()((50,)).double().eval()
    likelihood.fit_residuals([torch.randn(7, 50, dtype=torch.float64)])
    x, output = pairs((50,))
    assert torch.isfinite(likelihood(x, output)).all()


def test_bernoulli_sums_to_one_over_all_binary_images():
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).reshape(16, 1, 2, 2)
    logit = torch.randn(1, 1, 2, 2).expand(16, -1, -1, -1)
    assert Bernoulli()((1, 2, 2))(images, logit).exp().sum().item() == pytest.approx(1, abs=1e-5)


class Line:
    """x = w z + N(0, s²), whose evidence and posterior are known: p(x) = N(0, w² + s²)."""

    w, s = 2.0, 0.5
    x = torch.linspace(-3, 3, 9, dtype=torch.float64)[:, None]
    posterior = Normal(w * x / (w**2 + s**2), torch.full_like(x, s / math.sqrt(w**2 + s**2)))
    evidence = Normal(0.0, math.sqrt(w**2 + s**2)).log_prob(x)[:, 0]

    @classmethod
    def score(cls, scoring, q, samples=20_000):
        noise = torch.randn(samples, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        z = q.loc + q.scale * noise
        return scoring(lambda z: Normal(cls.w * z, cls.s).log_prob(cls.x)[..., 0], z, q, StandardNormal()(0, 1))


def test_at_the_true_posterior_both_bounds_are_the_evidence():
    torch.testing.assert_close(Line.score(IWAE(), Line.posterior, samples=3), Line.evidence)
    torch.testing.assert_close(Line.score(ELBO(), Line.posterior), Line.evidence, atol=0.02, rtol=0)


@pytest.mark.parametrize("width", [0.3, 1.0, 2.0])
def test_the_elbo_is_the_evidence_less_the_divergence_from_the_true_posterior(width):
    q = Normal(Line.posterior.loc, width * Line.posterior.scale)
    expected = Line.evidence - torch.distributions.kl_divergence(q, Line.posterior)[:, 0]
    torch.testing.assert_close(Line.score(ELBO(), q), expected, atol=0.1, rtol=0)


def test_elsewhere_the_importance_weighted_bound_lies_between_the_elbo_and_the_evidence():
    q = Normal(Line.posterior.loc + 0.2, 1.5 * Line.posterior.scale)
    elbo, iwae = Line.score(ELBO(), q), Line.score(IWAE(), q)
    assert (elbo < iwae - 0.1).all()
    torch.testing.assert_close(iwae, Line.evidence, atol=0.02, rtol=0)


def test_the_reconstruction_term_less_the_divergence_is_the_elbo():
    q = Normal(Line.posterior.loc + 0.2, 1.5 * Line.posterior.scale)
    divergence = torch.distributions.kl_divergence(q, Normal(0.0, 1.0))[:, 0]
    expected = Line.score(Reconstruction(), q) - divergence
    torch.testing.assert_close(Line.score(ELBO(), q), expected, atol=0.05, rtol=0)


class MeanLatent(Score):
    def __call__(self, log_px_z, z, q, p):
        return z.mean(0).sum(-1)


def test_what_is_linear_in_the_latents_cancels_in_pairs():
    X = normals((6,), n=64)
    vae = VAE(latent=3, width=2, epochs=2, scoring=MeanLatent(4)).fit(X)
    with torch.inference_mode():
        loc = vae.encode(vae.cast(torch.from_numpy(X))).loc.sum(-1)
    np.testing.assert_allclose(vae.score_samples(X), loc, atol=1e-5)
    vae.set_params(scoring=MeanLatent(1))
    assert np.abs(vae.score_samples(X) - loc.numpy()).min() > 1e-3


def test_two_pairs_rank_as_many_samples_do():
    X = normals((1, 8, 8), n=256)
    vae = VAE(latent=4, width=4, epochs=20).fit(X)
    many = vae.set_params(scoring=Reconstruction(512)).score_samples(X)
    assert spearmanr(vae.set_params(scoring=Reconstruction(4)).score_samples(X), many).statistic > 0.98


def test_the_density_of_latents_decodes_nothing():
    X = normals((6,), n=64)
    vae = VAE(latent=3, width=2, epochs=1, scoring=LatentDensity()).fit(X)
    expected = vae.score_samples(X)
    vae.net_.decoder = None
    np.testing.assert_array_equal(vae.score_samples(X), expected)


def test_the_divergence_is_that_of_a_gaussian_from_the_standard_one():
    posterior = DiagonalGaussian()(3, 2)
    q = posterior(2 * pairs((6,))[0])
    z, divergence = posterior.divergence(q)
    assert z.shape == (5, 3)
    expected = (q.loc.square() + q.scale.square() - 1 - 2 * q.scale.log()).sum(1) / 2
    torch.testing.assert_close(divergence, expected)


def test_the_loss_is_the_divergence_less_the_likelihood_at_a_latent_that_is_drawn():
    X = normals((6,), n=16)
    net, x = VAE(latent=3, width=2, epochs=1).fit(X).net_, torch.from_numpy(X).double()
    with torch.no_grad():
        with seeded(5):
            loss = net.negative_elbo(x)
        with seeded(5):
            z, divergence = net.approximation.divergence(net.posterior(x))
        assert divergence.mean() > 1e-3
        torch.testing.assert_close(loss, (divergence - net.log_likelihood(x, z)).mean())


def test_exemplars_are_a_mixture_that_integrates_to_one():
    prior = Exemplars()(30, 1).double()
    means = torch.randn(30, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    prior.fit_posteriors([Normal(means, torch.full_like(means, 0.3))])
    grid = torch.linspace(-15, 15, 20_001, dtype=torch.float64)
    assert torch.trapezoid(prior.log_prob(grid[:, None]).exp(), grid).item() == pytest.approx(1, abs=1e-6)
    sigma = prior.variance.sqrt().item()
    expected = np.log(norm.pdf(0.7, means.numpy(), sigma).mean())
    assert prior.log_prob(torch.tensor([[0.7]], dtype=torch.float64)).item() == pytest.approx(expected)


def test_the_bandwidth_of_exemplars_is_about_that_of_the_data():
    prior = Exemplars()(2000, 1)
    means = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    prior.fit_posteriors([Normal(means, torch.full_like(means, 5.0))])
    assert prior.variance.sqrt().item() < 1  # the posteriors' own 5 would blur everything


def test_the_bandwidth_of_exemplars_suits_latents_that_they_have_not_seen():
    generator = torch.Generator().manual_seed(0)
    means, fresh = (torch.randn(n, 2, generator=generator) for n in (100, 2000))
    prior = Exemplars()(100, 2)
    prior.fit_posteriors([Normal(means, torch.ones_like(means))])
    chosen = prior.log_prob(fresh).mean().item()
    prior.variance.fill_(prior.bandwidths[0])  # that of exemplars which may explain themselves
    assert chosen > prior.log_prob(fresh).mean().item() + 0.2


GAUSSIANS = [Gaussian(0.1), LearntGaussian(), OptimalGaussian(), CorrelatedGaussian(), CorrelatedGaussian(4)]


@pytest.mark.parametrize("likelihood", [*GAUSSIANS, Bernoulli()], ids=repr)
@pytest.mark.parametrize("prior", [StandardNormal(), Exemplars()], ids=repr)
def test_every_likelihood_learns_to_prefer_what_it_was_trained_on(likelihood, prior):
    X = normals((1, 8, 8), n=256)
    odd = 1 - X[:64]
    detector = VAE(latent=4, width=8, epochs=30, learning_rate=3e-3, likelihood=likelihood, prior=prior).fit(X[64:])
    for scoring in (Reconstruction(), ELBO(), IWAE()):
        detector.set_params(scoring=scoring)
        normal, anomalous = detector.score_samples(X[:64]), detector.score_samples(odd)
        assert np.mean(normal[:, None] > anomalous) > 0.9
    assert detector.generate(3).shape == (3, 1, 8, 8)
    assert detector.reconstruct(X[:3]).shape == (3, 1, 8, 8)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (lambda: Gaussian(-1), "sigma is -1, expected a number above 0"),
        (lambda: CorrelatedGaussian(rank=0), "rank is 0, expected"),
        (lambda: CorrelatedGaussian(ridge=0), "ridge is 0, expected"),
        (lambda: ELBO(0), "samples is 0, expected an integer at least 1"),
    ],
)
def test_a_parameter_out_of_bounds_is_named(part, message):
    with pytest.raises(ValueError, match=message):
        part()


def test_a_linear_vae_spans_the_principal_subspace():
    class Linear(VAE):
        def build(self, shape):
            net = super().build(shape)
            net.encoder = torch.nn.Linear(*shape, 2 * self.latent)
            net.decoder = torch.nn.Linear(self.latent, *shape)
            return net

    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    X = rng.normal(size=(1024, 6)) * [3, 2, 0.3, 0.3, 0.2, 0.1] @ rotation.T
    X = (X - X.mean(0)) / X.std(0)  # as the VAE sees them
    fitted = Linear(latent=2, epochs=40, batch_size=64, learning_rate=2e-2, likelihood=Gaussian(0.5)).fit(X)
    learnt = np.linalg.qr(fitted.net_.decoder.weight.detach().numpy())[0]
    principal = np.linalg.svd(X)[2][:2]
    cosines = np.linalg.svd(principal @ learnt)[1]  # of the angles between the two planes
    assert cosines.min() > 0.99


UNITS = {"images": (1, 8, 8), "colour": (3, 6, 9), "volumes": (1, 6, 6, 6), "vectors": (6,)}


def pair(shape, factor, offset, **parameters):
    """Return a VAE and one of the same samples in another unit, with the samples."""
    X = np.round(normals(shape, n=96) * 256).astype(np.float32) / 256  # exact in both units
    scaled = (X * factor + offset).astype(np.float32)
    small = {"latent": 2, "width": 2, "epochs": 2, "batch_size": 32}
    one, other = (VAE(**small | parameters).fit(x[:64]) for x in (X, scaled))
    return one, other, X, scaled


@pytest.mark.parametrize("likelihood", GAUSSIANS, ids=repr)
@pytest.mark.parametrize("shape", UNITS.values(), ids=UNITS)
def test_in_another_unit_the_density_is_that_of_the_unit_and_nothing_else_changes(shape, likelihood):
    one, other, X, scaled = pair(shape, 1024, -512, likelihood=likelihood)
    for scoring in (Reconstruction(), ELBO(), IWAE()):
        expected, found = (vae.set_params(scoring=scoring).score_samples(x) for vae, x in ((one, X), (other, scaled)))
        np.testing.assert_allclose(found + math.prod(shape) * math.log(1024), expected, rtol=1e-4, atol=0.02)
    expected, found = (
        vae.set_params(scoring=LatentDensity()).score_samples(x) for vae, x in ((one, X), (other, scaled))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(other.generate(3), one.generate(3) * 1024 - 512, atol=1)
    np.testing.assert_allclose(other.reconstruct(scaled), one.reconstruct(X) * 1024 - 512, atol=1)


@pytest.mark.parametrize("wrapper", [SAP, NAP, LikelihoodRegret, PathStatistics, GradientNorm])
def test_what_is_made_of_a_vae_knows_no_unit(wrapper):
    one, other, X, scaled = pair((1, 8, 8), 1024, -512)
    expected, found = (wrapper(vae).fit(x[:64]).score_samples(x[64:]) for vae, x in ((one, X), (other, scaled)))
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=1e-2)


def test_features_in_units_of_their_own_do_not_change_the_order():
    X = np.random.default_rng(0).normal(size=(96, 4))
    factors = np.array([1e-2, 1.0, 1e3, 1.0])  # whose logarithms do not cancel
    one, other = (VAE(latent=2, width=2, epochs=2).fit(x[:64]).score_samples(x) for x in (X, X * factors))
    np.testing.assert_allclose(other + np.log(factors).sum(), one, rtol=1e-3)


def test_what_never_varies_is_no_obstacle():
    constant = np.random.default_rng(0).normal(size=(64, 4))
    constant[:, 1] = 7
    for X in (constant, np.full((64, 1, 8, 8), 40.0)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            detector = VAE(latent=2, width=2, epochs=1).fit(X)
            assert np.isfinite(detector.score_samples(X)).all()


@pytest.mark.parametrize("shape", [(1, 8, 8), (6,)])
def test_a_mask_is_as_likely_whatever_its_two_values_are(shape):
    masks = (normals(shape, n=64) > 0.5).astype(np.float32)
    vae = VAE(latent=2, width=2, epochs=2, likelihood=Bernoulli())
    expected = clone(vae).fit(masks).score_samples(masks)
    assert (expected < 0).all()
    bytes_ = (255 * masks).astype(np.uint8)
    fitted = clone(vae).fit(bytes_)
    np.testing.assert_allclose(fitted.score_samples(bytes_), expected, rtol=1e-5)
    made = fitted.generate(4)
    assert made.max() > 1
    assert made.max() <= 255


@pytest.mark.parametrize("scoring", [Reconstruction(), ELBO(), IWAE(samples=4)], ids=repr)
def test_values_that_no_mask_has_are_never_more_likely_than_certain(scoring):
    masks = (normals((1, 8, 8), n=64) > 0.5).astype(np.float32)
    fitted = VAE(latent=2, width=4, epochs=20, likelihood=Bernoulli(), scoring=scoring).fit(masks)
    assert (fitted.score_samples(np.concatenate([10 * masks, masks + 3, masks - 3])) <= 0).all()


def test_given_its_latents_the_probabilities_of_all_masks_sum_to_one():
    masks = 255.0 * np.array(list(itertools.product([0, 1], repeat=6)))
    vae = VAE(latent=2, width=2, epochs=2, likelihood=Bernoulli()).fit(masks)
    log_p = vae.log_likelihood(torch.from_numpy(masks), vae.draw(1).expand(64, -1))
    assert log_p.exp().sum().item() == pytest.approx(1)


def test_the_mean_of_correlated_residuals_is_in_what_is_reconstructed():
    X = normals((1, 8, 8), n=128)
    fitted = VAE(latent=2, width=2, epochs=1, likelihood=CorrelatedGaussian()).fit(X)  # too short to learn the mean
    missed = (X - fitted.reconstruct(X)).mean(0)
    offset = fitted.net_.likelihood.offset.view(1, 8, 8).numpy() * fitted.scale_[0]
    assert np.abs(offset).max() > 0.05
    assert np.abs(missed).max() < 0.2 * np.abs(missed + offset).max()
    made = fitted.generate(500).mean(0)
    assert np.abs(made - X.mean(0)).mean() < 0.5 * np.abs(made - offset - X.mean(0)).mean()
