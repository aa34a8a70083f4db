"""Encoders and decoders of any shape."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from unlikelihood.nn.networks import Decoder, Embedding, Encoder, pyramid
from unlikelihood.nn.spatial import UpsampledConv

SHAPES = [(5,), (1,), (1, 28, 28), (3, 64, 48), (1, 28, 28, 28), (1, 32, 32, 32), (2, 5, 40), (1, 3, 3), (1, 9, 17, 8)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_decoder_gives_back_the_shape_that_the_encoder_took(shape):
    x = torch.rand(2, *shape)
    features = Encoder(shape, 7, width=2)(x)
    assert features.shape == Embedding(shape, 7, width=2)(x).shape == (2, 7)
    assert Decoder(shape, 7, width=2)(features).shape == x.shape


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_input_reaches_every_output(shape):
    torch.manual_seed(0)
    x = torch.rand(1, *shape, requires_grad=True)
    (gradient,) = torch.autograd.grad(Encoder(shape, 7, width=4)(x).square().sum(), x)
    assert (gradient != 0).all()
    features = torch.rand(1, 7, requires_grad=True)
    (gradient,) = torch.autograd.grad(Decoder(shape, 7, width=4)(features).square().sum(), features)
    assert (gradient != 0).all()


def test_the_pyramid_halves_until_the_shortest_axis_is_short():
    for space in [(28, 28), (64, 48), (33, 100, 8), (7, 7), (1, 512)]:
        levels = pyramid(space)
        assert min(levels[-1]) <= 7
        assert all(min(level) > 7 for level in levels[:-1])
        for before, after in itertools.pairwise(levels):
            assert all(b <= 2 * a <= b + 1 for b, a in zip(before, after, strict=True))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("space", [(7,), (4, 7), (3, 4, 5)])
def test_an_upsampled_convolution_is_one_of_repeated_pixels(space, kernel, channels):
    target = [2 * length for length in space]
    layer, x = UpsampledConv(3, channels, target, kernel), torch.randn(2, 3, *space)
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(space)]

    def repeated(x):
        return convolve(F.interpolate(x, target, mode="nearest"), layer.weight, layer.bias, padding=kernel // 2)

    torch.testing.assert_close(layer(x), repeated(x), atol=1e-5, rtol=1e-5)
    of = (layer.weight, layer.bias)
    given = torch.randn(2, channels, *target)
    gradients = [torch.autograd.grad((made * given).sum(), of) for made in (layer(x), repeated(x))]
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)
    odd = UpsampledConv(3, channels, [length - 1 for length in target], kernel)
    assert list(odd(x).shape[2:]) == [length - 1 for length in target]
