"""A given network as an encoder."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from tiny import normals
from unlikelihood import KNN, FeatureSpace, TorchEncoder, load
from unlikelihood.storage.models import ModelFileError, configuration


def network():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(), nn.Flatten(), nn.Linear(108, 4))


def test_it_embeds_with_the_network_in_evaluation_mode_and_leaves_it_alone():
    X, net = normals((1, 8, 8)), network()
    fitted = TorchEncoder(net).fit(X)
    assert net.training
    embedding = fitted.embed(X)
    np.testing.assert_allclose(embedding, net.eval()(torch.from_numpy(X)).detach().numpy(), rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        net[4].bias += 1
    np.testing.assert_array_equal(fitted.embed(X), embedding)


def test_clones_share_the_network():
    net = network()
    assert clone(TorchEncoder(net)).module is net
    assert clone(FeatureSpace(TorchEncoder(net), KNN())).encoder.module is net


def test_a_map_of_features_is_a_representation_too():
    X = normals((1, 8, 8))
    fitted = FeatureSpace(TorchEncoder(nn.AvgPool2d(2)), KNN(2)).fit(X)
    assert fitted.detector_.shape_ == (1, 4, 4)
    assert np.isfinite(fitted.score_samples(X)).all()


def test_a_model_file_needs_the_network_and_brings_its_weights(tmp_path):
    X = normals((1, 8, 8))
    fitted = FeatureSpace(TorchEncoder(network()), KNN()).fit(X)
    path = fitted.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match=r"TorchEncoder needs module, .* load\(path, module=...\)"):
        load(path)
    with pytest.raises(ValueError, match="module is not built like the one that was saved"):
        load(path, module=nn.Sequential(nn.Flatten(), nn.Linear(64, 4)))
    np.testing.assert_array_equal(load(path, module=network()).score_samples(X), fitted.score_samples(X))


def test_other_weights_are_another_configuration():
    net, other = network(), network()
    assert configuration(TorchEncoder(net)) == configuration(TorchEncoder(net, device="cpu"))
    assert configuration(TorchEncoder(net)) != configuration(TorchEncoder(other))


@pytest.mark.parametrize(("net", "made"), [(nn.Flatten(0), r"\(2560,\)"), (nn.LSTM(8, 2), "tuple")])
def test_what_is_no_embedding_is_refused(net, made):
    X = normals((1, 8, 8)) if isinstance(net, nn.Flatten) else normals((8,))
    with pytest.raises(ValueError, match=f"module makes {made} of a batch"):
        TorchEncoder(net).fit(X)
