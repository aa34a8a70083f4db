"""Triage: every sample once, the most anomalous first, on a page of its own; its reviews come back as labels."""

import csv
import json
import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tiny import normals as blobs
from unlikelihood import PCAResidual
from unlikelihood.cli import triage as command
from unlikelihood.cli.main import main
from unlikelihood.contract.refusals import NoVerdict, judged
from unlikelihood.data.images import Images
from unlikelihood.data.reviews import labelled, read_reviews
from unlikelihood.data.source import Source
from unlikelihood.evaluation.evaluation import Evaluation
from unlikelihood.report import plots

PLAIN = [f"{number:02d}.png" for number in range(16)]
ODD = ('say "a, b".png', "ünïcode <b>.png", "=1+1.png", "a 'b' & c.png")


def write_images(folder, pixels, names=None):
    folder.mkdir(parents=True)
    for number, x in enumerate(pixels):
        name = f"{number:02d}.png" if names is None else names[number]
        Image.fromarray(np.uint8(255 * x[0])).save(folder / name)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model of blobs, and a folder of blobs and noise, with names of all kinds and two files that cannot be read."""
    place = tmp_path_factory.mktemp("triage data")
    write_images(place / "healthy", blobs((1, 8, 8), 100))
    pixels = np.concatenate([blobs((1, 8, 8), 16, seed=1), np.random.default_rng(0).random((4, 1, 8, 8))])
    write_images(place / "new", pixels, [*PLAIN, *ODD])
    (place / "new" / "broken.png").write_bytes(b"\x89PNG, but no more")
    Image.new("L", (5, 9)).save(place / "new" / "other size.png")
    fit = ["fit", "--train", str(place / "healthy"), "--detector", "PCAResidual", "--detector.n_components", "3"]
    assert main([*fit, "--out", str(place / "model")]) == 0
    return place


def triage(place, out, *more):
    data = ["--data", "Folder", "--data.path", str(place / "new")]
    return main(["triage", str(place / "model"), *data, "--out", str(out), *more])


def rows_of(page):
    """Return the attributes of each row of the page's table."""
    found = re.findall(
        r'<tr data-name="(.*?)" data-rank="\d+" data-score="(.*?)" data-p="(.*?)" data-decision="(.*?)" '
        r'data-row="(.*?)" data-review="(.*?)">',
        page,
    )
    return [[unescape(value) for value in row] for row in found]


@pytest.fixture(scope="module")
def page(place):
    assert triage(place, place / "page") == 0
    return (place / "page" / "report.html").read_text(encoding="utf-8")


