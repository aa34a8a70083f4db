"""Random changes of samples."""

import pytest
import torch
import torch.nn.functional as F

from unlikelihood import Affine, Blurred, Chain, Elastic, Flips, QuarterTurns, Reflections, Stroke, Swap, Tones
from unlikelihood.nn.augment import rotation
from unlikelihood.nn.spatial import places, resize

LINEAR = {2: "bilinear", 3: "trilinear"}
NOTHING = {"rotation": 0, "scale": 0, "shear": 0, "shift": 0}


@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (5, 3, 9, 16), (5, 1, 6, 7, 8)])
def test_no_change_is_no_change(shape):
    x = torch.rand(shape)
    torch.testing.assert_close(Affine(**NOTHING)(x), x, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("space", [(7, 9), (5, 6, 8), (1, 4)])
def test_places_and_sizes_are_those_of_torch(space):
    axes = len(space)
    theta, x = torch.randn(3, axes, axes + 1), torch.randn(3, 2, *[4] * axes)
    torch.testing.assert_close(places(theta, space), F.affine_grid(theta, [3, 1, *space], align_corners=False))
    torch.testing.assert_close(resize(x, space), F.interpolate(x, space, mode=LINEAR[axes], align_corners=True))


@pytest.mark.parametrize("shape", [(64, 2, 9, 16), (64, 2, 9, 9, 9)])
@pytest.mark.parametrize("change", ["rotation", "scale", "shear", "shift"])
def test_every_change_changes_every_sample_in_its_own_way(shape, change):
    x = torch.rand(1, *shape[1:]).expand(shape)
    changed = Affine(**NOTHING | {change: 0.2 if change != "rotation" else 20})(x)
    assert changed.shape == x.shape
    assert sum((one - x[0]).abs().max() > 1e-3 for one in changed) > 55  # a draw may be next to nothing
    assert (changed[0] - changed[1]).abs().max() > 1e-3


@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (5, 3, 9, 16), (5, 1, 6, 7, 8)])
def test_bends_of_no_strength_are_no_change(shape):
    x = torch.rand(shape)
    torch.testing.assert_close(Elastic(strength=0)(x), x, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(400, 1, 20, 40), (400, 1, 20, 20, 20)])
