"""Real NVP: squeezes, channel masks and what is factored out, for any number of spatial axes; and samples of flows."""

import itertools
import math

import numpy as np
import pytest
import torch

from tiny import normals
from unlikelihood import AffineAutoregressive, AffineCoupling, Flow, Multiscale, SplineCoupling, load
from unlikelihood.nn.flows import NormalisingFlow
from unlikelihood.nn.levels import Standardised
from unlikelihood.nn.masks import squeeze

SHAPES = [(5,), (1,), (1, 8), (3, 6), (1, 4, 4), (2, 4, 3), (1, 5, 3), (3, 2, 2), (1, 4, 2, 4), (2, 3, 2, 2)]
STEPS = [
    AffineCoupling(masks=Multiscale(1)),
    AffineCoupling(masks=Multiscale(2)),
    SplineCoupling(4, masks=Multiscale(1)),
]


def network(step, shape, steps=7):
    """Return a flow with random weights in float64."""
    standardised = Standardised(torch.randn(shape[0]).double(), torch.rand(shape[0]).double() + 0.5)
    net = NormalisingFlow([step(shape, index, 2) for index in range(steps)], None, standardised)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.2)
    return net.double()


@pytest.mark.parametrize("step", STEPS, ids=repr)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_density_is_that_of_autograds_jacobian_and_the_inverse_recovers_the_samples(step, shape):
    net = network(step, shape)
    x = torch.randn(2, *shape, dtype=torch.float64)

    def f(v):
        return net.transform(net.standardised(v.view(1, *shape))[0].flatten(1))[0]

    log_p = net.log_prob(x, torch.zeros_like(x))
    for sample, found in zip(x, log_p, strict=True):
        jacobian = torch.autograd.functional.jacobian(f, sample.flatten())
        base = torch.distributions.Normal(0.0, 1.0).log_prob(f(sample)).sum()
        torch.testing.assert_close(found, base + torch.linalg.slogdet(jacobian).logabsdet)
    z = torch.stack([f(sample) for sample in x])
    torch.testing.assert_close(net.inverse(z, shape), x)
    assert (z - net.standardised(x)[0].flatten(1)).abs().mean() > 0.01


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_coupling_moves_only_what_it_maps_and_by_what_it_keeps_alone(shape):
    for index in range(9):
        places, keeps = Multiscale(2)(shape, index)
        mapped, kept = places[~keeps], places[keeps]
        step = AffineCoupling(masks=Multiscale(2))(shape, index, 2)
        for parameter in step.parameters():
            torch.nn.init.normal_(parameter, 0, 0.5)
        with torch.no_grad():
            jacobian = torch.autograd.functional.jacobian(
                lambda v, step=step: step.double()()(v[None])[0], torch.randn(math.prod(shape), dtype=torch.float64)
            )
        moved = (jacobian - torch.eye(len(jacobian))).abs() > 0
        allowed = torch.zeros_like(moved)
        allowed[mapped[:, None], kept] = True
        allowed[mapped, mapped] = True
        assert not (moved & ~allowed).any()
        assert not len(kept) or moved[mapped].any(1).all()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 8, 8), (1, 8, 8, 8), (1, 16)], ids=str)
