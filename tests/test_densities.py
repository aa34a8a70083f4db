"""What makes densities densities: Jacobians, inverses, order, and sums over everything that could be."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.base import clone

from tiny import normals
from unlikelihood import (
    ELBO,
    IWAE,
    VAE,
    AffineAutoregressive,
    AffineCoupling,
    Autoregressive,
    Binary,
    CosineSchedule,
    DenoisingErrors,
    Diffusion,
    EvenSchedule,
    Flow,
    GaussianMixture,
    Generator,
    InverseAutoregressive,
    LinearSchedule,
    LogisticMixture,
    Reconstructions,
    SplineCoupling,
    VariationalBound,
    load,
)
from unlikelihood.nn.causal import Causal
from unlikelihood.nn.diffusion import Diffuser, log_level
from unlikelihood.nn.levels import Levels, Standardised

STEPS = [AffineCoupling(), SplineCoupling(4), AffineAutoregressive(2)]
SMALLER = {"vectors": (5,), "one value": (1,), "images": (1, 4, 3), "colour": (2, 3, 4), "volumes": (1, 2, 3, 3)}


def shaken(net):
    """Return the network with random weights in float64, for flows begin as the identity."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.2)
    return net.double().eval()


@pytest.mark.parametrize("step", STEPS, ids=repr)
@pytest.mark.parametrize("shape", SMALLER.values(), ids=SMALLER)
def test_the_log_determinant_of_a_flow_is_that_of_its_jacobian(step, shape):
    flow = Flow(step=step, steps=4, width=3, levels=None, epochs=1).fit(normals(shape))
    net = shaken(flow.net_)
    x = torch.randn(3, math.prod(shape), dtype=torch.float64)
    z, log_det = net.transform.call_and_ladj(x)
    # Of the sum, for no sample depends on another.
    jacobian = torch.autograd.functional.jacobian(lambda x: net.transform(x).sum(0), x).transpose(0, 1)
    torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, log_det)
    assert (z - x).abs().mean() > 0.01


@pytest.mark.parametrize("step", STEPS, ids=repr)
@pytest.mark.parametrize("shape", SMALLER.values(), ids=SMALLER)
def test_a_flow_inverts(step, shape):
    X = torch.from_numpy(normals(shape, n=8))
    net = shaken(Flow(step=step, steps=4, width=3, levels=None, epochs=1).fit(X.numpy()).net_).float()
    z = net.transform(X.flatten(1))
    torch.testing.assert_close(net.transform(net.transform.inv(z)), z, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (3, 2, 2), (2, 2, 3, 2)], ids=str)
def test_standardised_samples_return_and_their_log_determinant_is_that_of_the_jacobian(shape):
    generator = torch.Generator().manual_seed(0)
    location, scale = torch.randn(2, shape[0], generator=generator, dtype=torch.float64)
    standardised = Standardised(location, scale.abs() + 2)
    x = torch.randn(1, *shape, generator=generator, dtype=torch.float64)
    y, log_det = standardised(x)
    torch.testing.assert_close(standardised.inverse(y), x)
    jacobian = torch.autograd.functional.jacobian(lambda v: standardised(v.view_as(x))[0].flatten(), x.flatten())
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian).logabsdet)
    assert log_det < -0.5


def test_levels_are_those_of_eight_bits_unless_the_data_are_not_within():
    assert Levels.of(256, (0.1, 0.9)) == Levels(256, 0, 1)
    assert Levels.of(256, (-1000.0, 400.0)) == Levels(256, -1000, 400)
    hounsfield = torch.tensor([-1000.0, 400.0, 5000.0])
    assert Levels.of(256, (-1000.0, 400.0)).index(hounsfield).tolist() == [0, 255, 255]
    assert Levels.of(256, (7.0, 7.0)).index(torch.tensor(7.0)) == 0


@pytest.mark.parametrize("levels", [2, 256])
def test_opened_levels_close_again_and_their_slope_is_that_of_the_map(levels):
    grey = Levels(levels, -1.0, 3.0)
    x = grey.restored(torch.arange(levels, dtype=torch.float64))[:, None]
    u = torch.full_like(x, 0.5)
    y, log_slope = grey.opened(x, u)
    torch.testing.assert_close(grey.closed(y), x)
    torch.testing.assert_close(grey.index(x)[:, 0], torch.arange(levels, dtype=torch.float64))
    ahead, behind = (grey.opened(x, u + small)[0][:, 0] for small in (1e-6, -1e-6))
    torch.testing.assert_close(((ahead - behind) / 2e-6).log(), log_slope)