def test_every_sample_is_there_once_the_most_anomalous_first_and_those_not_judged_last_with_the_reason(place, page):
    rows = rows_of(page)
    names = [row[0] for row in rows]
    assert sorted(names) == sorted(file.name for file in (place / "new").iterdir())
    scores = [float(row[1]) for row in rows[:-2]]
    assert scores == sorted(scores, reverse=True)
    assert set(names[:4]) == set(ODD)
    assert names[-2:] == ["broken.png", "other size.png"]
    assert page.count("Cannot be judged: ") == 2
    assert "broken.png: cannot be read as an image" in page
    assert page.count('<article class="case"') == 20
    with (place / "page" / "ranked.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["name"] for row in table] == names
    assert [row["reason"] != "" for row in table] == [False] * 20 + [True] * 2
    decided = {row["name"]: row["decision"] for row in table}
    assert [row[3] for row in rows] == [decided[name] for name in names]
    assert {decided[name] for name in ODD} <= {"anomalous"}


def test_the_page_asks_the_network_for_nothing_and_names_are_no_markup(page):
    addresses = re.findall(r'(?:src|href|srcset|action|data)=["\'](.*?)["\']|url\((.*?)\)|@import', page)
    assert addresses
    assert all(address.startswith("data:image/") for pair in addresses for address in pair if address)
    assert not re.search(r"https?:|<link|<iframe|fetch\(|XMLHttp", page)
    assert "<b>" not in page


def test_beside_each_case_stand_the_normals_that_the_model_was_fitted_to(place, page, tmp_path, capsys):
    assert "Most alike among normals that it was fitted to" in page
    record = json.loads((place / "model" / "data.json").read_text())
    assert record["train"] == {"source": "Folder", "path": str(place / "healthy")}
    (place / "healthy").rename(place / "moved")
    try:
        assert triage(place, tmp_path / "a") == 0
        said = capsys.readouterr()
        assert "the half of these samples that looks most normal" in said.out
        apart = re.findall(r"<figcaption>([\d.e-]+)</figcaption>", (tmp_path / "a" / "report.html").read_text())
        assert len(apart) == 3 * 20
        assert all(float(distance) > 0 for distance in apart)  # none is said to be like itself
        assert "what the model was fitted to is not shown" in said.err
        assert triage(place, tmp_path / "b", "--normals", str(place / "moved")) == 0
        assert f"normals of {place / 'moved'}" in capsys.readouterr().out
    finally:
        (place / "moved").rename(place / "healthy")


def test_so_many_cases_have_pictures_as_are_asked_for_and_the_table_has_all(place, tmp_path, capsys):
    assert triage(place, tmp_path / "few", "--most", "3", "--alpha", "0.01") == 0
    page = (tmp_path / "few" / "report.html").read_text(encoding="utf-8")
    assert page.count('<article class="case"') == 3
    assert len(rows_of(page)) == 22
    said = capsys.readouterr()
    assert "no decisions: 20 calibration normals cannot hold false alarms to 0.01" in said.err
    assert "shown=3 not_judged=2" in said.out.splitlines()[-1]


def write_reviews(path, said, columns=("name", "review")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *said])
    return path


def reviewed(page, path):
    """Write what the page would export if blobs were found normal, noise anomalous, and 3.png unsure."""
    said = dict.fromkeys(ODD, "anomalous") | {f"{k:02d}.png": "normal" for k in range(12)} | {"03.png": "unsure"}
    rows = [(name, said.get(name, ""), score, p) for name, score, p, *_ in rows_of(page)]
    return write_reviews(path, rows, ("name", "review", "anomaly_score", "p_value"))


def test_reviews_come_back_as_labels_and_to_the_page(place, page, tmp_path, capsys, monkeypatch):
    table = reviewed(page, tmp_path / "reviews.csv")
    names = np.array([*ODD, *PLAIN])
    found = labelled(Images(np.zeros((20, 1, 8, 8)), name=names), read_reviews(table))
    assert dict(zip(found.name.tolist(), found.label.tolist(), strict=True)) == dict.fromkeys(ODD, 1) | {
        f"{k:02d}.png": 0 for k in range(12) if k != 3
    }
    assert found.left_out == {"not reviewed": 4, "unsure in the review": 1}
    assert triage(place, tmp_path / "again", "--reviews", str(table)) == 0
    rows = rows_of((tmp_path / "again" / "report.html").read_text(encoding="utf-8"))
    assert {row[0]: row[5] for row in rows if row[5]} == read_reviews(table).said
    data = ["--data", "Folder", "--data.path", str(place / "new")]
    monkeypatch.setattr(Evaluation, "save", lambda self, path: path)  # which draws for long, and is tested elsewhere
    judge = ["evaluate", str(place / "model"), *data, "--reviews", str(table), "--out", str(tmp_path / "report")]
    assert main(judge) == 0
    said = capsys.readouterr()
    assert "normals=11 anomalies=4 auroc=1.000" in said.out
    assert "15 of the 20 samples were reviewed" in said.err


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [("00.png", "normal"), ("nobody", "anomalous")],
            "line 3: name='nobody', expected one of the 22 samples",
        ),
        ([("00.png", "normal"), ("01.png", ""), ("00.png", "anomalous")], "line 4: name='00.png' for the second time"),
        ([("00.png", "weird")], "line 2: review='weird', expected one of normal, anomalous, unsure"),
        ([], "has no rows"),
    ],
)
def test_a_review_that_cannot_be_meant_is_an_error_that_names_its_row(place, tmp_path, capsys, rows, message):
    table = write_reviews(tmp_path / "reviews.csv", rows)
    assert triage(place, tmp_path / "page", "--reviews", str(table)) == 1
    assert f"--reviews={table}" in (said := capsys.readouterr().err)
    assert message in said
    assert not (tmp_path / "page").exists()


