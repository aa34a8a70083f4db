"""The loop: what it visits, where it stops, and that an interrupted fit is the same fit."""

import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tiny import normals, tiny
from unlikelihood import VAE, Affine
from unlikelihood.nn.noise import uniform
from unlikelihood.training.alarms import NothingLearnt
from unlikelihood.training.devices import fabric_for
from unlikelihood.training.loop import Diverged, Objective, indices, one_cycle, train
from unlikelihood.training.seeding import initialising, seeded

CPU = fabric_for("cpu", "32-true")
SGD = partial(torch.optim.SGD, lr=0.1)


def weights(detector):
    return {name: tensor.numpy() for name, tensor in detector.net_.state_dict().items()}


def assert_same_weights(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def long_fit(**parameters):
    return VAE(latent=2, width=4, epochs=60, batch_size=16, augment=Affine(), **parameters)


KILLED = """
import sys, numpy as np
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads({threads})
from test_training import long_fit
from tiny import normals
long_fit(checkpoint={path!r}, checkpoint_seconds=0.0).fit(normals((1, 12, 12), n=64))
"""


def test_a_killed_fit_resumes_to_the_same_bits(tmp_path):
    path = tmp_path / "fit.checkpoint"
    # With another number of threads, sums round differently.
    code = KILLED.format(tests=str(Path(__file__).parent), path=str(path), threads=torch.get_num_threads())
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.1)
    assert process.poll() is None, "the fit ended before it could be killed"
    process.kill()
    process.wait()
    assert path.exists()
    X = normals((1, 12, 12), n=64)
    resumed = long_fit(checkpoint=str(path)).fit(X)
    whole = long_fit().fit(X)
    assert_same_weights(resumed, whole)
    assert resumed.history_ == whole.history_
    assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def interrupt_after(module, calls):
    """Make a module raise, as Ctrl-C does, after a number of calls."""
    left = iter(range(calls))

    def interrupt(*_):
        if next(left, None) is None:
            raise KeyboardInterrupt

    module.register_forward_pre_hook(interrupt)


@pytest.mark.parametrize("steps", [1, 37])
def test_an_interrupted_fit_resumes_to_the_same_bits(tmp_path, steps, monkeypatch):
    X, path = normals((6,), n=64), str(tmp_path / "fit.checkpoint")
    whole = tiny("VAE", epochs=20, learning_rate=1e-2).fit(X)
    build = VAE.build

    def breaking(self, shape):
        net = build(self, shape)
        interrupt_after(net.encoder, steps)
        return net

    with monkeypatch.context() as patch:
        patch.setattr(VAE, "build", breaking)
        with pytest.raises(KeyboardInterrupt):
            tiny("VAE", epochs=20, learning_rate=1e-2, checkpoint=path, checkpoint_seconds=0.0).fit(X)
    assert_same_weights(tiny("VAE", epochs=20, learning_rate=1e-2, checkpoint=path).fit(X), whole)


@pytest.mark.parametrize("change", ["data", "parameters", "bytes"])
def test_the_checkpoint_of_another_fit_is_refused(tmp_path, change, monkeypatch):
    X, path = normals((6,), n=64), tmp_path / "fit.checkpoint"
    with monkeypatch.context() as patch:
        patch.setattr("unlikelihood.training.checkpoint.Checkpoint.remove", lambda self: None)
        tiny("VAE", checkpoint=str(path), checkpoint_seconds=0.0).fit(X)
    if change == "bytes":
        path.write_bytes(path.read_bytes()[:100])
    again = tiny("VAE", checkpoint=str(path), latent=3 if change == "parameters" else 2)
    with pytest.raises(ValueError, match="cannot be read" if change == "bytes" else "belongs to a fit of other"):
        again.fit(X + 1 if change == "data" else X)


def test_a_checkpoint_holds_no_pickle(tmp_path, monkeypatch):
    path = tmp_path / "fit.checkpoint"
    monkeypatch.setattr("unlikelihood.training.checkpoint.Checkpoint.remove", lambda self: None)
    tiny("VAE", checkpoint=str(path), checkpoint_seconds=0.0).fit(normals((6,)))
    save_file(load_file(path), tmp_path / "again")


def test_every_epoch_visits_every_sample_once():
    for epoch in range(3):
        batches = [indices(103, 7, 0, 7 * epoch + position) for position in range(7)]
        assert sorted(np.concatenate(batches)) == list(range(103))
        assert {len(batch) for batch in batches} == {14, 15}
    assert not np.array_equal(indices(103, 7, 0, 0), indices(103, 7, 0, 7))