def test_a_flow_over_levels_is_a_probability():
    images = np.array(list(itertools.product([0.0, 1.0], repeat=4)), np.float32).reshape(16, 1, 2, 2)
    rng = np.random.default_rng(0)
    seen = images[rng.choice(16, 200, p=rng.dirichlet(np.ones(16)))]
    flow = Flow(steps=2, width=4, levels=2, epochs=5, draws=200).fit(seen)
    # A dequantised level holds what falls within it, and some of the density falls outside of all of them.
    assert 0.7 < np.exp(flow.score_samples(images)).sum() < 1.02


def correlated():
    """Return vectors to train on, others, and the others' true log-densities."""
    rng = np.random.default_rng(0)
    mix = np.array([[1.0, 0.0], [1.8, 0.5]])
    X, unseen = (rng.normal(size=(n, 2)) @ mix.T + [3, -100] for n in (2048, 512))
    covariance = mix @ mix.T
    centred = unseen - [3, -100]
    true = -np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred) / 2
    true -= np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1] / 2
    return X, unseen, true


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_a_flow_learns_the_density_of_correlated_vectors(step):
    X, unseen, true = correlated()
    flow = Flow(step=step, steps=4, width=4, epochs=10, batch_size=256, learning_rate=1e-2).fit(X)
    scores = flow.score_samples(unseen)
    assert scores.mean() == pytest.approx(true.mean(), abs=0.1)


@pytest.mark.parametrize("shape", [(6,), (1, 9), (2, 7), (1, 5, 6), (3, 4, 5), (1, 4, 4, 5), (2, 3, 3, 4)], ids=str)
def test_no_output_of_a_causal_network_knows_its_value_or_a_later_one_but_every_earlier_one_in_reach(shape):
    net = Causal(shape, outputs=2, width=4, layers=6).double()
    x = torch.randn(1, *shape, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: net(v).sum((0, -1)), x)
    # In raster order, channels come last.
    axes = range(1, len(shape))
    outputs_first = jacobian.permute(*axes, 0, *(1 + len(shape) + axis for axis in axes), len(shape) + 1, len(shape))
    influence = outputs_first.reshape(math.prod(shape), math.prod(shape)).abs() > 0
    expected = torch.ones_like(influence).tril(-1)
    torch.testing.assert_close(influence, expected)


@pytest.mark.parametrize("conditional", [LogisticMixture(2, levels=2), Binary()], ids=repr)
@pytest.mark.parametrize("shape", [(4,), (1, 2, 2), (2, 2, 2), (1, 2, 2, 2)], ids=str)
def test_autoregressive_probabilities_of_all_images_sum_to_one(conditional, shape):
    n = math.prod(shape)
    images = np.array(list(itertools.product([0.0, 1.0], repeat=n)), np.float32).reshape(-1, *shape)
    seen = images[np.random.default_rng(0).choice(len(images), 100)]
    detector = Autoregressive(conditional, width=3, layers=2, epochs=2).fit(seen)
    shaken(detector.net_).float()
    detector._settle_precision()
    assert np.exp(detector.score_samples(images)).sum() == pytest.approx(1, abs=1e-5)


def test_a_logistic_mixture_of_256_levels_sums_to_one_even_where_it_is_narrow_or_far():
    x = torch.linspace(-1, 1, 256, dtype=torch.float64)
    for scale in (0.3, 5.0, 50.0):
        theta = scale * torch.randn(15, dtype=torch.float64)
        assert LogisticMixture()(x, theta.expand(256, -1)).exp().sum().item() == pytest.approx(1)


def test_a_gaussian_mixture_integrates_to_one():
    x = torch.linspace(-60, 60, 200_001, dtype=torch.float64)
    theta = torch.randn(9, dtype=torch.float64).expand(len(x), -1)
    assert torch.trapezoid(GaussianMixture(3)(x, theta).exp(), x).item() == pytest.approx(1, abs=1e-6)


def test_made_learns_the_density_of_correlated_vectors():
    X, unseen, true = correlated()
    scores = Autoregressive(width=4, epochs=10, batch_size=256, learning_rate=1e-2).fit(X).score_samples(unseen)
    assert scores.mean() == pytest.approx(true.mean(), abs=0.1)


