"""Patches of other samples, blended into samples."""

import pytest
import torch

from unlikelihood import (
    Affine,
    AnyBlend,
    AnyPatch,
    Box,
    Cloud,
    Elastic,
    Ellipsoid,
    Elsewhere,
    Features,
    Interpolate,
    Seamless,
    Sometimes,
)
from unlikelihood.nn.augment import any_of
from unlikelihood.nn.blends import membrane, neighbours
from unlikelihood.nn.noise import drawing_from

PATCHES = [Ellipsoid(), Box(), Cloud(), AnyPatch()]
BLENDS = [Interpolate(), Seamless(), AnyBlend()]
SHAPES = [(6, 1, 12, 12), (6, 2, 9, 20), (6, 1, 8, 9, 10)]


def ramp(space, slope=0.1):
    """A volume or image that rises along all its axes."""
    return slope * sum(torch.meshgrid([torch.arange(float(n)) for n in space], indexing="ij"))


@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_patch_weighs_one_place_of_each_sample(shape, patch):
    weight = patch(torch.rand(200, *shape[1:]))
    assert weight.shape == (200, 1, *shape[2:])
    assert weight.min() == 0
    assert 0.9 < weight.max() <= 1
    covered = (weight > 0).flatten(1).float().mean(1)
    assert (covered > 0).float().mean() > 0.95
    assert covered.median() < 0.4
    assert (weight[0] - weight[1]).abs().max() > 0.01


@pytest.mark.parametrize("lump", [Ellipsoid, Box])
def test_a_patch_is_as_large_as_it_says_along_every_axis(lump):
    x = torch.rand(1000, 1, 32, 32)
    reached = (lump(smallest=0.3, largest=0.5, thinner=1.0)(x)[:, 0] > 0).any(2).sum(1)
    diagonal = 2**0.5 if lump is Box else 1  # of a box turned by 45 degrees
    assert reached.max() <= 0.5 * 32 * diagonal + 1
    assert (reached >= 0.3 * 32 - 2).float().mean() > 0.5  # others are cut by the border


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_weight_is_no_change_and_outside_the_patch_nothing_changes(shape, blend):
    x, other = torch.rand(shape), torch.rand(shape)
    assert torch.equal(blend(x, other, torch.zeros(shape[0], 1, *shape[2:])), x)
    weight = AnyPatch()(x)
    changed = blend(x, other, weight)
    outside = (weight == 0).expand(shape)
    assert torch.equal(changed[outside], x[outside])
    assert (changed - x)[~outside].abs().max() > 0.01
    torch.testing.assert_close(blend(x, x, weight), x)


def test_interpolation_by_all_of_the_weight_is_the_other_sample():
    x, other = torch.rand(3, 2, 5, 6), torch.rand(3, 2, 5, 6)
    torch.testing.assert_close(Interpolate()(x, other, torch.ones(3, 1, 5, 6)), other)
    x, other = torch.rand(4, 7), torch.rand(4, 7)
    chosen = Features()(x)
    assert torch.equal(Interpolate()(x, other, chosen), torch.where(chosen > 0, other, x))


@pytest.mark.parametrize("space", [(16, 16), (12, 20), (9, 10, 11)])
def test_what_differs_by_a_plane_alone_is_blended_in_without_a_trace(space):
    x = torch.rand(8, 1, *space)
    # The border has no neighbours on one side, so that a plane is not harmonic there.
    middle = (..., *[slice(1, -1)] * len(space))
    inside = torch.zeros_like(x)
    inside[middle] = Box(smallest=0.2, largest=0.4)(x)[middle]
    torch.testing.assert_close(Seamless()(x, x + 5, inside), x, atol=1e-4, rtol=0)
    torch.testing.assert_close(Seamless(iterations=200)(x, x + ramp(space), inside), x, atol=1e-3, rtol=0)
    plane = ramp(space).expand_as(x)
    assert (Seamless()(x, x + plane, inside) - x).abs().max() < 0.1 * (plane * inside).abs().max()


@pytest.mark.parametrize("shape", [(2, 1, 10, 12), (2, 2, 6, 7, 8)])
def test_the_membrane_solves_laplaces_equation(shape):
    d = torch.rand(shape, dtype=torch.float64)
    inside = torch.zeros(shape[0], 1, *shape[2:], dtype=torch.bool)
    inside[:, :, *[slice(1, -2)] * (len(shape) - 2)] = True
    h = membrane(d, inside, iterations=300)
    everywhere = inside.expand_as(h)
    assert torch.equal(h[~everywhere], d[~everywhere])
    torch.testing.assert_close(h[everywhere], neighbours(h)[everywhere], atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(300, 1, 1, 5), (300, 2, 3, 4), (300, 1, 3, 2, 4)])
def test_elsewhere_keeps_values_and_neighbours_and_moves_channels_together(shape):
    x = torch.arange(float(torch.tensor(shape[2:]).prod())).view(1, 1, *shape[2:]).expand(shape)
    moved = Elsewhere()(x)
    assert set(moved.unique().tolist()) <= set(x.unique().tolist())
    assert torch.equal(moved[:, 0], moved[:, -1])
    assert len(moved[:, 0].flatten(1).unique(dim=0)) > shape[-1]
    assert (moved.diff(dim=-1).abs() <= 1).all()


def test_sometimes_changes_its_share_of_the_samples():
    x = torch.rand(400, 1, 4, 5)
    changed = (Sometimes(Elsewhere(), 0.25)(x) != x).flatten(1).any(1)
    assert 0.15 < changed.float().mean() < 0.35
    assert torch.equal(Sometimes(Affine(), 0.0)(x), x)


@pytest.mark.parametrize("draw", [AnyPatch(), Elsewhere(), Sometimes(Elastic()), AnyBlend()])
def test_what_is_drawn_follows_from_the_generator(draw):
    x, other = torch.rand(9, 1, 8, 8), torch.rand(9, 1, 8, 8)
    arguments = (x, other, Ellipsoid()(x)) if isinstance(draw, AnyBlend) else (x,)
    made = []
    for _ in range(2):
        with drawing_from(torch.Generator().manual_seed(3)):
            made.append(draw(*arguments))
    assert torch.equal(*made)


def test_vectors_and_bounds_are_refused_by_name():
    with pytest.raises(ValueError, match=r"Box changes images .* not samples of shape \(6,\)"):
        Box()(torch.rand(3, 6))
    with pytest.raises(ValueError, match=r"Seamless changes images .* not samples of shape \(6,\)"):
        Seamless()(*torch.rand(3, 3, 6))
    with pytest.raises(ValueError, match="Cloud: ragged is -1, expected a number at least 0"):
        Cloud(ragged=-1)


def test_one_part_makes_each_sample_and_all_parts_are_used():
    x = torch.arange(300.0)[:, None]
    made = any_of([lambda x: x, lambda x: -x, lambda x: x + 1000], x)
    assert ((made == x) | (made == -x) | (made == x + 1000)).all()
    assert all(50 < int(count) < 150 for count in ((made == x).sum(), (made == -x).sum(), (made == x + 1000).sum()))


@pytest.mark.parametrize("most", [1, 4])
def test_there_are_as_many_patches_as_are_allowed(most):
    tiny = Ellipsoid(smallest=0.01, largest=0.02, thinner=1.0)  # a few pixels each
    weight = AnyPatch((tiny,), most)(torch.rand(500, 1, 40, 40))
    covered = (weight > 0).flatten(1).sum(1)
    assert covered.max() > 2 * most
    assert covered.max() <= 12 * most