class Duel(nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = nn.Linear(1, 1)
        self.generator = nn.Linear(1, 1)


def test_turns_step_in_order_and_one_that_repeats_gets_fresh_batches():
    moves, net = [], Duel()

    def move(name):
        def loss(x):
            moves.append((name, tuple(x[:, 0].tolist())))
            return net.generator(net.critic(x)).mean()

        return loss

    objectives = [
        Objective("critic", net.critic, move("critic"), optimizer=SGD, repeat=3),
        Objective("generator", net.generator, move("generator"), optimizer=SGD),
    ]
    X = np.arange(12, dtype=np.float32)[:, None]
    history = train(net, objectives, X, epochs=2, batch_size=2, fabric=CPU)
    assert [name for name, _ in moves] == ["critic", "critic", "critic", "generator"] * 4
    seen = [value for name, batch in moves[:8] if name == "critic" for value in batch]
    assert sorted(seen) == list(range(12))
    assert history.keys() == {"critic", "generator"}


def test_only_the_module_whose_turn_it_is_steps():
    net = Duel()
    before = net.generator.weight.clone()
    objective = Objective("critic", net.critic, lambda x: net.generator(net.critic(x)).square().mean(), optimizer=SGD)
    train(net, [objective], np.ones((8, 1), np.float32), epochs=3, batch_size=4, fabric=CPU)
    assert torch.equal(net.generator.weight, before)
    assert net.generator.weight.grad is None


def test_a_gradient_is_clipped_to_its_norm():
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    objective = Objective("line", net, lambda x: 1000 * net(x).mean(), optimizer=SGD)
    train(net, [objective], np.ones((4, 1), np.float32), epochs=1, batch_size=4, clip=1.0, fabric=CPU)
    assert net.weight.item() == pytest.approx(-0.1)


def test_a_clipped_gradient_keeps_its_direction():
    net = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(net.weight)
    objective = Objective("plane", net, lambda x: 1000 * net(x).mean(), optimizer=SGD)
    train(net, [objective], np.tile(np.float32([3, 4]), (4, 1)), epochs=1, batch_size=4, clip=1.0, fabric=CPU)
    assert net.weight[0].tolist() == pytest.approx([-0.06, -0.08], rel=1e-4)


def test_a_step_goes_by_its_own_gradient_alone():
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    objective = Objective("line", net, lambda x: net(x).mean(), optimizer=SGD)
    train(net, [objective], np.ones((8, 1), np.float32), epochs=1, batch_size=2, fabric=CPU)
    assert net.weight.item() == pytest.approx(-0.4)


def test_every_step_draws_numbers_of_its_own_that_a_fit_repeats():
    drawn = []
    for _ in range(2):
        net = nn.Linear(1, 1)

        def loss(x, net=net):
            drawn.append(uniform(1).item())
            return net(x).mean()

        objective = Objective("noisy", net, loss, optimizer=SGD)
        train(net, [objective], np.ones((4, 1), np.float32), epochs=3, batch_size=2, fabric=CPU)
    assert drawn[:6] == drawn[6:]
    assert len(set(drawn)) == 6


def test_a_loss_that_is_not_finite_stops_the_fit():
    net = nn.Linear(1, 1)
    objective = Objective("log", net, lambda x: (net(x) * 0 - 1).log().mean(), optimizer=SGD)
    with pytest.raises(Diverged, match="the loss of 'log' stopped being finite at about step"):
        train(net, [objective], np.ones((64, 1), np.float32), epochs=50, batch_size=4, fabric=CPU)


def test_a_loss_that_does_not_move_is_warned_about():
    X = normals((6,), n=64)
    with pytest.warns(NothingLearnt, match="the loss did not move"):
        tiny("VAE", epochs=40, learning_rate=1e-12).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny("VAE", epochs=40, learning_rate=1e-2).fit(X)


def test_random_numbers_inside_follow_from_the_key_and_those_outside_do_not_notice():
    torch.random.manual_seed(1)
    expected = torch.rand(2)
    torch.random.manual_seed(1)
    with seeded(3, 4):
        inside = uniform(2)
    assert torch.equal(torch.rand(2), expected)
    with seeded(3, 4):
        assert torch.equal(uniform(2), inside)
    with seeded(3, 5):
        assert not torch.equal(uniform(2), inside)


def test_weights_follow_from_the_key_in_float32_and_torchs_own_state_stays():
    with initialising(3):
        expected = nn.Linear(5, 4).weight
    torch.random.manual_seed(1)
    state = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        with initialising(3):
            weight = nn.Linear(5, 4).weight
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert weight.dtype == torch.float32
    assert torch.equal(weight, expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_another_key_draws_other_weights():
    drawn = []
    for key in ((3,), (4,), (3, 4)):
        with initialising(*key):
            drawn.append(nn.Linear(5, 4).weight)
    assert not any(torch.equal(drawn[0], other) for other in drawn[1:])


def test_one_cycle_rises_to_one_and_falls_to_zero():
    rates = [one_cycle(step / 1000) for step in range(1000)]
    assert max(rates) == pytest.approx(1, abs=1e-3)
    peak = int(np.argmax(rates))
    assert np.all(np.diff(rates[:peak]) >= 0)
    assert np.all(np.diff(rates[peak:]) <= 0)
    assert rates[-1] < 1e-4


def test_bf16_training_reaches_about_the_loss_of_float32():
    X = normals((1, 8, 8), n=128)
    full, mixed = (tiny("VAE", width=8, epochs=20, precision=p).fit(X) for p in ("32-true", "bf16-mixed"))
    (a,), (b,) = (fit.history_.values() for fit in (full, mixed))
    assert b[-1] == pytest.approx(a[-1], rel=0.05)
