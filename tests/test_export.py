"""A file says what its detector says, from the raw sample to the decision."""

import json
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from sklearn.neighbors import LocalOutlierFactor

from tiny import DETECTORS, SHAPES, normals, tiny
from unlikelihood import (
    ELBO,
    KNN,
    VAE,
    AffineCoupling,
    Conformal,
    EncoderSearch,
    Flow,
    Intensity,
    PCAResidual,
    RadialProfile,
    Radiomics,
    Simes,
    Size,
    Texture,
    Thickness,
    TotalIntensity,
)
from unlikelihood.cli.main import main
from unlikelihood.contract import export
from unlikelihood.contract.refusals import NotExportable, NoVerdict

REFUSED = {
    "Estimator": "another library",
    "GradientNorm": "takes a gradient",
    "InputComplexity": "takes a compressor",
    "IsolationForest": "scikit-learn's trees",
    "LatentSearch": "is a search",
    "LikelihoodRegret": "is a search",
    "Radiomics": "Shape counts connected parts",
    "TotalVolume": "measures regions",
}
EXPORTED = sorted({*DETECTORS} - {*REFUSED} | {"Radiomics"})  # as it is of vectors, and without Shape
MEASURED = [Size(), Thickness(), Intensity(), Texture()]
SMALLER = {
    "VAE": {"scoring": ELBO(samples=1)},
    "Committee": {"detectors": [KNN(), TotalIntensity()]},
    "Radiomics": {"families": MEASURED},
}


def raw(shape, n=40, seed=0, dtype="float32"):
    return np.rint(200 * normals(shape, n, seed)).astype(dtype)


@cache
def fitted(name, shape=SHAPES["images"]):
    detector = tiny(name, **SMALLER.get(name, {})).fit(raw(shape))
    return detector.calibrate(raw(shape, n=60, seed=2))


