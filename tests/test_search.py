"""What the search of a latent space computes, and which parts it leaves alone."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from tiny import normals, tiny
from unlikelihood import (
    KNN,
    VAE,
    AdamDescent,
    Crops,
    EncoderSearch,
    FeatureSpace,
    Generator,
    LatentSearch,
    MomentumDescent,
    load,
)
from unlikelihood.contract.detector import cloned
from unlikelihood.contract.queries import Query, SquaredQuery, descend
from unlikelihood.contract.search import content, search
from unlikelihood.storage.models import configuration
from unlikelihood.training.checkpoint import fit_hash


class Linear(Generator[nn.Module]):
    """G(z) = A z + b, with features that are linear too."""

    def build(self, shape):
        net = nn.Module()
        net.A = nn.Parameter(torch.randn(shape[0], 3))
        net.B = nn.Parameter(torch.randn(shape[0], 4))
        return net

    def objectives(self, net):
        raise NotImplementedError

    def _fit(self, X):
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.net_ = self.build(self.shape_).double()

    def score_batch(self, x):
        raise NotImplementedError

    def decode(self, z):
        return z @ self.net_.A.T + 1

    def draw(self, n, *key):
        return torch.randn(n, 3, generator=torch.Generator().manual_seed(sum(key) % 2**31)).double()

    def features(self, x):
        return [x @ self.net_.B]


X = np.random.default_rng(0).normal(size=(5, 6))
x = torch.from_numpy(X)


@pytest.fixture
def linear():
    return Linear().fit(X)


@pytest.fixture(scope="module")
def gan():
    return tiny("DCGAN").fit(normals((1, 8, 8)))


def test_the_loss_is_the_weighted_sum_of_its_parts(linear):
    z = linear.draw(5)
    residual, discrimination, loss, made = Query(linear, x, 0.3, 0).losses(z)
    A, B = linear.net_.A, linear.net_.B
    torch.testing.assert_close(residual, (x - z @ A.T - 1).abs().sum(1))
    torch.testing.assert_close(discrimination, ((x - z @ A.T - 1) @ B).abs().sum(1))
    torch.testing.assert_close(loss, 0.7 * residual + 0.3 * discrimination)
    torch.testing.assert_close(made, z @ A.T + 1)


def test_the_score_is_minus_the_loss_at_the_last_step(gan):
    detector = LatentSearch(gan, steps=5, discrimination=0.3).fit(normals((1, 8, 8)))
    queries = normals((1, 8, 8), n=7, seed=1)
    found = detector.search(queries)
    np.testing.assert_array_equal(detector.score_samples(queries), -found.loss)
    np.testing.assert_allclose(found.loss, 0.7 * found.residual + 0.3 * found.discrimination, rtol=1e-6)
    np.testing.assert_allclose(found.residual_map, np.abs(queries - found.generation), atol=1e-7)
    np.testing.assert_allclose(found.residual, found.residual_map.sum((1, 2, 3)), rtol=1e-5)
    with torch.no_grad():
        made = gan.decode(torch.from_numpy(found.z)).numpy()
    np.testing.assert_allclose(made, found.generation, atol=1e-6)
    np.testing.assert_array_equal(detector.reconstruct(queries), found.generation)


def test_the_squared_loss_is_f_anogans(linear):
    z = linear.draw(5)
    A, B = linear.net_.A, linear.net_.B
    missed = x - z @ A.T - 1
    residual, discrimination, loss, _ = SquaredQuery(linear, x, 0.3, 0).losses(z)
    torch.testing.assert_close(residual, missed.square().mean(1))
    torch.testing.assert_close(discrimination, (missed @ B).square().mean(1))
    torch.testing.assert_close(loss, residual + 0.3 * discrimination)
    torch.testing.assert_close(SquaredQuery(linear, x, 0.0, 0).losses(z)[2], residual)


def test_an_encoders_score_is_the_loss_that_it_was_trained_on(gan):
    train = normals((1, 8, 8))
    detector = EncoderSearch(gan, kappa=0.7, squared=True, width=2, epochs=1).fit(train)
    with torch.no_grad():
        loss = float(detector.izi_f(detector.net_, torch.from_numpy(train)))
    assert -detector.score_samples(train).mean() == pytest.approx(loss, rel=1e-5)
    refined = clone(detector).set_params(refine=30, descent=AdamDescent(0.02)).fit(train)
    assert refined.score_samples(train).mean() > detector.score_samples(train).mean()


def test_equation_15_step_for_step(linear):
    query, alpha, beta = Query(linear, x, 0.5, 0), 0.01, 0.8
    z, change = linear.draw(5), 0.0
    for steps in range(1, 8):
        slope = torch.autograd.functional.jacobian(lambda at: query.losses(at)[2].sum(), z)
        change = -alpha * slope + beta * change
        z = z + change
        torch.testing.assert_close(descend(query, linear.draw(5), steps, MomentumDescent(alpha, beta)), z)


class Squared(Query):
    """Half the squared distance: its minimum is known in closed form."""

    def losses(self, z):
        made = self.generator.decode(z)
        loss = (self.x - made).square().sum(1) / 2
        return loss, torch.zeros_like(loss), loss, made


def test_with_a_linear_generator_the_search_converges_to_the_least_squares_solution(linear):
    expected = torch.linalg.lstsq(linear.net_.A.detach(), (x - 1).T).solution.T
    found = descend(Squared(linear, x, 0.0, 0), linear.draw(5), 2000, MomentumDescent(0.02, 0.9))
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=0)


def test_samples_that_the_generator_makes_are_found(linear):
    z = linear.draw(4, 1)
    made = linear.decode(z).detach().numpy()
    found = LatentSearch(linear, 3000, 0.5, AdamDescent(0.01), restarts=2, layer=0).fit(X).search(made)
    far = LatentSearch(linear, 0, 0.5, layer=0).fit(X).search(made)
    assert (found.loss < 0.05 * far.loss).all()


def test_of_all_restarts_the_best_is_kept(gan):
    queries = normals((1, 8, 8), n=5, seed=1)
    one, many = (LatentSearch(gan, 4, restarts=restarts).fit(queries).search(queries) for restarts in (1, 6))
    starts = np.stack([gan.draw(6, 0, content(query)) for query in queries])
    ends = []
    for restart in range(6):
        z = torch.from_numpy(starts[:, restart : restart + 1])
        found = search(
            gan,
            queries,
            lambda chunk, x, z=z: z[: len(x)],
            lambda x: Query(gan, x, 0.5, -1),
            steps=4,
            descent=MomentumDescent(),
        )
        ends.append(found.loss)
    np.testing.assert_allclose(many.loss, np.min(ends, 0), rtol=1e-5)
    assert (many.loss <= np.max(ends, 0)).all()
    assert one.loss.shape == (5,)


@pytest.mark.parametrize("shape", [(6,), (1, 8, 8), (1, 8, 8, 8)])
def test_a_long_search_does_not_depend_on_batch_or_order(shape, monkeypatch):
    queries = normals(shape, n=9, seed=1)
    detector = tiny("LatentSearch", steps=100).fit(normals(shape))
    scores = detector.score_samples(queries)
    np.testing.assert_allclose(detector.score_samples(queries[::-1])[::-1], scores, rtol=2e-5)
    np.testing.assert_allclose(detector.score_samples(queries[4:6]), scores[4:6], rtol=2e-5)
    monkeypatch.setattr("unlikelihood.contract.search.AT_ONCE", 2)
    np.testing.assert_allclose(detector.score_samples(queries), scores, rtol=2e-5)


def test_starts_follow_from_the_seed_and_the_values(gan):
    a, b = normals((1, 8, 8), n=2)
    assert content(a) == content(a.astype(np.float64)) == content(np.asfortranarray(a))
    assert content(np.zeros(3)) == content(-np.zeros(3))
    assert content(a) != content(b)
    ends = [LatentSearch(gan, 0, seed=seed).fit(a[None]).search(a[None]).z for seed in (0, 0, 1)]
    np.testing.assert_array_equal(ends[0], ends[1])
    assert (ends[0] != ends[2]).any()


@pytest.mark.parametrize("wrapper", [LatentSearch, EncoderSearch])
def test_a_fitted_generator_is_not_trained_again(wrapper, gan, tmp_path):
    before = {name: tensor.clone() for name, tensor in gan.net_.state_dict().items()}
    train = normals((1, 8, 8), seed=5)
    options = {"epochs": 1, "width": 2} if wrapper is EncoderSearch else {"steps": 2}
    detector = wrapper(gan, **options).fit(train)
    assert detector.generator_ is gan
    assert clone(detector).fit(train).generator_ is gan
    for name, tensor in gan.net_.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.requires_grad for parameter in gan.net_.parameters())
    loaded = load(detector.save(tmp_path / "model"))
    assert loaded.generator_ is loaded.generator
    np.testing.assert_array_equal(loaded.score_samples(train), detector.score_samples(train))


def test_an_unfitted_generator_stays_unfitted():
    generator = tiny("DCGAN")
    detector = LatentSearch(generator, 2).fit(normals((1, 8, 8)))
    assert not hasattr(generator, "shape_")
    assert detector.generator_ is not generator


def test_a_generator_of_another_shape_is_refused(gan):
    with pytest.raises(ValueError, match=r"samples of shape \(1, 9, 9\), but the DCGAN was fitted on \(1, 8, 8\)"):
        LatentSearch(gan).fit(normals((1, 9, 9)))


def test_a_search_needs_the_judge_that_it_asks_for(gan):
    vae = tiny("VAE").fit(normals((6,)))
    with pytest.raises(ValueError, match="generator is a VAE, which has no critic"):
        LatentSearch(vae).fit(normals((6,)))
    assert LatentSearch(vae, 2, 0.0).fit(normals((6,))).score_samples(normals((6,))).shape == (40,)
    assert EncoderSearch(vae, 1, 0.0, 0.0, epochs=1).fit(normals((6,))).score_samples(normals((6,))).shape == (40,)
    with pytest.raises(ValueError, match="layer is 7, expected an integer from -1 to 0"):
        LatentSearch(gan, layer=7).fit(normals((1, 8, 8)))


def test_a_description_tells_fitted_generators_apart(gan):
    again = clone(gan).fit(normals((1, 8, 8)))
    other = clone(gan).fit(normals((1, 8, 8), seed=3))
    described = [configuration(LatentSearch(generator)) for generator in (gan, again, other, clone(gan))]
    assert described[0] == described[1]
    assert described[0] != described[2]
    assert described[0] != described[3]
    assert fit_hash(str(described[0]), X) != fit_hash(str(described[2]), X)


def test_an_encoder_learns_the_way_back_and_refinement_helps():
    train = normals((1, 8, 8), n=256)
    vae = VAE(latent=4, width=4, epochs=20, batch_size=64, learning_rate=1e-2).fit(train)
    queries = normals((1, 8, 8), n=32, seed=1)
    losses = {}
    for epochs, refine in ((1, 0), (20, 0), (20, 20)):
        detector = EncoderSearch(
            vae, refine, 0.0, 0.0, AdamDescent(0.02), width=4, epochs=epochs, batch_size=64, learning_rate=1e-2
        )
        losses[epochs, refine] = detector.fit(train).search(queries).loss.mean()
    assert losses[20, 20] < losses[20, 0] < losses[1, 0]


def test_a_critic_embeds_by_its_last_map_at_unit_length(gan):
    train, queries = normals((1, 8, 8)), normals((1, 8, 8), n=5, seed=1)
    detector = FeatureSpace(gan, KNN(1)).fit(train)

    def f(X):
        with torch.no_grad():
            return torch.nn.functional.normalize(gan.features(torch.from_numpy(X))[-1].flatten(1), dim=1)

    expected = -torch.cdist(f(queries), f(train)).min(1).values
    np.testing.assert_allclose(detector.score_samples(queries), expected, rtol=1e-4)


def test_parts_in_a_list_are_cloned_one_by_one(gan):
    kept, fresh = cloned([gan, tiny("DCGAN")])
    assert kept is gan
    assert not hasattr(fresh, "shape_")


@pytest.mark.parametrize("name", ["LatentSearch", "EncoderSearch"])
def test_the_path_of_a_search_ends_where_the_search_does(name):
    train = normals((1, 8, 8))
    made = {"LatentSearch": {"steps": 5, "restarts": 3, "descent": AdamDescent(0.5)}, "EncoderSearch": {"refine": 5}}[
        name
    ]
    detector = tiny(name, **made).fit(train)
    found, path = detector.search(train[:1]), detector.path(train[0], moments=3)
    assert path.loss.shape == (6,)
    assert path.loss[-1] == pytest.approx(found.loss[0], rel=1e-5)
    np.testing.assert_allclose(path.generation[-1], found.generation[0], atol=1e-5)
    np.testing.assert_array_equal(path.step, [0, 2, 5])
    assert len(np.unique(path.loss)) == 6


@pytest.mark.parametrize("name", ["LatentSearch", "VAE"])
def test_an_interpolation_goes_from_one_reconstruction_to_the_other(name):
    train = normals((1, 8, 8))
    detector = tiny(name).fit(train)
    between = detector.interpolate(train[0], train[1], 5)
    assert between.shape == (5, 1, 8, 8)
    np.testing.assert_allclose(between[[0, -1]], detector.reconstruct(train[:2]), atol=1e-5)


def test_crops_walk_between_their_centres():
    train = normals((1, 9, 9))
    detector = Crops(tiny("LatentSearch"), size=7, drawn=1).fit(train)
    assert detector.interpolate(train[0], train[1], 3).shape == (3, 1, 7, 7)
    np.testing.assert_array_equal(detector.path(train[0]).sample, train[0, :, 1:8, 1:8])