def test_scales_are_those_of_the_paper(shape):
    masks, axes, size = Multiscale(3), len(shape) - 1, math.prod(shape)
    channels, *space = shape
    index = 0
    while all(side % 2 == 0 for side in space):
        boards = [masks(shape, index + step) for step in range(3)]
        squeezed = [masks(shape, index + 3 + step) for step in range(3)]
        for places, keeps in boards:
            assert places.shape == (channels, *space)
            assert keeps.sum() * 2 == keeps.numel()
            for axis in range(1, axes + 1):
                assert (keeps != keeps.roll(1, axis)).all()  # neighbours differ
            assert (keeps == keeps[:1]).all()  # channels do not
        for places, keeps in squeezed:
            assert places.shape == (channels * 2**axes, *(side // 2 for side in space))
            assert (keeps.flatten(1).float().mean(1) % 1 == 0).all()  # a channel is kept or mapped as a whole
            assert keeps.sum() * 2 == keeps.numel()
            assert sorted(places.flatten()) == sorted(boards[0][0].flatten())
        for (_, before), (_, after) in itertools.chain(itertools.pairwise(boards), itertools.pairwise(squeezed)):
            assert (before != after).all()
        channels, space, index = channels * 2**axes // 2, [side // 2 for side in space], index + 6
        size //= 2
        places, _ = masks(shape, index)
        assert places.shape == (channels, *space)  # half of the values are factored out
        assert places.numel() == len(places.unique()) == size
    for step in range(4):
        assert masks(shape, index + step)[0].shape == (channels, *space)


def test_a_squeeze_moves_blocks_into_channels():
    image = torch.arange(32).view(2, 4, 4)
    squeezed = squeeze(image)
    for row, column, down, right in itertools.product(range(2), repeat=4):
        block = image[:, 2 * row + down, 2 * column + right]
        first = 2 * (2 * down + right)
        assert squeezed[first : first + 2, row, column].tolist() == block.tolist()


STEPS_OF_VECTORS = [AffineCoupling(masks=Multiscale()), AffineAutoregressive()]


@pytest.mark.parametrize("step", STEPS_OF_VECTORS, ids=repr)
def test_a_flow_draws_where_its_density_is_and_that_integrates_to_one(step):
    rng = np.random.default_rng(0)
    first = rng.normal(size=512)
    X = np.stack([first, first**2 / 2 + rng.normal(0, 0.5, 512)], 1)
    flow = Flow(step, steps=4, width=2, epochs=5, batch_size=512, levels=None).fit(X)
    drawn = flow.generate(20_000)
    axes = [np.linspace(-8, 8, 321), np.linspace(-8, 24, 641)]
    low = [(axis[1:] + axis[:-1]) / 2 for axis in axes]
    points = np.stack(np.meshgrid(*low, indexing="ij"), -1).reshape(-1, 2)
    p = np.exp(flow.set_params(batch_size=8192).score_samples(points)).reshape(320, 640) * 0.05**2
    assert p.sum() == pytest.approx(1, abs=0.01)
    # Cells of 0.5 x 0.5; the shares of 20,000 draws in about a hundred of them are together 0.03 off.
    cells = p.reshape(32, 10, 64, 10).sum((1, 3))
    share = np.histogram2d(*drawn.T, bins=[axis[::10] for axis in axes])[0] / len(drawn)
    assert np.abs(share - cells).sum() / 2 < 0.06


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 4, 4, 4)], ids=str)
def test_real_nvp_learns_and_draws_what_it_was_trained_on(shape):
    rng = np.random.default_rng(0)
    axes = tuple(range(1, len(shape) + 1))
    X = (
        5 + 2 * rng.normal(size=(320, *[1] * len(shape))) + rng.normal(0, 0.5, (320, *shape))
    )  # one brightness, and noise
    step = AffineCoupling(masks=Multiscale(1), slope=0.2)
    flow = Flow(step, steps=5, width=4, levels=None, epochs=12, batch_size=64, learning_rate=1e-2).fit(X[64:])
    brightness = flow.generate(400).mean(axes)
    assert brightness.mean() == pytest.approx(5, abs=0.5)
    independent = math.hypot(2, 0.5) / math.sqrt(math.prod(shape))
    assert 1.7 * independent < brightness.std() < 3
    noise = rng.normal(5, math.hypot(2, 0.5), (64, *shape))
    assert np.mean(flow.score_samples(X[:64])[:, None] > flow.score_samples(noise)) > 0.9


def test_a_model_file_holds_the_masks(tmp_path):
    X = normals((1, 8, 8))
    flow = Flow(AffineCoupling(masks=Multiscale(1)), steps=5, width=2, epochs=1).fit(X)
    again = load(flow.save(tmp_path / "model"))
    assert again.step == flow.step
    np.testing.assert_array_equal(again.score_samples(X), flow.score_samples(X))
    np.testing.assert_array_equal(again.generate(3), flow.generate(3))
