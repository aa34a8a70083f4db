"""The architecture that a report draws is that of the fitted network: every parameter, in the order of work."""

import pytest
import torch

from tiny import DETECTORS, SHAPES, normals, tiny
from unlikelihood import KNN, VAE, WGANGP, Crops, LatentSearch, UpsampledConvolution
from unlikelihood.contract.trained import Learner
from unlikelihood.report import plots
from unlikelihood.report.architecture import networks
from unlikelihood.report.plots.networks import MOST


def counted(net):
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("name", DETECTORS)
def test_every_layer_of_every_network_is_drawn(name):
    shape = SHAPES["images"]
    detector = tiny(name, epochs=1).fit(normals(shape, n=24))
    scores = detector.score_samples(normals(shape, n=4, seed=1))
    found = networks(detector)
    assert found or not issubclass(DETECTORS[name], Learner)
    for network in found:
        figure = plots.architecture([(layer.name, layer.size, layer.parameters) for layer in network.layers])
        assert f"{network.parameters:,} parameters" in figure.get_label()
        plots.svg(figure, "x")
    assert (detector.score_samples(normals(shape, n=4, seed=1)) == scores).all()  # looking changes nothing


@pytest.mark.parametrize("shape", [SHAPES["vectors"], SHAPES["images"], SHAPES["volumes"]])
def test_parameters_and_shapes_are_those_of_the_modules(shape):
    vae = VAE(latent=3, width=2, epochs=1).fit(normals(shape))
    encoder, decoder = (next(n for n in networks(vae) if n.name.endswith(part)) for part in ("encoder", "decoder"))
    assert encoder.parameters == counted(vae.net_.encoder)
    assert decoder.parameters == counted(vae.net_.decoder)
    assert encoder.layers[-1].size == vae.net_.encoder(torch.zeros(1, *shape).to(next(vae.net_.parameters()))).shape[1:]
    assert decoder.layers[-1].size == shape


def test_a_gan_inside_wrappers_is_a_generator_and_a_critic():
    shape = (1, 9, 9, 9)
    gan = WGANGP(latent=3, width=2, epochs=1, upscaling=UpsampledConvolution())
    detector = Crops(LatentSearch(gan, 1), size=8, drawn=1).fit(normals(shape))
    made = {network.name: network for network in networks(detector)}
    assert list(made) == ["WGANGP: critic", "WGANGP: generator"]
    net = detector.generator_.net_
    assert made["WGANGP: generator"].parameters == counted(net.generator)
    assert made["WGANGP: critic"].parameters == counted(net.critic)
    assert made["WGANGP: generator"].layers[-1].size == (1, 8, 8, 8)


def test_a_detector_without_a_network_has_none():
    assert networks(KNN().fit(normals((1, 8, 8)))) == []


def test_what_lies_in_the_middle_of_a_deep_network_is_counted():
    layers = [(f"layer {number}", (4, 2), 10) for number in range(3 * MOST)]
    label = plots.architecture(layers).get_label()
    assert f"{30 * MOST} parameters" in label
    assert f"… {2 * MOST} more layers" in label
