import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from test_evaluation import Distance, Everything, judged, split_of
from unlikelihood.metrics.intervals import Interval
from unlikelihood.metrics.ranking import anomaly_score
from unlikelihood.report import plots
from unlikelihood.report.comparison import Row, save_comparison
from unlikelihood.report.page import apart
from unlikelihood.report.single import headline

SHAPES = [(30,), (1, 8, 8), (3, 9, 12), (2, 8, 8), (1, 6, 8, 8), (1, 30, 8, 8)]


class Page(HTMLParser):
    """Collects what the tests ask of a page, and that its elements close in order."""

    void = {"meta", "br", "img", "link", "input", "hr"}

    def __init__(self, path):
        super().__init__()
        self.open, self.ids, self.links, self.svgs, self.headings = [], [], [], [], []
        self.text = (path / "report.html").read_text(encoding="utf-8")
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes[key] for key in ("href", "src", "xlink:href") if key in attributes]
        if tag == "svg":
            self.svgs.append(attributes)
        if tag in ("h1", "h2"):
            self.headings.append(tag)
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The folder of a report with every section."""
    return judged().save(tmp_path_factory.mktemp("full") / "deep" / "report")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The folder of a report on a detector that only ranks, whose name is markup."""
    return judged(Distance(), name="<script>alert(1)</script>").save(tmp_path_factory.mktemp("bare") / "report")


@pytest.mark.parametrize("shape", [(30,), (3, 9, 12), (1, 30, 8, 8)])
def test_the_report_is_one_file_whatever_the_shape(tmp_path, shape):
    page = Page(judged(shape=shape).save(tmp_path / "report"))
    assert "http" not in page.text
    assert not re.search(r"@import|<script[^>]* src|<link|fetch\(|XMLHttpRequest", page.text)
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert page.open == []


def test_the_page_is_accessible(full):
    page = Page(full)
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.svgs)
    assert len(page.ids) == len(set(page.ids))
    assert page.headings[0] == "h1"
    assert page.headings.count("h1") == 1
    assert '<html lang="en">' in page.text
    assert "not a medical device" in page.text


def test_sections_that_a_detector_lacks_are_absent(full, bare):
    complete, without = Page(full).text, Page(bare).text
    for heading in ("Generated", "Reconstructions", "Training<"):
        assert heading in complete
        assert heading not in without


def test_figures_lie_beside_the_report(full):
    names = {png.stem for png in (full / "figures").iterdir()}
    assert {"densities", "roc", "reliability", "normals", "generated", "most-likely-anomalous"} <= names
    assert {entry.name for entry in full.iterdir()} == {"evaluation.json", "report.html", "figures"}
    assert [entry.name for entry in full.parent.iterdir()] == ["report"]


def test_a_failure_while_drawing_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("out of ink")

    evaluation = judged()
    monkeypatch.setattr(plots, "reconstructions", fail)
    with pytest.raises(RuntimeError, match="out of ink"):
        evaluation.save(tmp_path / "report")
    assert list(tmp_path.iterdir()) == []


def test_saving_again_replaces_the_report_and_nothing_else(tmp_path, bare):
    path = Path(shutil.copytree(bare, tmp_path / "report"))
    (path / "figures" / "generated.png").touch()
    (path / "notes.txt").write_text("mine")
    judged(Distance(), name="Second").save(path)
    assert (path / "notes.txt").read_text() == "mine"
    assert "Second" in (path / "report.html").read_text()
    assert not (path / "figures" / "generated.png").exists()
    assert len(list(tmp_path.iterdir())) == 1


