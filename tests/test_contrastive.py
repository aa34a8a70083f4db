"""Contrastive embeddings, and detectors on them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from tiny import normals, tiny
from unlikelihood import KNN, Contrastive, FeatureSpace, load
from unlikelihood.detectors.contrastive import contrast


def test_the_loss_is_the_papers_equation():
    embedding = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    tau, terms = 0.3, []
    for v, partner in enumerate([3, 4, 5, 0, 1, 2]):
        likeness = [torch.exp(embedding[v] @ embedding[u] / tau) for u in range(6) if u != v]
        terms.append(-torch.log(torch.exp(embedding[v] @ embedding[partner] / tau) / sum(likeness)))
    torch.testing.assert_close(contrast(embedding, tau), torch.stack(terms).mean())


def test_embeddings_lie_on_the_sphere_and_like_samples_are_near():
    X = normals((1, 12, 12), n=256)
    fitted = Contrastive(features=8, width=8, epochs=10, batch_size=64).fit(X)
    embedding = fitted.embed(X)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-5)
    shifted = fitted.embed(np.roll(X, 1, axis=-1))
    own = np.linalg.norm(embedding - shifted, axis=1)
    others = np.linalg.norm(embedding - np.roll(shifted, 7, axis=0), axis=1)
    assert np.mean(own < others) > 0.8  # 0.5 by chance


def test_the_score_is_the_distance_to_the_nearest_training_embeddings():
    X, new = normals((1, 8, 8)), normals((1, 8, 8), n=7, seed=1)
    fitted = tiny("Contrastive", n_neighbors=3).fit(X)
    distance = np.linalg.norm(fitted.embed(new)[:, None] - fitted.embed(X)[None], axis=2)
    np.testing.assert_allclose(fitted.score_samples(new), -np.sort(distance, axis=1)[:, :3].mean(axis=1), rtol=1e-4)


def test_a_fitted_encoder_is_not_trained_again():
    X = normals((1, 8, 8))
    encoder = tiny("Contrastive").fit(X)
    before = {name: tensor.clone() for name, tensor in encoder.net_.state_dict().items()}
    wrapped = FeatureSpace(encoder, KNN(n_neighbors=2)).fit(X[:20])
    assert wrapped.encoder_ is encoder
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.net_.state_dict().items())
    expected = KNN(n_neighbors=2).fit(encoder.embed(X[:20])).score_samples(encoder.embed(X))
    np.testing.assert_array_equal(wrapped.score_samples(X), expected)


def test_an_unfitted_encoder_is_copied_and_fitted():
    encoder, detector = tiny("Contrastive"), KNN()
    fitted = FeatureSpace(encoder, detector).fit(normals((1, 8, 8)))
    assert not hasattr(encoder, "shape_")
    assert not hasattr(detector, "shape_")
    assert fitted.encoder_.shape_ == (1, 8, 8)


def test_a_saved_feature_space_holds_its_encoder_once(tmp_path):
    X = normals((1, 8, 8))
    encoder = tiny("Contrastive").fit(X)
    fitted = FeatureSpace(encoder, KNN()).fit(X)
    loaded = load(fitted.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.score_samples(X), fitted.score_samples(X))
    assert loaded.encoder is loaded.encoder_
    alone = (encoder.save(tmp_path / "encoder") / "weights.safetensors").stat().st_size
    assert (tmp_path / "model" / "weights.safetensors").stat().st_size < 1.9 * alone


@pytest.mark.parametrize("shape", [(1, 12, 12), (10,)])
def test_it_ranks_what_it_was_not_trained_on_below(shape):
    X = normals(shape, n=300)
    odd = np.random.default_rng(1).permuted(X[:100].reshape(100, -1), axis=1).reshape(100, *shape)
    fitted = Contrastive(features=8, width=8, epochs=10, batch_size=64).fit(X[100:])
    score = -fitted.score_samples(np.concatenate([X[:100], odd]))
    assert roc_auc_score(np.repeat([0, 1], 100), score) > 0.9
