"""The report in a real browser: offline, without errors, by mouse and by keyboard, at two widths."""

import csv
import time
from dataclasses import replace

import numpy as np
import pytest

from chromium import PROGRAM, Chromium
from test_evaluation import Distance, judged
from tiny import normals
from unlikelihood import PCAResidual
from unlikelihood.data.images import Images
from unlikelihood.data.reviews import read_reviews
from unlikelihood.evaluation.columns import decider, table_of
from unlikelihood.metrics.ranking import anomaly_score
from unlikelihood.report.comparison import Row, save_comparison
from unlikelihood.report.exhibits import choose as choose_exhibits
from unlikelihood.report.maps import Maps
from unlikelihood.report.plots import limits_of
from unlikelihood.report.plots.planes import PLANES
from unlikelihood.report.single import draw
from unlikelihood.report.triage import Found, Normals, save_triage

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
WIDTHS = {"wide": 1280, "narrow": 390}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def evaluation():
    return judged(shape=(1, 12, 12))


@pytest.fixture(scope="module")
def report(evaluation, tmp_path_factory):
    return evaluation.save(tmp_path_factory.mktemp("page") / "report") / "report.html"


@pytest.mark.parametrize("shape", [(30,), (3, 9, 12), (1, 30, 8, 8)])
def test_a_report_opens_without_network_errors_or_sideways_scrolling(browser, tmp_path, shape):
    page = judged(shape=shape).save(tmp_path / "report") / "report.html"
    for width in WIDTHS.values():
        browser.open(page, width)
        assert browser.requested == []
        assert browser.complaints == []
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run("[...document.images].every((each) => each.complete && each.naturalWidth > 0)")


def test_a_comparison_opens_too(browser, evaluation, tmp_path):
    rows = [Row(name, evaluation.metrics["auroc"]) for name in "ab"]
    other = judged(shape=(1, 12, 12), seed=1)
    browser.open(save_comparison(tmp_path / "all", "Two", "", rows, {"a": evaluation, "b": other}) / "report.html")
    assert browser.requested == []
    assert browser.complaints == []
    assert "Is the difference real" in browser.run("document.body.textContent")