def test_the_loss_of_a_density_is_its_bits_per_dimension():
    X = normals((6,), n=32)
    detector = Autoregressive(width=2, layers=2, epochs=1, learning_rate=1e-9).fit(X)
    bits = -detector.score_samples(X).mean() / (6 * math.log(2))
    assert detector.history_["bits per dimension"] == pytest.approx([bits], rel=1e-3)


class Exact(torch.nn.Module):
    """E[ε | z] where the data are a Gaussian with a standard deviation `s`, standardised to another."""

    def __init__(self, s):
        super().__init__()
        self.s = s

    def forward(self, z, where):
        snr = (13.3 - where * 23.3)[:, None]
        alpha_squared, variance = snr.sigmoid(), (-snr).sigmoid()
        return variance.sqrt() * z / (alpha_squared * self.s**2 + variance)


def bits_short(believed, spread, steps):
    """Return by how many bits per dimension the bound of a Gaussian's log-density is too low."""
    d = 4000  # as many dimensions of one kind, whose mean needs no second draw
    generator = torch.Generator().manual_seed(0)
    location, scale = torch.full((d,), 3.0).double(), torch.full((d,), 0.2).double()
    net = Diffuser(Exact(believed), CosineSchedule(), None, Standardised(location, scale))
    x = location + scale * spread * torch.randn(3, d, generator=generator, dtype=torch.float64)
    truth = torch.distributions.Normal(location, scale * spread).log_prob(x).mean(1)
    noise = torch.randn(steps + 1, d, generator=generator, dtype=torch.float64)
    return (truth - net.bound(x, noise) / d) / math.log(2)


@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
def test_the_bound_of_a_diffusion_that_knows_a_gaussian_is_its_log_density(spread):
    assert bits_short(spread, spread, VariationalBound().steps).abs().max() < 0.03


def test_the_bound_of_a_diffusion_that_knows_another_gaussian_is_lower():
    assert bits_short(0.5, 1.0, VariationalBound().steps).min() > 0.1
    assert bits_short(2.0, 1.0, VariationalBound().steps).min() > 0.1


