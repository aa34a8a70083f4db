"""NADE and RNADE are what their definitions say, and what they draw has the density that they give."""

import itertools
import math

import numpy as np
import pytest
import torch

from tiny import normals
from unlikelihood import NADE, RNADE, Binary, GaussianMixture, LogisticMixture, load
from unlikelihood.nn.nade import RectifiedUnits, SigmoidUnits

SHAPES = [(4,), (1, 2, 2), (2, 1, 2), (1, 2, 1, 2)]


def shaken(detector, scale=1.0):
    """Return the fitted detector with random weights in float64."""
    with torch.no_grad():
        for parameter in detector.net_.parameters():
            parameter.normal_(0, scale)
    detector.net_.double()
    return detector


def every(shape):
    """Return all binary samples of a shape."""
    values = list(itertools.product([0.0, 1.0], repeat=math.prod(shape)))
    return np.array(values, np.float32).reshape(-1, *shape)


def binary(shape, **parameters):
    """Return a detector of binary samples with random weights, and all samples that there are."""
    images = every(shape)
    seen = images[np.random.default_rng(0).choice(len(images), 64)]
    return shaken(NADE(epochs=1, **parameters).fit(seen)), images


def sigmoid(a):
    return 1 / (1 + math.exp(-a))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nade_is_the_product_of_its_conditionals_and_sums_to_one(shape):
    nade, images = binary(shape, hidden=3)
    net = {name: value.detach().numpy() for name, value in nade.net_.network.named_parameters()}
    W, c, V, b = (net[name] for name in ("weight", "offset", "readout", "bias"))
    expected = []
    for x in images.reshape(len(images), -1):
        log_p = 0.0
        for i in range(len(x)):
            a = [c[k] + sum(W[j, k] * x[j] for j in range(i)) for k in range(3)]
            p = sigmoid(b[i, 0] + sum(V[i, k, 0] * sigmoid(a[k]) for k in range(3)))
            log_p += math.log(p if x[i] == 1 else 1 - p)
        expected.append(log_p)
    np.testing.assert_allclose(nade.score_samples(images), expected, rtol=1e-9)
    assert np.exp(expected).sum() == pytest.approx(1, abs=1e-9)
    assert np.ptp(expected) > 1


def test_rnade_is_the_product_of_its_conditionals():
    X = np.random.default_rng(0).normal(3, 2, (32, 3))
    rnade = shaken(RNADE(GaussianMixture(2), hidden=3, epochs=1).fit(X), 0.5)
    net = {name: value.detach().numpy() for name, value in rnade.net_.network.named_parameters()}
    W, c, V, b, rho = (net[name] for name in ("weight", "offset", "readout", "bias", "factor"))
    for x, score in zip(X, rnade.score_samples(X), strict=True):
        y = (x - X.mean(0)) / X.std(0)
        p = 1.0
        for i in range(3):
            h = np.maximum(0, rho[i] * (c + y[:i] @ W[:i]))
            weight, mean, log_scale = np.split(b[i] + h @ V[i], 3)
            weight, mean = np.exp(weight) / np.exp(weight).sum(), mean + np.array([-1, 1]) / 3  # spread out at first
            gauss = np.exp(-(((y[i] - mean) / np.exp(log_scale)) ** 2) / 2) / np.exp(log_scale) / math.sqrt(2 * math.pi)
            p *= (weight * gauss).sum() / X.std(0)[i]
        assert score == pytest.approx(math.log(p), abs=1e-4)


def plane(low, high, n):
    """Return the points of a grid over a square, (n², 2), and the area of each."""
    axis = low + (np.arange(n) + 0.5) * (high - low) / n
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2), ((high - low) / n) ** 2


@pytest.mark.parametrize("features", [1, 2])
def test_rnade_integrates_to_one(features):
    X = 5 + np.random.default_rng(0).normal(size=(64, features))
    rnade = shaken(RNADE(GaussianMixture(3), hidden=4, epochs=1, batch_size=8192).fit(X), 0.4)
    points, area = plane(-15, 25, 500)
    if features == 1:
        points, area = np.unique(points[:, :1], axis=0), math.sqrt(area)
    assert (np.exp(rnade.score_samples(points)) * area).sum() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kind", [SigmoidUnits, RectifiedUnits])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 2), (1, 2, 3, 2)], ids=str)