def test_names_cannot_inject_markup(bare):
    text = Page(bare).text
    assert "alert(1)</script>" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_the_headline_says_it_in_plain_words():
    text = headline(judged())
    assert "40 normals and 40 anomalies" in text
    assert "outranks a random normal" in text
    wrong = judged()
    wrong.metrics["auroc"] = Interval(0.3, 0.2, 0.4)
    assert "worse than chance" in headline(wrong)
    wrong.metrics["auroc"] = Interval(0.52, 0.4, 0.6)
    assert "Chance alone" in headline(wrong)
    assert "resampled by group" in headline(judged(group=np.arange(80) // 2))


def test_a_comparison_has_a_line_and_a_curve_for_each(tmp_path):
    evaluation = judged()
    rows = [
        Row("a <b>", evaluation.metrics["auroc"], spread=0.01, seeds=3, reference=0.84, fit_seconds=90),
        Row("thesis & co", Interval(0.66, 0.6, 0.7)),
    ]
    page = Page(save_comparison(tmp_path / "all", "Which", "Two of them.", rows, {"a <b>": evaluation}))
    assert "0.010 (3)" in page.text
    assert "1.5\N{NARROW NO-BREAK SPACE}min" in page.text
    assert "thesis &amp; co" in page.text
    assert len(page.svgs) == 3
    assert page.open == []
    assert (tmp_path / "all" / "comparison.json").exists()


def test_a_comparison_refuses_what_it_cannot_place(tmp_path):
    row = Row("a", Interval(0.6, 0.5, 0.7))
    for rows, evaluations in (([], {}), ([row, row], {}), ([row], {"b": None})):
        with pytest.raises(ValueError, match="must have"):
            save_comparison(tmp_path / "all", "", "", rows, evaluations)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_gallery_takes_any_shape(rng, shape, count):
    figure = plots.gallery(rng.random((count, *shape)), [str(i) for i in range(count)])
    assert figure.get_label()
    plots.svg(figure, "x")


def test_one_volume_alone_is_25_slices(rng):
    assert len(plots.montage(rng.random((1, 32, 8, 8))).axes[0].images) == 25


@pytest.mark.parametrize(
    "score", [np.zeros(20), np.r_[np.zeros(10), np.ones(10)], np.r_[np.zeros(19), 1e9], np.arange(20.0) * 1e-9]
)
def test_odd_scores_can_be_drawn(score):
    label = np.repeat([0, 1], 10)
    for figure in (plots.score_densities(label, score), plots.roc(label, score)):
        assert "nan" not in plots.svg(figure, "x")


def test_a_constant_image_and_one_epoch_can_be_drawn():
    image = np.ones((2, 1, 4, 4))
    for figure in (plots.reconstructions(image, image), plots.training_curve({"network": [1.0]})):
        assert "nan" not in plots.svg(figure, "x")


def test_drawing_changes_no_global_setting():
    before = dict(matplotlib.rcParams)
    plots.svg(plots.score_densities([0, 0, 1, 1], [1.0, 2.0, 3.0, 4.0]), "x")
    assert dict(matplotlib.rcParams) == before


def test_the_operating_points_are_those_of_the_roc_curve():
    from sklearn.metrics import roc_curve

    from unlikelihood.report.operating import steps

    evaluation = judged()
    fpr, tpr, threshold = roc_curve(evaluation.label, anomaly_score(evaluation.score), drop_intermediate=False)
    found = steps(evaluation)
    assert [fp / 40 for _, fp, _, _ in found] == pytest.approx(fpr)
    assert [tp / 40 for _, _, tp, _ in found] == pytest.approx(tpr)
    assert [cut for cut, *_ in found[1:]] == pytest.approx(threshold[1:])
    for cut, *_, p in found[1:]:
        assert p == evaluation.p_value[anomaly_score(evaluation.score) == cut][0]


def test_a_page_without_calibration_says_nothing_of_p_values(tmp_path):
    from unlikelihood.data.splits import Split
    from unlikelihood.evaluation.evaluation import evaluate

    split = split_of()
    bare = Split(split.train, split.calibration[:0], split.test)
    page = Page(evaluate(Distance().fit(split.train.pixels), bare, draws=20).save(tmp_path / "report"))
    assert "Operating points" in page.text
    assert "no p-values and no decisions" in page.text
    for word in ("False alarms promised", "p up to", "<h2>Drift"):
        assert word not in page.text


@pytest.mark.parametrize("classes", [(4, 4), (2, 30), (30, 2)])
def test_few_samples_make_a_report_without_what_they_cannot_show(tmp_path, classes):
    from unlikelihood.data.splits import Split
    from unlikelihood.evaluation.evaluation import evaluate

    split, normal = split_of(), classes[0]
    few = Split(split.train, split.calibration[:4], split.test[np.r_[:normal, 40 : 40 + classes[1]]])
    page = Page(evaluate(Everything().fit(split.train.pixels), few, draws=20).save(tmp_path / "report"))
    assert f"{normal} normals are too few to tell a specificity of 80" in page.text or normal >= 5
    assert "99\N{NARROW NO-BREAK SPACE}% specificity" not in page.text
    assert "none can be raised" in page.text  # by 4 calibration normals, at an α of 0.1


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([20000.3, 20000.4, 21000.0], ["20,000.3", "20,000.4", "21,000"]),
        ([1.0, 1.0, 2.0], ["1.000", "1.000", "2.000"]),
        ([0.0, -1e-12, 3e-7], ["0", "-1e-12", "3e-07"]),
        ([5.0], ["5.000"]),
        ([123456.7, -0.012345], ["123,457", "-0.01235"]),
    ],
)
def test_numbers_have_the_digits_that_tell_them_apart(values, texts):
    assert apart(values) == texts


def test_all_thresholds_differ_and_none_is_only_an_exponent(rng):
    values = np.unique(20000 + rng.normal(size=300)).tolist()
    assert len(set(apart(values))) == len(values)
    assert not any("e" in text for text in apart(values))


def test_titles_side_by_side_do_not_touch(rng):
    figure = plots.gallery(rng.random((8, 1, 8, 8)), ["anomalous"] * 4 + ["123,456.789"] * 4, columns=8)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