def test_the_linear_schedules_rate_grows_evenly_from_a_tenth_to_twenty():
    t = torch.linspace(0, 1, 10_001, dtype=torch.float64, requires_grad=True)
    integral = torch.log1p((-LinearSchedule()(t)).exp())
    (beta,) = torch.autograd.grad(integral.sum(), t)
    torch.testing.assert_close(beta.detach(), 0.1 + 19.9 * t.detach(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("schedule", [CosineSchedule(), LinearSchedule(), EvenSchedule()], ids=repr)
def test_schedules_lead_from_the_sample_to_noise(schedule):
    snr = schedule(torch.linspace(0, 1, 101, dtype=torch.float64))
    assert (snr.diff() < 0).all()
    assert snr[0].item() == pytest.approx(13.3, abs=0.1)
    assert snr[-1].item() == pytest.approx(-10, abs=0.1)


def test_the_levels_that_a_gaussian_falls_on_sum_to_one():
    y = torch.linspace(-1, 1, 7, dtype=torch.float64)[:, None]
    for mean, scale in [(0.1, 0.3), (-0.9, 0.01), (1.4, 2.0), (0.0, 1e-3)]:
        p = log_level(y, torch.tensor(mean).double(), torch.tensor(scale).double(), 7).exp()
        assert p.sum().item() == pytest.approx(1)


def test_every_score_of_a_diffusion_learns_to_prefer_what_it_was_trained_on():
    X = normals((1, 8, 8), n=192)
    odd = np.roll(X[:64], 4, axis=3)
    detector = Diffusion(schedule=EvenSchedule(), width=4, epochs=60, batch_size=64, learning_rate=1e-2).fit(X[64:])
    for scoring in (DenoisingErrors(), Reconstructions(), VariationalBound(16)):
        detector.set_params(scoring=scoring)._finish(X[64:])
        normal, anomalous = detector.score_samples(X[:64]), detector.score_samples(odd)
        assert np.mean(normal[:, None] > anomalous) > 0.8


@pytest.mark.parametrize("scoring", [DenoisingErrors(2), VariationalBound(3)], ids=repr)
def test_every_level_beyond_the_ends_makes_a_value_less_likely_to_a_diffusion(scoring):
    detector = Diffusion(scoring, width=2, epochs=1).fit(normals((1, 4, 5)))
    highest = np.ones((1, 1, 4, 5), np.float32)
    at, beyond = (detector.score_samples(highest + by) for by in (0, 0.1))
    np.testing.assert_allclose(beyond, at - 20 * (0.1 * 255 - 0.5), rtol=1e-5)


def test_another_score_than_the_one_that_was_standardised_is_refused():
    detector = Diffusion(DenoisingErrors(2), width=2, epochs=1).fit(normals((6,)))
    with pytest.raises(ValueError, match=r"scoring is DenoisingErrors.*fit again"):
        detector.set_params(scoring=DenoisingErrors(3)).score_samples(normals((6,)))


@pytest.mark.parametrize("latent", [1, 4])
def test_the_density_of_an_inverse_autoregressive_posterior_is_that_of_its_samples(latent):
    q = shaken(InverseAutoregressive()(latent, 2))(torch.randn(5, 3 * latent, dtype=torch.float64))
    noise = torch.randn(3, 5, latent, dtype=torch.float64)
    z, log_q = q.drawn(noise)
    torch.testing.assert_close(q.log_prob(z)[..., 0], log_q)
    for sample in range(5):

        def of(epsilon, sample=sample):
            return q.drawn(epsilon.expand(5, -1))[0][sample]

        jacobian = torch.autograd.functional.jacobian(of, noise[0, sample])
        expected = torch.distributions.Normal(0.0, 1.0).log_prob(noise[0, sample]).sum()
        torch.testing.assert_close(log_q[0, sample], expected - torch.linalg.slogdet(jacobian).logabsdet)


def test_under_an_autoregressive_posterior_the_elbo_is_below_the_importance_weighted_bound():
    X = normals((1, 8, 8), n=192)
    detector = VAE(latent=3, width=4, epochs=20, learning_rate=3e-3, posterior=InverseAutoregressive()).fit(X[64:])
    scores = [detector.set_params(scoring=scoring).score_samples(X[:64]) for scoring in (ELBO(64), IWAE(64))]
    assert (scores[0] < scores[1]).mean() > 0.9
    odd = detector.score_samples(1 - X[:64])
    assert np.mean(scores[1][:, None] > odd) > 0.9


WITH_PARTS = [
    *(Flow(step=step, steps=2, width=2, epochs=1) for step in STEPS),
    *(Autoregressive(part, width=2, layers=2, epochs=1) for part in (Binary(), LogisticMixture(2), GaussianMixture(2))),
    Diffusion(VariationalBound(3), LinearSchedule(), width=2, epochs=1),
    Diffusion(Reconstructions(2, 2), levels=None, width=2, epochs=1),
    VAE(latent=2, width=2, epochs=1, scoring=IWAE(2), posterior=InverseAutoregressive()),
]


@pytest.mark.parametrize("detector", WITH_PARTS, ids=repr)
def test_a_model_file_holds_every_part(detector, tmp_path):
    X = normals((1, 4, 5))
    fitted = clone(detector).fit(X)
    again = load(fitted.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.score_samples(X), fitted.score_samples(X))
    assert np.ptp(fitted.score_samples(X)) > 0
    if isinstance(fitted, Generator):
        np.testing.assert_array_equal(again.generate(2), fitted.generate(2))


@pytest.mark.parametrize("detector", WITH_PARTS, ids=repr)
def test_networks_are_of_single_precision_whatever_torchs_default_is(detector):
    X = normals((1, 4, 5))
    try:
        torch.set_default_dtype(torch.float64)
        fitted = clone(detector).fit(X)
        assert np.isfinite(fitted.score_samples(X)).all()
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.float64 not in {tensor.dtype for tensor in fitted.net_.state_dict().values()}


def test_what_a_flow_generates_has_the_levels_range_and_decodes_from_what_it_encodes_to():
    X = normals((1, 6, 5))
    flow = Flow(steps=4, width=3, epochs=3).fit(X)
    made = flow.generate(5)
    assert made.shape == (5, 1, 6, 5)
    assert made.min() >= 0
    assert made.max() <= 1
    grey = np.round(X * 255).astype(np.float32) / 255
    opened, _ = flow.net_.levels.opened(torch.from_numpy(grey), torch.tensor(0.5))
    z = flow.net_.transform(flow.net_.standardised(opened)[0].flatten(1))
    torch.testing.assert_close(flow.decode(z), torch.from_numpy(grey), atol=1e-3, rtol=0)