def score(place, out, *more):
    data = ["--data", "Folder", "--data.path", str(place / "new"), "--data.skip_unreadable", "true"]
    return main(["score", str(place / "model"), *data, "--out", str(out), *more])


@pytest.mark.filterwarnings("ignore:2 of 22 images skipped")
def test_probabilities_are_learnt_from_reviews_at_the_prevalence_of_all_that_was_ranked(place, page, tmp_path, capsys):
    table = reviewed(page, tmp_path / "reviews.csv")
    assert score(place, tmp_path / "s.csv", "--reviews", str(table)) == 0
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    probability = {name: float(row["probability"]) for name, row in rows.items()}
    assert min(probability[name] for name in ODD) > max(probability[name] for name in PLAIN)
    assert float(rows["00.png"]["prevalence"]) == pytest.approx(np.mean(list(probability.values())))
    assert score(place, tmp_path / "rare.csv", "--reviews", str(table), "--prevalence", "0.001") == 0
    with (tmp_path / "rare.csv").open(newline="", encoding="utf-8") as file:
        assert all(float(row["probability"]) < probability[row["name"]] for row in csv.DictReader(file))
    lines = table.read_text(encoding="utf-8")
    table.write_text(re.sub(r",0\.\d+$", ",0.5", lines, flags=re.MULTILINE), encoding="utf-8")
    assert score(place, tmp_path / "t.csv", "--reviews", str(table)) == 1
    assert "expected those of this model: their p-values differ" in capsys.readouterr().err
    write_reviews(table, [("00.png", "normal", 1.0)], ("name", "review", "anomaly_score"))
    assert score(place, tmp_path / "t.csv", "--reviews", str(table)) == 1
    assert "1 normal and 0 anomalous samples with an anomaly_score" in capsys.readouterr().err


@pytest.mark.parametrize("given", [["--data", "Folder", "--data.path"], ["--test"]])
def test_an_evaluation_without_labels_names_the_way_out(place, tmp_path, capsys, given):
    out = ["--out", str(tmp_path / "report")]
    assert main(["evaluate", str(place / "model"), *given, str(place / "healthy"), *out]) == 1
    assert f"unlikelihood triage {place / 'model'}; --reviews takes what it exports" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


@dataclass(frozen=True, kw_only=True)
class Given(Source):
    """Images at hand."""

    images: Images

    def read(self):
        return self.images

    def split(self):
        raise NotImplementedError


def test_samples_of_which_nothing_can_be_said_are_rows_with_a_reason_of_their_own(place, tmp_path):
    pixels = blobs((1, 8, 8), 6, seed=2)
    pixels[1, 0, 0, 0], pixels[4] = np.nan, 1e30
    data = Given(images=Images(pixels))
    command.run(place / "model", data, tmp_path / "p", False, None, 200, None, None, "cpu")
    page = (tmp_path / "p" / "report.html").read_text(encoding="utf-8")
    rows = rows_of(page)
    assert sorted(row[0] for row in rows[:4]) == ["0", "2", "3", "5"]
    assert [row[0] for row in rows[4:]] == ["1", "4"]
    reasons = re.findall("Cannot be judged: (.*?)</p>", page)
    assert "NaN or infinity in it" in reasons[0]
    assert "values up to 1e+30 in it" in reasons[1]


