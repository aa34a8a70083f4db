"""The floor of arithmetic counts what it says, and every detector with a network stands beside it."""

import json

import torch
from benchmarks import floor
from torch import nn

from unlikelihood.contract.trained import Learner
from unlikelihood.storage import discovery


def test_the_operations_of_a_product_are_two_for_each_pair_that_is_multiplied():
    a, b = torch.rand(5, 7), torch.rand(7, 3)
    assert floor.operations(lambda: a @ b) == 2 * 5 * 7 * 3
    with torch.inference_mode():
        assert floor.operations(lambda: nn.Linear(7, 3)(a)) == 2 * 5 * 7 * 3


def test_backward_and_the_gradient_of_a_gradient_count():
    x, w, v = torch.rand(5, 7), torch.rand(7, 3, requires_grad=True), torch.rand(5, 3)

    def forward(x):
        return ((x @ w).tanh() * v).sum()

    once = 2 * 5 * 7 * 3
    assert floor.operations(lambda: forward(x).backward()) == 2 * once  # of x, no gradient is asked for

    def penalty():
        at = x.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(forward(at), at, create_graph=True)
        slope.square().sum().backward(inputs=[w])

    # Forward, the slope, and of w the gradients through the slope's product, to both its factors, and the forward one.
    assert floor.operations(penalty) == 5 * once


def test_a_convolution_counts_what_its_definition_multiplies():
    x, convolution = torch.rand(2, 3, 8, 8), nn.Conv2d(3, 4, 3, padding=1)
    assert floor.operations(lambda: convolution(x)) == 2 * 2 * 4 * 64 * 3 * 9


def test_the_kinds_share_all_of_the_time_and_a_product_is_most_of_a_product():
    a = torch.rand(600, 600)
    shares = floor.shares(lambda: [a @ a for _ in range(5)])
    assert abs(sum(shares.values()) - 1) < 0.01
    assert next(iter(shares)) == floor.PRODUCTS


def test_what_a_network_calls_has_the_kind_that_a_reader_would_name():
    expected = {
        "aten::convolution_backward": floor.PRODUCTS,
        "aten::addmm": floor.PRODUCTS,
        "aten::native_group_norm_backward": "normalisation",
        "aten::linalg_vector_norm": "sums",
        "aten::cumsum": "sums",
        "aten::normal_": "noise",
        "aten::_fused_adam_": "optimiser",
        "aten::silu_backward": "element by element",
        "aten::copy_": "moving data",
        "aten::grid_sampler_2d": "resampling",
        "autograd::engine::evaluate_function: MulBackward0": floor.OUTSIDE,
    }
    assert {name: floor.kind(name) for name in expected} == expected


def test_every_detector_with_a_network_is_measured_on_images_and_on_volumes():
    for rows in json.loads(floor.RESULTS.read_text(encoding="utf-8"))["rows"].values():
        missing = set(discovery.subclasses(Learner, "detectors")) - set(rows)
        assert not missing, "run python -m benchmarks.floor --only " + " ".join(sorted(missing))