def test_bends_move_by_their_strength_each_place_of_each_sample_its_own_way(shape):
    axes = len(shape) - 2
    # A ramp along the last axis is displaced by as much as its values change.
    ramp = torch.linspace(0, 1, shape[-1]).expand(shape)
    middle = (slice(None), 0, *[slice(n // 4, -n // 4) for n in shape[2:]])
    moved = (Elastic(points=3, strength=0.05)(ramp) - ramp)[middle] * (shape[-1] - 1) / shape[-1]
    # At a point of the grid it is 0.05; between points the mean of neighbours is less.
    centre = (slice(None), *[n // 2 for n in moved.shape[1:]])
    assert 0.04 < moved[centre].std() < 0.055
    assert abs(moved[centre].mean()) < 0.01
    assert moved.flatten(1).std(1).min() > 0.001
    assert (moved.diff(dim=axes).abs() < 0.03).all()


@pytest.mark.parametrize("change", [Affine(), Elastic(), Stroke(), Blurred()])
@pytest.mark.parametrize("shape", [(5, 2, 9, 12), (5, 1, 6, 7, 8)])
def test_where_nothing_is_drawn_nothing_changes(shape, change):
    ground = torch.full(shape, 0.7)
    torch.testing.assert_close(change(ground), ground)


@pytest.mark.parametrize("axes", [2, 3])
def test_strokes_gain_and_lose_a_share_of_a_pixel_on_every_side(axes):
    x = torch.zeros(400, 1, *[9] * axes)
    x[:, :, *[slice(3, 6)] * axes] = 1  # a cube of side 3: 5 when dilated, 1 when eroded
    changed = Stroke(thinner=0.4, thicker=0.8)(x)
    gained = changed[:, 0, *[2] * axes]  # its new corner
    lost = 1 - changed[:, 0, *[3] * axes]  # its old one
    assert 0.75 < gained.max() <= 0.8
    assert 0.35 < lost.max() <= 0.4
    assert ((gained > 0) != (lost > 0)).all()
    expected = 3**axes + gained * (5**axes - 3**axes) - lost * (3**axes - 1)
    torch.testing.assert_close(changed.flatten(1).sum(1), expected)
    assert torch.equal(Stroke(0, 0)(x), x)


@pytest.mark.parametrize("change", [Affine(), Elastic(), Stroke()])
def test_channels_move_together(change):
    x = torch.rand(8, 1, 12, 12).expand(-1, 2, -1, -1)
    changed = change(x)
    torch.testing.assert_close(changed[:, 0], changed[:, 1])


def test_rotation_is_orthogonal_and_keeps_the_other_axis():
    matrix = rotation(torch.tensor([0.3, -1.2]), 0, 2, 3)
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(3).expand(2, 3, 3))
    torch.testing.assert_close(matrix[:, 1], torch.tensor([0.0, 1.0, 0.0]).expand(2, 3))


@pytest.mark.parametrize("space", [(24, 72), (64, 24), (20, 48, 30)], ids=str)
def test_what_is_round_stays_round_in_images_that_are_not_square(space):
    places = torch.stack(torch.meshgrid([torch.arange(n) - (n - 1) / 2 for n in space], indexing="ij"))
    ball = torch.exp(-places.square().sum(0) / 2 / 2.5**2).expand(50, 1, *space)
    turned = Affine(**NOTHING | {"rotation": 45})(ball).flatten(1)
    weight = turned / turned.sum(1, keepdim=True)
    moments = torch.einsum("bp,ip,jp->bij", weight, places.flatten(1), places.flatten(1))
    expected = 2.5**2 * torch.eye(len(space))
    torch.testing.assert_close(moments, expected.expand_as(moments), atol=0.5, rtol=0)


def test_swapped_values_come_from_the_same_column_of_the_batch():
    x = torch.arange(60.0).reshape(10, 6)
    changed = Swap(0.5)(x)
    assert torch.equal(changed % 6, x % 6)
    assert 0.2 < (changed != x).float().mean() < 0.7
    assert torch.equal(Swap(0.0)(x), x)


def test_vectors_and_bounds_are_refused_by_name():
    with pytest.raises(ValueError, match=r"Affine changes images .* not samples of shape \(6,\)"):
        Affine()(torch.rand(3, 6))
    with pytest.raises(ValueError, match=r"Elastic changes images .* not samples of shape \(6,\)"):
        Elastic()(torch.rand(3, 6))
    with pytest.raises(ValueError, match=r"Stroke changes images .* not samples of shape \(6,\)"):
        Stroke()(torch.rand(3, 6))
    with pytest.raises(ValueError, match="Swap: rate is 2, expected a number at least 0 and at most 1"):
        Swap(2)


@pytest.mark.parametrize("shape", [(400, 1, 3, 3), (600, 2, 3, 3, 3)])
def test_flips_and_turns_together_reach_every_symmetry_of_a_cube_and_move_channels_together(shape):
    axes = len(shape) - 2
    x = torch.arange(3.0**axes).reshape(1, 1, *shape[2:]).expand(shape)
    changed = Chain((Flips(), QuarterTurns()))(x)
    assert torch.equal(changed.flatten(2).sort().values, x.flatten(2))
    assert torch.equal(changed[:, 0], changed[:, -1])
    assert len(changed.flatten(1).unique(dim=0)) == {2: 8, 3: 48}[axes]


@pytest.mark.parametrize("shape", [(400, 1, 3, 4), (600, 2, 3, 4, 5)])
def test_reflections_mirror_one_axis_or_none_as_often_and_turn_nothing(shape):
    x = torch.rand(shape)
    changed = Reflections()(x)
    ways = torch.stack([(changed == x.flip(axes)).flatten(1).all(1) for axes in [(), *range(2, x.ndim)]]).float()
    assert (ways.sum(0) == 1).all()
    torch.testing.assert_close(ways.mean(1), torch.full((x.ndim - 1,), 1 / (x.ndim - 1)), atol=0.1, rtol=0)


def test_turns_leave_planes_of_unequal_axes_and_no_flip_is_no_change():
    x = torch.rand(50, 1, 4, 6)
    assert torch.equal(QuarterTurns()(x), x)
    assert torch.equal(Flips(0.0)(x), x)
    assert torch.equal(Flips(1.0)(x), x.flip(2, 3))
    assert torch.equal(Chain()(x), x)


@pytest.mark.parametrize("shape", [(300, 7), (300, 2, 5, 6), (300, 1, 3, 4, 5)])
def test_tones_change_mean_and_spread_within_their_bounds_and_nothing_else(shape):
    x = torch.randn(shape) * 3 + 1
    changed = Tones(contrast=0.3, brightness=0.5)(x)
    flat, other = x.flatten(1), changed.flatten(1)
    factor = other.std(1) / flat.std(1)
    shift = (other.mean(1) - flat.mean(1)) / flat.std(1)
    assert 0.25 < factor.log().abs().max() <= 0.3 + 1e-4
    assert 0.45 < shift.abs().max() <= 0.5 + 1e-4
    assert abs(torch.corrcoef(torch.stack([factor.log(), shift]))[0, 1]) < 0.2  # drawn apart
    standard = (flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True)
    torch.testing.assert_close(
        (other - other.mean(1, keepdim=True)) / other.std(1, keepdim=True), standard, atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(Tones(0, 0)(x), x)


@pytest.mark.parametrize("axes", [2, 3])
def test_blurred_samples_keep_what_is_coarse_and_lose_what_is_fine(axes):
    fine = torch.rand(60, 1, *[16] * axes)
    ramp = torch.linspace(0, 1, 16).expand(60, 1, *[16] * axes)
    left = Blurred()(fine - 0.5).flatten(1).std(1) / fine.flatten(1).std(1)
    assert left.max() < 0.5
    assert left.max() > 3 * left.min()  # each to its own degree
    inside = (slice(None), slice(None), *[slice(4, 12)] * axes)
    torch.testing.assert_close(Blurred(8)(ramp)[inside], ramp[inside], atol=1e-5, rtol=1e-5)
