"""Crops are drawn where the seed says, and scored where the grid says."""

import numpy as np
import pytest

from tiny import normals, tiny
from unlikelihood import Crops, EncoderSearch, LatentSearch, load
from unlikelihood.contract.detector import Detector

SHAPES = [(1, 9, 9), (2, 9, 6), (1, 8, 9, 8)]


class Corner(Detector):
    """Scores by the first value; remembers what it was fitted to."""

    def _fit(self, X):
        self.X_ = X

    def _score(self, X):
        return X.reshape(len(X), -1)[:, 0]


def numbered(shape, n=5):
    return np.arange(n * np.prod(shape), dtype=np.float32).reshape(n, *shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_crop_is_a_part_of_its_own_sample_and_all_places_come_up(shape):
    X = numbered(shape)
    part = Crops(Corner(), size=7, drawn=200).fit(X).detector_
    crop = tuple(min(7, length) for length in shape[1:])
    assert part.shape_ == (shape[0], *crop)
    places = set()
    for row, cube in enumerate(part.X_):
        sample = X[row % len(X)]
        place = np.unravel_index(int(cube.flat[0] - sample.flat[0]), shape)
        inside = (slice(None), *(slice(at, at + length) for at, length in zip(place[1:], crop, strict=True)))
        np.testing.assert_array_equal(cube, sample[inside])
        places.add(place[1:])
    assert len(places) == np.prod([length - side + 1 for length, side in zip(shape[1:], crop, strict=True)])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_centre_or_a_grid_from_corner_to_corner_is_scored(shape):
    X = numbered(shape)
    centre = (slice(None), 0, *((length - min(7, length)) // 2 for length in shape[1:]))
    np.testing.assert_array_equal(Crops(Corner(), size=7).fit(X).score_samples(X), X[centre])
    at_centre = Crops(Corner(), size=7, drawn=0).fit(X).detector_.X_
    np.testing.assert_array_equal(at_centre.reshape(len(X), -1)[:, 0], X[centre])
    corners = Crops(Corner(), size=7, grid=2).fit(X).score_samples(X)
    ends = np.ix_(*[[0, max(0, length - 7)] for length in shape[1:]])
    np.testing.assert_allclose(corners, X[:, 0][(slice(None), *ends)].reshape(len(X), -1).mean(1))


@pytest.mark.parametrize("name", ["VAE", "DCGAN", "WGANGP", "Contrastive", "LatentSearch", "EncoderSearch"])
@pytest.mark.parametrize("shape", SHAPES[::2])
def test_every_detector_takes_crops_and_is_kept_by_a_file(name, shape, tmp_path):
    X = normals(shape, n=24)
    detector = Crops(tiny(name), size=7, drawn=2, grid=2).fit(X)
    scores = detector.score_samples(X)
    np.testing.assert_allclose(detector.score_samples(X[5:7]), scores[5:7], rtol=2e-5)
    np.testing.assert_array_equal(load(detector.save(tmp_path / "model")).score_samples(X), scores)


def test_a_generator_of_crops_is_searched_without_training_it_again():
    X = normals((1, 9, 9), n=24)
    cropped = Crops(tiny("DCGAN"), size=7).fit(X)
    generator = cropped.generator_
    assert generator is cropped.detector_
    for search in (LatentSearch(generator, steps=2), EncoderSearch(generator, width=2, epochs=1)):
        assert Crops(search, size=7).fit(X).generator_ is generator


def test_what_lies_outside_the_centre_is_reconstructed_as_itself():
    X = normals((1, 9, 9), n=24)
    made = Crops(tiny("VAE"), size=7).fit(X).reconstruct(X)
    changed = made != X
    assert changed[:, :, 1:8, 1:8].all()
    assert not np.delete(np.delete(changed, range(1, 8), 2), range(1, 8), 3).any()


def test_crops_can_what_their_part_can():
    X = normals((1, 9, 9), n=24)
    assert Crops(tiny("DCGAN"), size=7).fit(X).generate(3).shape == (3, 1, 7, 7)
    critic = Crops(tiny("DCGAN"), size=7).fit(X)
    assert not hasattr(critic, "reconstruct")
    assert hasattr(Crops(tiny("VAE"), size=7).fit(X), "reconstruct")
    assert set(critic.history_) == {"discriminator", "generator"}