def close(found, expected, calibration):
    # As the file's own check has it: float32 sums, and products that lose small distances.
    allowed = 1e-5 * np.abs(expected).max() + 1e-4 * np.ptp([*expected, *calibration])
    np.testing.assert_allclose(found, expected, rtol=0, atol=allowed)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A calibrated detector, and a session that runs its file of raw samples of 8 bits."""
    detector = PCAResidual(3).fit(raw((1, 4, 4), dtype="uint8"))
    detector.calibrate(raw((1, 4, 4), n=60, seed=2, dtype="uint8"))
    file = tmp_path_factory.mktemp("small") / "model.onnx"
    parity = detector.export(file, "uint8", alpha=0.1)
    assert (parity.samples, parity.decisions) == (64, 0)
    return detector, file


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("name", EXPORTED)
def test_operations_of_torch_score_raw_samples_of_any_type_alike(name, dtype):
    detector, X = fitted(name), raw(SHAPES["images"], n=20, seed=1, dtype=dtype)
    with torch.no_grad():
        found = detector.score_tensor(torch.from_numpy(X)).numpy()
    assert found.dtype == np.float64
    close(found, detector.score_samples(X), detector.calibration_)


@pytest.mark.parametrize("name", EXPORTED)
def test_operations_of_torch_score_vectors_alike(name):
    detector, X = fitted(name, (6,)), raw((6,), n=20, seed=1)
    with torch.no_grad():
        close(detector.score_tensor(torch.from_numpy(X)).numpy(), detector.score_samples(X), detector.calibration_)


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_graph_holds_is_refused_by_name(name, tmp_path):
    with pytest.raises(NotExportable, match=f"^{name} cannot be exported: .*{REFUSED[name]}"):
        tiny(name).fit(raw((1, 8, 8))).export(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 9, 16), (1, 8, 6, 7), (1, 3, 3), (1, 1, 9), (1, 2, 2)], ids=str)
def test_what_is_measured_on_samples_is_the_same_in_operations_of_torch(shape):
    train, X = raw(shape), raw(shape, n=12, seed=1, dtype="float64")
    X[0], X[1], X[2], X[3] = 0, X[1].max(), np.rint(X[2] / 200) * 200, np.random.default_rng(0).normal(90, 60, shape)
    for detector in (Radiomics(MEASURED), Radiomics([Size(), Thickness()]), RadialProfile(), RadialProfile(reach=1.0)):
        detector.fit(train)
        with torch.no_grad():
            found = detector.embed_tensor(torch.from_numpy(X)).numpy()
        expected = detector.embed(X)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5 * np.abs(expected).max())


def test_thickness_of_masks_is_the_same_in_operations_of_torch():
    masks = (normals((1, 9, 9, 9), n=40) > 0.4).astype(np.uint8)
    masks[0] = 0
    detector = Radiomics([Size(), Thickness()]).fit(masks)
    with torch.no_grad():
        found = detector.embed_tensor(torch.from_numpy(masks)).numpy()
    np.testing.assert_allclose(found, detector.embed(masks), rtol=1e-9, atol=1e-9)
    assert np.ptp(found, axis=0).min() > 0


def test_a_part_that_cannot_be_exported_is_named():
    for detector, named in [
        (EncoderSearch(tiny("DCGAN"), refine=1, epochs=1, width=2), "EncoderSearch .* refine is 1"),
        (tiny("Committee", detectors=[tiny("KNN"), tiny("IsolationForest")]), "IsolationForest"),
        (Conformal(LocalOutlierFactor(novelty=True), alpha=0.1), "Conformal .* LocalOutlierFactor"),
    ]:
        with pytest.raises(NotExportable, match=named):
            detector.fit(raw((6,))).score_tensor(torch.zeros(2, 6))


def test_onnx_runtime_says_what_the_detectors_say(tmp_path):
    # Of all of them, one by one, benchmarks/parity.py finds out: to write a file takes seconds.
    detectors = [export.on_its_own(fitted(name)) for name in ("Contrastive", "Committee", "RNADE")]

    class Together(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.graphs = torch.nn.ModuleList(map(export.Graph, detectors))

        def forward(self, samples):
            return tuple(map(torch.stack, zip(*(graph(samples) for graph in self.graphs), strict=True)))

    with torch.no_grad(), export.silent():
        program = export.traced(Together(), torch.zeros(3, *SHAPES["images"], dtype=torch.int16))
        export.write_onnx(program, tmp_path / "together.onnx", {})
    X = raw(SHAPES["images"], n=257, seed=1, dtype="int16")
    answers = []
    for threads in (1, 2):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(tmp_path / "together.onnx", options)
        parts = [session.run(None, {"samples": some}) for some in (X[:1], X[1:])]
        answers.append([np.concatenate(part, 1) for part in zip(*parts, strict=True)])
    for score, p_value, decision in answers:
        for row, detector in enumerate(detectors):
            expected = detector.score_samples(X)
            close(score[row], expected, detector.calibration_)
            clear = np.abs(expected[:, None] - detector.calibration_).min(1) > 1e-3 * np.ptp(expected)
            assert clear.sum() > 50
            np.testing.assert_array_equal(decision[row][clear], detector.predict(X)[clear])
            np.testing.assert_allclose(p_value[row][clear], Conformal(detector).fit().p_value(X)[clear])


def test_a_coupling_flow_of_one_value_is_written(tmp_path):
    detector = Flow(AffineCoupling(), steps=2, width=2, epochs=1).fit(raw((1,)))
    detector.export(tmp_path / "model.onnx", "float32")
    X = raw((1,), n=9, seed=1)
    (found,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(["score"], {"samples": X})
    np.testing.assert_allclose(found, detector.score_samples(X), rtol=1e-5)


def test_p_values_and_decisions_are_exact_where_scores_tie():
    rng = np.random.default_rng(0)
    X, kind = rng.integers(0, 4, (200, 3)).astype(float), rng.integers(0, 2, 200)
    fits = [
        Conformal(TotalIntensity(), alpha=0.2).fit(X),
        Conformal(TotalIntensity().fit(X + 0.5), alpha=0.2).fit(X, kind=kind),
        Conformal(TotalIntensity(), alpha=0.2, guarantee=Simes()).fit(X),
        TotalIntensity(alpha=0.2).fit(X),
    ]
    Y = rng.integers(-1, 6, (500, 3)).astype(float)
    for detector in fits:
        _, p_value, decision = export.Graph(detector)(torch.from_numpy(Y))
        np.testing.assert_array_equal(decision.numpy(), detector.predict(Y))
        decided = detector if isinstance(detector, Conformal) else Conformal(detector).fit()
        np.testing.assert_array_equal(p_value.numpy(), decided.p_value(Y))
        assert len(set(decision.tolist())) == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_a_sample_about_which_nothing_can_be_said_is_never_normal(bad):
    for name in ("KNN", "ForeignPatch", "FeatureSpace", "Committee", "Tiles", "PatchMemory", "VAE"):
        detector, X = fitted(name), raw(SHAPES["images"], n=3, seed=1)
        X[1, 0, 2, 2] = bad
        with pytest.raises(NoVerdict):
            detector.score_samples(X)
        with torch.no_grad():
            score, p_value, decision = export.Graph(export.on_its_own(detector))(torch.from_numpy(X))
        assert score.isnan().tolist() == [False, True, False]
        assert (p_value[1], decision[1]) == (0, -1)


def test_a_file_says_what_it_is_of(small):
    detector, file = small
    session = onnxruntime.InferenceSession(file)
    [given] = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("samples", "tensor(uint8)", [1, 4, 4])
    assert [answer.name for answer in session.get_outputs()] == ["score", "p_value", "decision"]
    said = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert (said["detector"], said["dtype"], said["calibration"]) == ("PCAResidual", "uint8", "60")
    assert json.loads(said["shape"]) == [1, 4, 4]
    assert float(said["alpha"]) == 0.1
    assert float(said["offset"]) == detector.set_params(alpha=0.1).offset_
    assert "higher = more normal" in said["score"]
    assert "not a medical device" in said["use"]


def test_a_calibration_sample_gets_its_own_score_to_the_last_digits(small):
    detector, file = small
    X = raw((1, 4, 4), n=60, seed=2, dtype="uint8")
    score, p_value, decision = onnxruntime.InferenceSession(file).run(None, {"samples": X})
    np.testing.assert_allclose(np.sort(score), detector.calibration_, rtol=1e-12)
    assert p_value.min() > 0
    assert set(decision) == {1, -1}


def test_a_file_that_says_something_else_is_not_written(tmp_path, monkeypatch):
    detector, file = KNN().fit(raw((6,))), tmp_path / "model.pt2"
    file.write_text("before")
    right = KNN._score_tensor
    for wrong in (lambda *given: 1.01 * right(*given), lambda *given: right(*given) + torch.nan):
        monkeypatch.setattr(KNN, "_score_tensor", wrong)
        with pytest.raises(NotExportable, match="more than rounding away"):
            detector.export(file)
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("model.pt2", "before")]


def test_the_command_line_writes_what_torch_loads(tmp_path, capsys):
    detector = fitted("KNN", (6,))
    model = detector.save(tmp_path / "a model")
    assert main(["export", str(model), "--to", "pt2", "--dtype", "float64"]) == 0
    said = capsys.readouterr().out
    assert "compared on 64 random samples" in said
    assert "0 decisions differ" in said
    X = raw((6,), n=5, seed=1, dtype="float64")
    facts = {"metadata.json": ""}
    score, _, decision = torch.export.load(tmp_path / "a model.pt2", extra_files=facts).module()(torch.from_numpy(X))
    close(score.numpy(), detector.score_samples(X), detector.calibration_)
    np.testing.assert_array_equal(decision.numpy(), detector.predict(X))
    assert json.loads(facts["metadata.json"])["detector"] == "KNN"
    assert main(["export", str(model), "--to", "pt2"]) == 1
    assert "--overwrite replaces it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--out", "model.txt"], "expected a name that ends in .onnx or .pt2"),
        (["--to", "pt2", "--out", "model.onnx"], "--out is 'model.onnx', expected a name that ends in .pt2"),
        (["--dtype", "complex64"], "--dtype is 'complex64', expected one of bool"),
        (["--alpha", "0.001"], "--alpha is 0.001, expected at least"),
        (["--alpha", "2"], "alpha is 2"),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_no_file(given, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = fitted("KNN", (6,)).save("model")
    assert main(["export", str(model), *given]) == 1
    assert message in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_exporting_leaves_the_detector_as_it_was(tmp_path):
    detector = VAE(latent=2, width=2, epochs=1, scoring=ELBO(samples=1)).fit(raw((6,)))
    before = detector.score_samples(raw((6,), seed=1))
    detector.export(tmp_path / "model.pt2")
    np.testing.assert_array_equal(detector.score_samples(raw((6,), seed=1)), before)
    assert all(weight.requires_grad for weight in detector.net_.parameters())
    assert not hasattr(detector, "calibration_")