def test_what_would_be_caught_is_caught(browser, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<script src='https://example.org/x.js'></script><script>console.error('no')</script>")
    browser.open(page)
    assert browser.requested == ["https://example.org/x.js"]
    assert len(browser.complaints) >= 2


def shown(browser):
    at, said = "+document.querySelector('#operate-at').value", "document.querySelector('#operate-said').textContent"
    return browser.run(f"({{at: {at}, said: {said}}})")


def visible(browser):
    cases = "[...document.querySelectorAll('.case')].filter((each) => each.offsetParent)"
    return browser.run(f"{cases}.map((each) => each.querySelector('h3').textContent)")


def test_the_slider_moves_by_keyboard_and_says_what_the_counts_are(browser, report, evaluation):
    browser.open(report)
    start = shown(browser)
    label, score = evaluation.label, anomaly_score(evaluation.score)
    cut = np.sort(score[label == 0])[-3]  # of 40 normals, a specificity of 95 % allows 2
    assert f"{np.sum(score[label == 1] > cut)} of 40 anomalies found, 2 of 40 normals flagged" in start["said"]
    browser.run("document.querySelector('#operate-at').focus()")
    browser.press("ArrowRight", times=3)
    moved = shown(browser)
    assert moved["at"] == start["at"] + 3
    assert moved["said"] != start["said"]
    browser.press("Home")
    assert "0 of 40 anomalies found, 0 of 40 normals flagged" in shown(browser)["said"]
    browser.press("End")
    assert "40 of 40 anomalies found, 40 of 40 normals flagged" in shown(browser)["said"]
    assert "sensitivity 100.0" in browser.run("document.querySelector('#operate-at').getAttribute('aria-valuetext')")


def test_the_prevalence_changes_how_often_an_alarm_is_right(browser, report, evaluation):
    browser.open(report)
    right = "document.querySelector('[data-show=ppv]').firstChild.textContent"
    field = "document.querySelector('#operate-prevalence')"
    set_to = f"({field}.value = {{}}, {field}.dispatchEvent(new Event('input')))"
    browser.run("document.querySelector('#operate-at').focus()")
    browser.press("End")
    for rare in (500, 20):  # where everything is flagged, an alarm is right as often as anomalies occur
        browser.run(set_to.format(rare))
        assert browser.run(right).startswith(f"{rare / 10:.1f}")


def test_cases_are_gone_through_by_keyboard_and_mouse(browser, report, evaluation):
    browser.open(report)
    exhibits = choose_exhibits(evaluation.detector, evaluation.split, evaluation.score)
    order = [evaluation.sample[index] for index in exhibits.cases.index]
    assert order[:12] == [evaluation.sample[index] for index in np.argsort(evaluation.score)[:12]]
    assert visible(browser) == order[:1]
    browser.run("document.querySelector('[data-step=\"1\"]').focus()")
    browser.press("ArrowRight", times=2)
    assert visible(browser) == order[2:3]
    browser.press("End")
    assert visible(browser) == order[-1:]
    browser.press("ArrowRight")
    assert visible(browser) == order[-1:]
    browser.run("document.querySelector('[data-case=\"4\"]').click()")
    assert visible(browser) == order[4:5]
    assert browser.run("document.querySelector('.bar output').textContent").startswith(f"5 of {len(order)}: {order[4]}")


def test_everything_that_can_be_moved_is_reached_by_tab_and_named(browser, report):
    browser.open(report)
    reached = set()
    for _ in range(15):
        browser.press("Tab")
        reached.add(
            browser.run(
                "document.activeElement.id || document.activeElement.dataset.step || document.activeElement.tagName"
            )
        )
    assert {"operate-at", "operate-prevalence", "-1", "1", "BUTTON", "SUMMARY"} <= reached
    unnamed = "[...document.querySelectorAll('img:not([alt]), svg:not([aria-label])')].length"
    assert browser.run(unnamed) == 0
    assert browser.run("[...document.querySelectorAll('.case img')].every((each) => each.alt)")


def test_without_scripts_every_case_and_the_table_are_there(browser, report):
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(report)
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.run("[...document.querySelectorAll('.case')].every((each) => each.offsetParent)")
    assert browser.run("document.querySelector('[data-operate]').offsetParent === null")


@pytest.fixture(scope="module")
def volumes():
    """An evaluation of volumes of 3 x 2 x 1 mm, and exhibits of it whose voxels all differ, without a map."""
    made = judged(Distance(), shape=(1, 5, 6, 7))
    exhibits = choose_exhibits(made.detector, made.split, made.score)
    count = len(exhibits.cases.index)
    voxels = np.arange(5 * 6 * 7, dtype=np.float32).reshape(1, 1, 5, 6, 7) + np.arange(count).reshape(-1, 1, 1, 1, 1)
    made = replace(made, data=made.data | {"spacing_mm": [3.0, 2.0, 1.0]})
    return made, replace(exhibits, cases=replace(exhibits.cases, pixels=voxels))


def saved(volumes, path):
    path.mkdir()
    draw(volumes[0], path, volumes[1])
    return path / "report.html"


@pytest.fixture
def scroller(browser, volumes, tmp_path):
    browser.open(saved(volumes, tmp_path / "report"))
    browser.run("Promise.all([...document.images].map((each) => each.decode())).then(() => true)")
    return browser


FIRST = "[...document.querySelectorAll('.case')].find((each) => each.offsetParent)"
CANVAS = f"{FIRST}.querySelector('canvas')"


def drawn(browser):
    """Return the grey values of the first canvas that is visible, (rows, columns)."""
    read = f"((c) => [c.width, c.height, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]])({CANVAS})"
    width, height, values = browser.run(read)
    return np.array(values).reshape(height, width, 4)[..., 0]


def choose(browser, plane):
    box = f"{FIRST}.querySelector('select')"
    browser.run(f"(({box}).value = {plane!r}, ({box}).dispatchEvent(new Event('change')))")


def said(browser):
    return browser.run(f"{FIRST}.querySelector('.scroller output').textContent")


@pytest.mark.parametrize("plane", PLANES, ids=lambda plane: plane.name)
def test_the_slice_that_is_asked_for_is_the_one_that_is_drawn(scroller, volumes, plane):
    low, high = limits_of(volumes[1].cases.pixels)
    choose(scroller, plane.name)
    slices = plane.slices(volumes[1].cases.pixels[0])
    slider = f"{FIRST}.querySelector('input')"
    for number, slice_ in enumerate(slices):
        scroller.run(f"(({slider}).value = {number}, ({slider}).dispatchEvent(new Event('input')))")
        assert said(scroller) == f"{plane.name} slice {number + 1} of {len(slices)}"
        expected = 255 * np.clip((slice_[0] - low) / (high - low), 0, 1)
        np.testing.assert_allclose(drawn(scroller), expected, atol=1.01)
    mm = [3, 2, 1]
    shape = scroller.run(f"((r) => r.height / r.width)({CANVAS}.getBoundingClientRect())")
    rows, columns = slices.shape[2:]
    assert shape == pytest.approx(rows * mm[plane.rows] / (columns * mm[plane.columns]), rel=0.03)


def test_volumes_are_scrolled_by_keyboard_without_leaving_the_case(scroller, volumes):
    before = visible(scroller)
    scroller.run(f"{FIRST}.querySelector('input').focus()")
    assert said(scroller) == "axial slice 3 of 5"
    scroller.press("ArrowRight")
    assert said(scroller) == "axial slice 4 of 5"
    scroller.press("ArrowRight", times=3)
    assert said(scroller) == "axial slice 5 of 5"
    scroller.press("Home")
    assert said(scroller) == "axial slice 1 of 5"
    assert visible(scroller) == before
    assert scroller.run("document.activeElement.getAttribute('aria-valuetext')") == said(scroller)
    assert scroller.run(f"{CANVAS}.getAttribute('aria-label')") == "as it is, axial slice 1 of 5"


def test_the_wheel_scrolls_slices_and_at_their_end_the_page(scroller):
    scroller.run(f"{CANVAS}.scrollIntoView()")
    top = scroller.run("scrollY")
    scroller.turn("canvas", 1)
    assert (said(scroller), scroller.run("scrollY")) == ("axial slice 4 of 5", top)
    scroller.turn("canvas", -2)
    assert (said(scroller), scroller.run("scrollY")) == ("axial slice 2 of 5", top)
    scroller.turn("canvas", 3)
    assert said(scroller) == "axial slice 5 of 5"


def test_the_next_case_is_seen_in_the_same_plane(scroller):
    choose(scroller, "coronal")
    before = drawn(scroller)
    scroller.run("document.querySelector('[data-step=\"1\"]').click()")
    assert said(scroller).startswith("coronal slice")
    assert (drawn(scroller) >= before).all()
    assert (drawn(scroller) > before).any()


def test_the_map_lies_over_the_sample_where_it_is_strongest(browser, volumes, tmp_path):
    made, exhibits = volumes
    values = np.zeros((len(exhibits.cases.index), 5, 6, 7), np.float32)
    values[:, 1, 4, 2] = 1
    known = replace(exhibits, cases=replace(exhibits.cases, maps=Maps(values, 1.0, "left over", "of intensity")))
    browser.open(saved((made, known), tmp_path / "report"))
    browser.run("Promise.all([...document.images].map((each) => each.decode())).then(() => true)")
    assert said(browser) == "axial slice 2 of 5"
    over = f"{FIRST}.querySelector('.over canvas')"
    read = f"((c) => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])({over})"
    red, green, blue, _ = np.array(browser.run(read)).reshape(6, 7, 4).transpose(2, 0, 1)
    coloured = (np.abs(red - green) > 2) | (np.abs(red - blue) > 2)
    assert np.argwhere(coloured).tolist() == [[4, 2]]
    np.testing.assert_allclose(red[~coloured], 0.6 * drawn(browser)[~coloured], atol=2)


def test_a_slider_takes_the_map_off_the_sample(browser, volumes, report, tmp_path):
    made, exhibits = volumes
    values = np.ones((len(exhibits.cases.index), 5, 6, 7), np.float32)
    known = replace(exhibits, cases=replace(exhibits.cases, maps=Maps(values, 1.0, "left over", "of intensity")))
    fade = "document.querySelector('[data-fade]')"
    browser.open(saved((made, known), tmp_path / "report"))
    browser.run("Promise.all([...document.images].map((each) => each.decode())).then(() => true)")
    read = "((c) => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])"
    over = f"{read}({FIRST}.querySelector('.over canvas'))"
    covered = browser.run(over)
    browser.run(f"({fade}.value = 0, {fade}.dispatchEvent(new Event('input')))")
    bare = np.array(browser.run(over)).reshape(6, 7, 4)
    np.testing.assert_allclose(bare[..., 0], drawn(browser), atol=1)
    assert not np.array_equal(bare.ravel(), covered)
    browser.open(report)
    strength = "getComputedStyle(document.querySelector('.laid .map')).opacity"
    assert browser.run(strength) == "1"
    browser.run(f"({fade}.value = 25, {fade}.dispatchEvent(new Event('input')))")
    assert browser.run(strength) == "0.25"
    same = (
        "((a, b) => [a.x, a.y, a.width, a.height].every((v, k) => Math.abs(v - [b.x, b.y, b.width, b.height][k]) < 1))"
    )
    boxes = ", ".join(f"document.querySelector('.laid {each}').getBoundingClientRect()" for each in ("img", ".map"))
    assert browser.run(f"{same}({boxes})")
    assert browser.complaints == []


def test_without_scripts_volumes_are_laid_out_slice_by_slice(browser, volumes, tmp_path):
    page = saved(volumes, tmp_path / "report")
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.requested == []
    assert browser.run("[...document.querySelectorAll('.volume img')].every((each) => each.offsetParent)")
    assert browser.run("[...document.querySelectorAll('.scroller')].every((each) => !each.offsetParent)")
    shape = browser.run("((r) => r.height / r.width)(document.querySelector('.volume img').getBoundingClientRect())")
    assert shape == pytest.approx(2 * 6 * 2 / (3 * 7 * 1), rel=0.03)


def triage(path, shape=(1, 8, 8), most=6):
    """Write the page of nine samples, of which so many have pictures, and of one that cannot be judged."""
    known, new = normals(shape, 60), normals(shape, 9, seed=1)
    detector = PCAResidual(n_components=3).fit(known[:30]).calibrate(known[30:])
    images = Images(new, name=np.array([f'{number}, "b".png' for number in range(9)]))
    columns = table_of(images, detector.score_samples(new), decider(detector, 0.1))
    found = Found(images, columns, {"bad.png": "it is broken"})
    return save_triage(path, detector, found, Normals(known, "normals"), {}, most=most) / "report.html"


def ranked(path):
    with (path.parent / "ranked.csv").open(newline="", encoding="utf-8") as file:
        return [row["name"] for row in csv.DictReader(file)]


TALLY = "document.querySelector('[data-tally]').textContent"
THUMBS = "[...document.querySelectorAll('.thumbs li:not([hidden]) > button')].map((each) => Number(each.dataset.case))"


def test_a_review_by_keyboard_is_kept_and_exported(browser, tmp_path):
    page = triage(tmp_path / "page")
    names = ranked(page)
    browser.open(page)
    browser.run("localStorage.clear()")
    browser.open(page)
    for key in "anu":  # each goes on to the next case
        browser.press(key)
    assert visible(browser) == names[3:4]
    browser.press("k", times=3)
    assert visible(browser) == names[:1]
    assert browser.run("document.querySelector('[data-verdict=anomalous]').getAttribute('aria-pressed')") == "true"
    browser.press("ArrowRight")
    browser.press("n")  # the same again takes it back
    assert visible(browser) == names[1:2]
    browser.press("j", times=3)
    browser.press("n")
    assert browser.run(TALLY) == "3 of 10 reviewed: 1 normal, 1 anomalous, 1 unsure"
    box = "document.querySelector('tr[data-name=\"bad.png\"] select')"
    browser.run(f"({box}.value = 'anomalous', {box}.dispatchEvent(new Event('change')))")
    expected = {names[0]: "anomalous", names[2]: "unsure", names[4]: "normal", "bad.png": "anomalous"}
    browser.open(page)
    assert browser.run(TALLY) == "4 of 10 reviewed: 1 normal, 2 anomalous, 1 unsure"
    browser.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.run("document.querySelector('[data-export]').click()")
    until = time.monotonic() + 20
    while not (tmp_path / "reviews.csv").exists() and time.monotonic() < until:
        time.sleep(0.02)
    reviews = read_reviews(tmp_path / "reviews.csv")
    assert reviews.said == expected
    assert reviews.name.tolist() == names
    assert np.isfinite(reviews.anomaly_score[:9]).all()
    assert np.isfinite(reviews.p_value[:9]).all()
    assert browser.requested == []
    assert browser.complaints == []


def test_a_review_is_filtered_and_sorted_and_steps_go_along_what_is_shown(browser, tmp_path):
    page = triage(tmp_path / "page")
    names = ranked(page)
    browser.open(page)
    browser.run("localStorage.clear()")
    browser.open(page)
    browser.press("n")
    browser.press("n")
    set_to = "((at, to) => { const box = document.querySelector(at); box.value = to; "
    set_to += "['input', 'change'].forEach((kind) => box.dispatchEvent(new Event(kind))); })"
    browser.run(f"{set_to}('[data-show]', 'unreviewed')")
    assert browser.run(THUMBS) == [2, 3, 4, 5]
    assert visible(browser) == names[2:3]
    browser.press("a")  # it leaves the list, and the next is looked at
    assert visible(browser) == names[3:4]
    assert browser.run(THUMBS) == [3, 4, 5]
    browser.run(f"{set_to}('[data-sort]', '-rank')")
    assert browser.run(THUMBS) == [5, 4, 3]
    browser.press("k")
    assert visible(browser) == names[4:5]
    browser.run(f"{set_to}('[data-show]', '')")
    browser.run(f"{set_to}('[data-search]', {names[1][:2]!r})")
    assert browser.run(THUMBS) == [1]
    assert visible(browser) == names[1:2]
    shown = browser.run("[...document.querySelectorAll('tbody tr:not([hidden])')].map((each) => each.dataset.name)")
    assert shown == names[1:2]
    assert browser.complaints == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("shape", [(12,), (3, 9, 12), (1, 8, 8, 8)])
def test_a_triage_opens_without_network_errors_or_sideways_scrolling(browser, tmp_path, shape, width):
    browser.open(triage(tmp_path / "page", shape), WIDTHS[width])
    assert browser.requested == []
    assert browser.complaints == []
    assert browser.run("document.documentElement.scrollWidth") <= WIDTHS[width]
    assert browser.run("[...document.images].every((each) => each.complete && each.naturalWidth > 0)")


def test_a_key_takes_the_map_off_and_puts_it_back(browser, tmp_path):
    browser.open(triage(tmp_path / "page"))
    strength = "getComputedStyle(document.querySelector('.laid .map')).opacity"
    assert browser.run(strength) == "1"
    browser.press("m")
    assert browser.run(strength) == "0"
    browser.run("document.querySelector('[data-fade]').focus()")
    browser.press("m")
    assert browser.run(strength) == "1"
    before = browser.run(TALLY)
    browser.run("document.querySelector('[data-search]').focus()")
    browser.press("n")  # is typed
    assert browser.run(TALLY) == before