def test_going_through_the_values_in_order_gives_the_numbers_of_one_pass(kind, shape):
    net = kind(shape, 2, 3).double()
    x = torch.randn(3, *shape, dtype=torch.float64)
    y = torch.randn_like(x)  # what is not filled yet must not matter
    expected = net(x).flatten(1, -2)
    for index, (value, theta) in enumerate(net.in_order(y)):
        value.copy_(x.flatten(1)[:, index])
        torch.testing.assert_close(theta, expected[:, index])
    torch.testing.assert_close(y, x)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_binary_samples_are_drawn_as_often_as_their_probability_says(shape):
    detector, images = binary(shape, hidden=3, batch_size=8192)
    drawn = detector.generate(20_000)
    assert set(np.unique(drawn)) <= {0.0, 1.0}
    code = 2.0 ** np.arange(math.prod(shape))[::-1]
    share = np.bincount((drawn.reshape(len(drawn), -1) @ code).astype(int), minlength=len(images)) / len(drawn)
    # Sixteen shares of 20,000 draws are together less than 0.03 off.
    assert np.abs(share - np.exp(detector.score_samples(images))).sum() / 2 < 0.04


def test_rnade_draws_where_its_density_is():
    X = np.random.default_rng(0).normal(size=(64, 2))
    rnade = shaken(RNADE(GaussianMixture(3), hidden=4, epochs=1, batch_size=8192).fit(X), 0.5)
    drawn = rnade.generate(20_000)
    points, area = plane(-20, 20, 400)
    p = np.exp(rnade.score_samples(points)) * area
    log_p = np.log(p / area)
    spread = math.sqrt((p * log_p**2).sum() - (p * log_p).sum() ** 2)
    # E[log p] under its own density is minus the entropy: six standard errors.
    assert rnade.score_samples(drawn).mean() == pytest.approx((p * log_p).sum(), abs=6 * spread / math.sqrt(20_000))
    for quadrant in itertools.product([-1, 1], repeat=2):
        middle = np.median(drawn, axis=0)
        inside, drawn_inside = (((each - middle) * quadrant > 0).all(1) for each in (points, drawn))
        assert drawn_inside.mean() == pytest.approx(p[inside].sum(), abs=0.03)


@pytest.mark.parametrize("conditional", [LogisticMixture(3, levels=5), GaussianMixture(3), Binary()], ids=repr)
def test_quantiles_are_draws_of_a_conditional(conditional):
    theta = torch.randn(conditional.n_params, dtype=torch.float64)
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    drawn = conditional.quantile(u, theta.expand(len(u), -1))
    assert (drawn.diff() >= 0).all()
    if conditional.levels is None:
        grid = torch.linspace(-60, 60, 400_001, dtype=torch.float64)
        density = conditional(grid, theta.expand(len(grid), -1)).exp()
        mean = torch.trapezoid(grid * density, grid)
        assert drawn.mean().item() == pytest.approx(mean.item(), abs=1e-3)
        return
    for level in torch.linspace(-1, 1, conditional.levels, dtype=torch.float64):
        p = conditional(level[None], theta[None]).exp().item()
        assert (drawn - level).abs().lt(1e-9).double().mean().item() == pytest.approx(p, abs=1e-4)


@pytest.mark.parametrize("detector", [NADE(hidden=16), RNADE(hidden=16), NADE(LogisticMixture(2), 8)], ids=repr)
def test_what_was_trained_on_is_more_likely_than_what_was_not(detector):
    X = normals((1, 8, 8), n=192)
    odd = np.roll(X[:64], 4, axis=3)
    fitted = detector.set_params(epochs=60, batch_size=64, learning_rate=0.03).fit(X[64:])
    normal, anomalous = fitted.score_samples(X[:64]), fitted.score_samples(odd)
    assert np.mean(normal[:, None] > anomalous) > 0.8


@pytest.mark.parametrize("detector", [NADE(hidden=4, epochs=1), RNADE(hidden=4, epochs=1)], ids=repr)
def test_a_model_file_draws_the_same_samples_in_the_datas_unit(detector, tmp_path):
    X = 500 + 1000 * normals((1, 4, 5))
    fitted = detector.fit(X)
    drawn = fitted.generate(40)
    np.testing.assert_array_equal(load(fitted.save(tmp_path / "model")).generate(40), drawn)
    assert 400 < np.median(drawn) < 1600
