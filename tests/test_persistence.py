"""Model files: whatever is wrong with one is said before anything is built."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tiny import normals, tiny
from unlikelihood import IWAE, Bernoulli, CorrelatedGaussian, Exemplars, load
from unlikelihood.storage import models as persistence
from unlikelihood.storage.models import FORMAT, ModelFileError, canonical, sha256

X = normals((1, 8, 8))


@pytest.fixture
def saved(tmp_path):
    return tiny("VAE").fit(X).save(tmp_path / "model")


@pytest.fixture(autouse=True)
def nothing_is_built(request, monkeypatch):
    if "refused" in request.node.name:
        monkeypatch.setattr(persistence, "decode", lambda *_: pytest.fail("something was built"))


def rewrite(folder, change, *, weights=None):
    """Change the record, and make its checksums fit again, as a careful forger would."""
    record = json.loads((folder / "detector.json").read_text())
    if weights is not None:
        save_file(weights, folder / "weights.safetensors")
        record["weights"] = sha256((folder / "weights.safetensors").read_bytes())
    change(record)
    record.pop("checksum")
    record["checksum"] = sha256(canonical(record))
    (folder / "detector.json").write_text(json.dumps(record))


@pytest.mark.parametrize("file", ["detector.json", "weights.safetensors"])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_changed_byte_is_refused(saved, file, place):
    data = bytearray((saved / file).read_bytes())
    data[int(place * len(data))] ^= 1
    (saved / file).write_bytes(data)
    with pytest.raises(ModelFileError, match=r"changed|not JSON|format"):
        load(saved)


@pytest.mark.parametrize("name", ["KNN", "VAE"])
def test_the_names_of_columns_are_kept(name, tmp_path):
    detector = tiny(name).fit(normals((3,)))
    detector.feature_names_in_ = np.array(["age", "dose", "size"], object)  # as scikit-learn has it of a data frame
    detector.save(tmp_path / "model")
    found = load(tmp_path / "model").feature_names_in_
    assert found.dtype == object
    assert list(found) == ["age", "dose", "size"]


def test_a_model_without_a_later_parameter_scores_as_it_did(tmp_path):
    X = np.random.default_rng(0).integers(0, 256, (12, 1, 4, 4)) / 255
    flow = tiny("Flow", antithetic=False, levels=256, draws=4).fit(X)
    folder = flow.save(tmp_path / "model")

    def of_format_1(record):
        record["format"] = 1
        del record["detector"]["parameters"]["antithetic"]

    rewrite(folder, of_format_1)
    np.testing.assert_array_equal(load(folder).score_samples(X), flow.score_samples(X))
    assert not np.array_equal(load(folder).score_samples(X), flow.set_params(antithetic=True).score_samples(X))


@pytest.mark.parametrize("file", ["detector.json", "weights.safetensors"])
def test_a_missing_file_is_refused(saved, file):
    (saved / file).unlink()
    with pytest.raises(ModelFileError, match=f"{file} is missing"):
        load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.update(format=99), f"format 99, expected 1 to {FORMAT}"),
        (
            lambda record: record["detector"].update({"$detector": "os.system"}),
            "'os.system' is not a public class",
        ),
        (lambda record: record["detector"]["parameters"].update(evil=1), "VAE has no parameter evil"),
        (
            lambda record: record["detector"]["parameters"]["likelihood"].update({"$part": "Popen"}),
            "'Popen' is not a public class",
        ),
        (lambda record: record["detector"].update({"$detector": "IWAE"}), "IWAE is not the class of a detector"),
        (lambda record: record["detector"].update({"$detector": "Trained"}), "Trained is not the class of a detector"),
        (
            lambda record: record["detector"]["parameters"]["likelihood"].update({"$part": "MNIST"}),
            "MNIST is not the class of a parameter",
        ),
    ],
)
def test_an_unknown_name_is_refused(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(ModelFileError, match=message):
        load(saved)


def test_an_array_of_another_shape_is_refused(saved):
    weights = load_file(saved / "weights.safetensors")
    name = sorted(weights)[0]
    rewrite(saved, lambda record: None, weights=weights | {name: np.zeros((1, 2, 3), np.float32)})
    with pytest.raises(ModelFileError, match=r"is float32 \[1, 2, 3\], expected"):
        load(saved)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="is not a model folder"):
        load(tmp_path)


def test_a_model_that_is_replaced_while_it_is_read_is_read_anew(saved, monkeypatch):
    first, second = load(saved), tiny("VAE", seed=7).fit(X)
    digest, replaced = persistence.digest, []

    def replacing(file):
        found = digest(file)
        if not replaced:
            replaced.append(file)
            second.save(saved)
        return found

    monkeypatch.setattr(persistence, "digest", replacing)
    scores = load(saved).score_samples(X)
    assert np.array_equal(scores, second.score_samples(X))
    assert not np.array_equal(scores, first.score_samples(X))


def test_saving_replaces_the_whole_folder_or_nothing(saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    monkeypatch.setattr(persistence, "seal", lambda record: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tiny("VAE", latent=3).fit(X).save(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_parts_come_back_with_their_parameters_and_what_they_learnt(tmp_path):
    likelihood = CorrelatedGaussian(rank=5, ridge=0.2)
    detector = tiny("VAE", likelihood=likelihood, prior=Exemplars(), scoring=IWAE(7)).fit(X)
    loaded = load(detector.save(tmp_path / "model"))
    assert (loaded.likelihood.rank, loaded.likelihood.ridge, loaded.scoring) == (5, 0.2, IWAE(7))
    np.testing.assert_array_equal(loaded.score_samples(X), detector.score_samples(X))
    assert loaded.history_ == detector.history_


def test_where_a_fit_ran_is_not_part_of_the_model(tmp_path):
    detector = tiny("VAE", device="cpu", likelihood=Bernoulli(), checkpoint=str(tmp_path / "c")).fit(X)
    loaded = load(detector.save(tmp_path / "model"))
    assert (loaded.device, loaded.checkpoint) == ("auto", None)
    assert load(tmp_path / "model", device="cpu").device == "cpu"


def test_an_unfitted_detector_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        tiny("VAE").save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_the_model_card_says_what_was_fitted_and_decided(tmp_path):
    X = normals((1, 8, 8), 100)
    ranks = tiny("KNN").fit(X).save(tmp_path / "ranks")
    decides = tiny("Committee", alpha=0.1).fit(X).save(tmp_path / "decides")
    only, both = ((folder / "README.md").read_text(encoding="utf-8") for folder in (ranks, decides))
    assert "100 normal samples of shape 1 x 8 x 8" in only
    assert "it was not calibrated, and only ranks" in only
    assert "70 normal samples" in both
    assert "from 30 normals that training did not see" in both
    assert "At most 0.1 of new normals" in both
    assert f"below {load(decides).offset_:g}," in both


def test_the_model_card_repeats_the_alarms_of_a_training_that_failed(tmp_path):
    detector = tiny("DCGAN").fit(normals((1, 8, 8)))
    detector.alarms_ = ("its generator collapsed",)
    card = detector.save(tmp_path / "model") / "README.md"
    assert "Do not trust it without a look: its generator collapsed." in card.read_text(encoding="utf-8")


def test_the_model_card_of_few_calibration_normals_says_that_they_decide_nothing(tmp_path):
    X = normals((6,), 40)
    card = tiny("KNN").fit(X[:30]).calibrate(X[30:33]).save(tmp_path / "model") / "README.md"
    assert "none at 0.05: the 3 normals of the calibration are too few" in card.read_text(encoding="utf-8")