def test_a_page_on_which_nothing_can_be_judged_still_names_all(place, tmp_path):
    data = Given(images=Images(np.full((3, 1, 8, 8), np.nan)))
    command.run(place / "model", data, tmp_path / "p", False, None, 200, None, None, "cpu")
    assert [row[0] for row in rows_of((tmp_path / "p" / "report.html").read_text(encoding="utf-8"))] == ["0", "1", "2"]


def test_what_is_judged_does_not_depend_on_what_is_refused(rng):
    X = rng.random((20, 6))
    detector = PCAResidual(n_components=2).fit(rng.random((50, 6)))
    expected = detector.score_samples(X)
    bad = [0, 7, 8, 19]
    X[bad] = np.nan
    scores, why = judged(detector.score_samples, X)
    assert sorted(why) == bad
    kept = np.delete(np.arange(20), bad)
    np.testing.assert_allclose(scores[kept], expected[kept], rtol=1e-6)
    assert np.isnan(scores[bad]).all()

    def inner(X):
        """Raise about parts of samples, as a wrapper does that cuts them up."""
        if np.isnan(X).any():
            raise NoVerdict("nothing in {}", np.ones(3 * len(X) + 1, bool))
        return X[:, 0]

    scores, why = judged(inner, X)
    assert why == dict.fromkeys(bad, "nothing in it")
    np.testing.assert_array_equal(scores[kept], X[kept, 0])


def test_a_page_that_is_there_is_replaced_only_where_that_is_asked_for(place, tmp_path, capsys):
    assert triage(place, tmp_path / "p") == 0
    before = (tmp_path / "p" / "report.html").read_bytes()
    assert triage(place, tmp_path / "p", "--most", "1") == 1
    assert "exists: --overwrite replaces it" in capsys.readouterr().err
    assert (tmp_path / "p" / "report.html").read_bytes() == before
    assert triage(place, tmp_path / "p", "--most", "1", "--overwrite") == 0
    assert (tmp_path / "p" / "report.html").read_bytes() != before


@pytest.mark.parametrize("shape", [(1, 300, 200), (3, 90, 400), (1, 12, 20, 30), (50,)])
def test_pictures_fit_into_the_bytes_that_they_may_have(rng, shape):
    noise, values = rng.random(shape), rng.random(shape[1:] or shape)
    for most in (1000, 5000):
        assert plots.weight(plots.still(noise, (0, 1), most=most)) <= most + 2
        over = plots.heat if len(shape) == 1 else plots.hot_still
        assert plots.weight(over(values, 1.0, most)) <= most + 2
    assert plots.weight(plots.still(noise, (0, 1), most=10**7)) == plots.weight(plots.still(noise, (0, 1)))


def test_a_name_that_two_samples_have_is_refused(place, tmp_path, capsys):
    data = Given(images=Images(blobs((1, 8, 8), 2), name=np.array(["same", "same"])))
    with pytest.raises(ValueError, match="two samples have the name 'same'"):
        command.run(place / "model", data, tmp_path / "p", False, None, 200, None, None, "cpu")
    assert not (tmp_path / "p").exists()


def test_an_error_about_a_place_names_the_flag_that_was_typed(place, tmp_path, capsys):
    assert triage(place, tmp_path / "p", "--normals", "no where") == 1
    assert capsys.readouterr().err.endswith("error: --normals='no where': no such file or folder\n")


@pytest.mark.parametrize("command", ["triage", "score"])
def test_samples_of_another_size_than_the_model_s_are_told_the_flag_that_mends_it(place, tmp_path, capsys, command):
    write_images(tmp_path / "large", blobs((1, 12, 12), 4))
    out = str(tmp_path / ("page" if command == "triage" else "scores.csv"))
    asked = [command, str(place / "model"), "--data", "Folder", "--data.path", str(tmp_path / "large"), "--out", out]
    asked += ["--data.anomalous", "[]"]
    assert main(asked) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "samples of shape (1, 12, 12), expected (1, 8, 8)" in said
    flag = re.search(r"--data\.size=\S+", said)[0]
    assert not Path(out).exists()
    assert main([*asked, flag]) == 0
