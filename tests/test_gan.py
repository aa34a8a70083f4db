"""What the adversarial detectors compute, and that they learn."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tiny import normals, tiny
from unlikelihood import (
    DCGAN,
    WGANGP,
    Affine,
    NormalLatents,
    TransposedConvolution,
    UniformLatents,
    UpsampledConvolution,
    load,
)
from unlikelihood.detectors.wgangp import gradient_penalty
from unlikelihood.nn.adversarial import GAN, Critic, Intensities, Synthesis


@pytest.mark.parametrize("shape", [(5,), (2, 4, 4)])
def test_the_gradient_penalty_of_a_linear_critic_is_exact(shape):
    linear = nn.Linear(math.prod(shape), 1).double()
    x, made = torch.randn(2, 7, *shape, dtype=torch.float64)
    penalty = gradient_penalty(lambda at: linear(at.flatten(1))[:, 0], x, made)
    torch.testing.assert_close(penalty, (linear.weight.norm() - 1).square())


def test_the_critics_loss_is_the_papers():
    detector = tiny("WGANGP", penalty=10.0).fit(normals((6,)))
    net, x = detector.net_, torch.from_numpy(normals((6,))).double()
    net.critic = Linear(6)
    detector.latents = Fixed()
    loss = detector.critic_loss(net, x)
    made = net.generator(Fixed()(len(x), detector.latent))
    slope = detector.net_.critic.intensities.half * net.critic.line.weight.norm()
    expected = net.critic(made).mean() - net.critic(x).mean() + 10 * (slope - 1).square()
    torch.testing.assert_close(loss, expected)


class Linear(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.line = nn.Linear(d, 1).double()
        self.intensities = Intensities(0.0, 3.0)

    def forward(self, x):
        return self.line(x.double())[:, 0]


def test_the_discriminators_loss_is_the_cross_entropy_with_smoothed_targets():
    detector = tiny("DCGAN", smoothing=0.1).fit(normals((6,)))
    net, x = detector.net_, torch.from_numpy(normals((6,))).double()
    detector.latents = Fixed()
    loss = detector.discriminator_loss(net, x)
    real, fake = net.critic(x), net.critic(net.generator(Fixed()(len(x), 2, x.device)))
    entropy = nn.functional.binary_cross_entropy_with_logits
    expected = entropy(real, torch.full_like(real, 0.9)) + entropy(fake, torch.zeros_like(fake))
    torch.testing.assert_close(loss, expected)
    expected = entropy(fake, torch.ones_like(fake))
    torch.testing.assert_close(detector.generator_loss(net, x), expected)


class Fixed:
    def __call__(self, n, dimensions, device=None):
        return torch.linspace(-1, 1, n * dimensions, dtype=torch.float64).reshape(n, dimensions)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (1, 5, 17), (2, 3, 3), (1, 28, 28, 28), (1, 9, 12, 33)])
@pytest.mark.parametrize("upscaling", [TransposedConvolution(), UpsampledConvolution()])
def test_networks_are_mirrors_for_any_size(shape, upscaling):
    intensities = Intensities(-1000.0, 500.0)
    synthesis = Synthesis(shape, 7, 2, intensities, upscaling)
    critic = Critic(shape, 2, intensities, normalised=False)
    made = synthesis(torch.randn(2, 7))
    assert made.shape == (2, *shape)
    assert -1000 <= made.min() < made.max() <= 500
    assert critic(made).shape == (2,)
    deepest = critic.features(made)[-1].shape[1:]
    assert synthesis.layers[1].unflattened_size == deepest


def test_the_widths_are_the_papers():
    synthesis = Synthesis((3, 64, 64), 100, 128, Intensities(0, 1), TransposedConvolution())
    channels = [layer.in_channels for layer in synthesis.layers if isinstance(layer, nn.ConvTranspose2d)]
    assert channels == [1024, 512, 256, 128]
    assert synthesis.layers[1].unflattened_size == (1024, 4, 4)


def test_the_initial_weights_are_the_papers():
    detector = DCGAN(width=32)
    detector.range_, detector.n_samples_ = (0.0, 1.0), 64
    for network in (net := detector.build((1, 28, 28))).generator, net.critic:
        weights = torch.cat([p.flatten() for name, p in network.named_parameters() if p.ndim > 1])
        assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.critic.layers[0])
    critic = WGANGP().critic((1, 28, 28), Intensities(0, 1))
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in critic.modules())


@pytest.mark.parametrize(("latents", "low", "spread"), [(UniformLatents(), -1, 3**-0.5), (NormalLatents(), -9, 1)])
def test_latents_have_their_distribution(latents, low, spread):
    torch.manual_seed(0)
    z = latents(10_000, 2)
    assert z.shape == (10_000, 2)
    assert low <= z.min() < -0.99
    assert z.mean().item() == pytest.approx(0, abs=0.03)
    assert z.std().item() == pytest.approx(spread, rel=0.02)


def test_the_average_follows_the_generator():
    synthesis = Synthesis((3,), 2, 1, Intensities(0, 1), TransposedConvolution())
    net = GAN(synthesis, Critic((3,), 1, Intensities(0, 1), normalised=False), 0.5, torch.zeros(2, 2), (1,))
    optimizer = net.followed(lambda parameters: torch.optim.SGD(parameters, lr=0.1))(synthesis.parameters())
    expected = synthesis.layers[0].weight.detach().clone()
    for step in range(12):
        net.generator(torch.randn(8, 2)).sum().backward()
        optimizer.step()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * synthesis.layers[0].weight.detach()
        torch.testing.assert_close(net.average.layers[0].weight, expected)
    assert net.steps == 12


@pytest.mark.parametrize("name", ["DCGAN", "WGANGP", "EncoderSearch"])
def test_an_interrupted_fit_resumes_to_the_same_bits(name, tmp_path, monkeypatch):
    X, path = normals((1, 8, 8), n=64), str(tmp_path / "fit.checkpoint")
    # A generator that is not trained again, for it has no checkpoint of its own.
    inner = {"generator": tiny("DCGAN").fit(X)} if name == "EncoderSearch" else {}
    whole = tiny(name, epochs=12, augment=Affine(), **inner).fit(X)
    follow, izi_f, left = GAN.follow, getattr(type(whole), "izi_f", None), iter(range(5))

    def breaking(self):
        if next(left, None) is None:
            raise KeyboardInterrupt
        follow(self)

    def breaking_izi_f(self, net, x):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return izi_f(self, net, x)

    with monkeypatch.context() as patch:
        patch.setattr(GAN, "follow", breaking)
        if name == "EncoderSearch":
            patch.setattr(type(whole), "izi_f", breaking_izi_f)
        with pytest.raises(KeyboardInterrupt):
            tiny(name, epochs=12, augment=Affine(), checkpoint=path, checkpoint_seconds=0.0, **inner).fit(X)
    resumed = tiny(name, epochs=12, augment=Affine(), checkpoint=path, **inner).fit(X)
    one, other = resumed.net_.state_dict(), whole.net_.state_dict()
    assert one.keys() == other.keys()
    for key in one:
        assert torch.equal(one[key], other[key]), key
    assert resumed.history_ == whole.history_
    if name != "EncoderSearch":
        assert any(key.startswith("average.") for key in one)


def ring(n, seed=0):
    """Eight Gaussians on a circle of radius 2, and which one each sample is of."""
    rng = np.random.default_rng(seed)
    mode = rng.integers(8, size=n)
    centre = 2 * np.stack([np.cos(mode * np.pi / 4), np.sin(mode * np.pi / 4)], 1)
    return (centre + rng.normal(0, 0.05, (n, 2))).astype(np.float32)


def test_wgan_gp_covers_all_modes_of_a_ring():
    # At a penalty of 10 the default of both sides misses modes here; the authors' own code for this ring has 0.1.
    fitted = WGANGP(
        latent=2,
        width=16,
        latents=NormalLatents(),
        average=0.99,
        critic_steps=2,
        penalty=0.3,
        epochs=80,
        batch_size=256,
        learning_rate=3e-3,
    ).fit(ring(2048))
    centres = 2 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], 1)
    distance = np.linalg.norm(fitted.generate(2000)[:, None] - centres, axis=2)
    share = np.bincount(distance.argmin(1), minlength=8) / 2000
    # 0 if each mode has its eighth, 1/8 more for each that has none.
    assert np.abs(share - 1 / 8).sum() / 2 < 0.2, share
    assert np.mean(distance.min(1) < 0.3) > 0.3, "samples lie between the modes"


def test_a_model_file_holds_the_quality_of_its_generator(tmp_path):
    fitted = tiny("DCGAN").fit(ring(300))
    assert fitted.quality_
    assert load(fitted.save(tmp_path / "model")).quality_ == fitted.quality_


def test_batches_of_one_sample_are_refused():
    with pytest.raises(ValueError, match="expected batches of at least 2"):
        tiny("DCGAN", batch_size=1).fit(normals((6,)))


def test_the_score_does_not_depend_on_the_mode_of_batch_normalisation():
    detector = tiny("DCGAN").fit(normals((1, 8, 8)))
    assert not any(module.training for module in detector.net_.modules())
