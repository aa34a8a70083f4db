"""Pictures of volumes show the slices that they say, the right way round and in the right proportions."""

import base64
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from test_evaluation import judged
from unlikelihood.cli.main import main
from unlikelihood.report import browser, exhibits, plots
from unlikelihood.report.plots.planes import PLANES, evenly
from unlikelihood.report.plots.stills import glow, overlaid


def numbered(*size):
    """Return a volume (1, D, H, W) whose voxels all differ."""
    return np.arange(np.prod(size), dtype=np.float32).reshape(1, *size)


def decoded(address):
    content = BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))
    return np.asarray(Image.open(content).convert("RGBA")) / 255


def frames(figure):
    """Return (what is drawn, what is written on it) of each picture."""
    (axes,) = figure.axes
    found = []
    for image in axes.images:
        left, right, bottom, top = image.get_extent()
        inside = [
            t for t in axes.texts if left <= t.get_position()[0] <= right and bottom <= t.get_position()[1] <= top
        ]
        found.append((image.get_array(), [text.get_text() for text in inside]))
    return found


def sizes(figure):
    """Return width and height of each picture, as it comes out on paper."""
    figure.draw_without_rendering()
    boxes = [image.get_window_extent() for image in figure.axes[0].images]
    return [(box.width, box.height) for box in boxes]


def proportions(figure):
    return [height / width for width, height in sizes(figure)]


@pytest.mark.parametrize("depth", [3, 25, 40])
def test_a_montage_shows_the_slices_it_says_in_order(depth):
    volume = numbered(depth, 7, 8)
    shown = frames(plots.montage(volume))
    numbers = [int(texts[0]) for _, texts in shown]
    assert numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1], len(numbers)) == (1, depth, min(depth, 25))
    for (drawn, _), number in zip(shown, numbers, strict=True):
        np.testing.assert_array_equal(drawn, volume[0, number - 1])


@pytest.mark.parametrize("plane", PLANES, ids=lambda plane: plane.name)
def test_slices_run_along_their_plane_and_upward_where_it_says(plane):
    volume = numbered(6, 7, 8)
    for number, drawn in enumerate(plane.slices(volume)):
        expected = np.take(volume[0], number, axis=plane.across)
        np.testing.assert_array_equal(drawn[0], expected[::-1] if plane.upward else expected)


def test_a_voxel_lies_at_the_edges_that_it_is_named_after():
    volume = np.zeros((1, 9, 9, 9))
    volume[0, 8, 8, 8] = 1  # of axes that grow to the head, the back and the left
    sides = {}
    for plane in PLANES:
        left, right, top, bottom = plane.edges("SPL")
        y, x = np.argwhere(plane.slices(volume)[8, 0])[0]
        sides[plane.name] = {right if x == 8 else left, bottom if y == 8 else top}
    assert sides == {"axial": {"L", "P"}, "coronal": {"L", "S"}, "sagittal": {"P", "S"}}
    # As radiologists look at it: the right of the body is on the left of the page, the head above.
    assert plots.AXIAL.edges("SPL") == ("R", "L", "A", "P")
    assert plots.CORONAL.edges("SPL") == ("R", "L", "S", "I")
    assert plots.SAGITTAL.edges("SPL") == ("A", "P", "S", "I")
    assert plots.CORONAL.edges("IPR") == ("L", "R", "I", "S")
    assert "".join(plots.AXIAL.edges(None)) == ""


def test_letters_are_written_where_the_orientation_is_known():
    volume = numbered(4, 5, 6)
    texts = [texts for _, texts in frames(plots.triptych(volume[None], orientation="SPL"))]
    assert texts == [["R", "L", "A", "P"], ["R", "L", "S", "I"], ["A", "P", "S", "I"]]
    assert not any(texts for _, texts in frames(plots.triptych(volume[None])))
    assert frames(plots.montage(volume, orientation="SPL"))[0][1] == ["1", "R", "L", "A", "P"]
    for figure in (
        plots.gallery(volume[None], orientation="SPL"),
        plots.gallery(volume[None, :, 0], orientation="PL"),
        plots.reconstructions(volume[None], volume[None], orientation="SPL"),
    ):
        assert frames(figure)[0][1] == ["R", "L", "A", "P"]


def test_pictures_are_as_wide_and_as_high_as_what_they_show():
    volume, spacing = numbered(6, 10, 20), (5.0, 2.0, 0.5)  # 30 mm, 20 mm and 10 mm
    assert proportions(plots.montage(volume, spacing=spacing)) == pytest.approx([2] * 6, rel=0.01)
    three = plots.triptych(volume[None].repeat(2, 0), spacing=spacing)
    assert proportions(three) == pytest.approx([2, 3, 1.5] * 2, rel=0.01)
    image = np.zeros((2, 1, 10, 20))
    assert proportions(plots.gallery(image, spacing=(2.0, 0.5))) == pytest.approx([2, 2], rel=0.01)
    assert proportions(plots.gallery(image)) == pytest.approx([0.5, 0.5], rel=0.01)
    again = plots.reconstructions(image, image, spacing=(2.0, 0.5))
    assert proportions(again) == pytest.approx([2] * 8, rel=0.01)


def test_the_three_planes_have_one_scale():
    figure = plots.triptych(numbered(6, 10, 20)[None], spacing=(5.0, 2.0, 0.5))
    in_mm = [(10, 20), (10, 30), (20, 30)]
    per_mm = [np.divide(on_paper, size) for on_paper, size in zip(sizes(figure), in_mm, strict=True)]
    assert np.ptp(per_mm) < 0.03 * np.mean(per_mm)


def test_the_busiest_slices_are_where_a_map_has_most():
    values = np.zeros((8, 9, 10))
    values[2:4, 5:7, 1:3] = 1
    values[2, 5, 1] = 3
    assert plots.busiest(values) == (2, 5, 1)


def test_a_map_covers_what_it_marks_and_leaves_the_rest_grey():
    plane, values = np.array([[0.0, 1.0, 0.0, 1.0]]), np.array([[0.0, 0.0, 2.0, 2.0]])
    shown = overlaid(plane, values, (0, 1), 2.0)
    np.testing.assert_array_equal(shown[0, 0], 0)
    assert len(set(shown[0, 1])) == 1
    assert 0 < shown[0, 1, 0] < 0.7
    np.testing.assert_allclose(shown[0, 2:], glow(values, 2.0)[0, 2:, :3])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_holds_every_slice_where_it_says(rng, channels):
    volume = rng.random((channels, 7, 5, 6))
    sheet = plots.sheet(volume, (0.0, 1.0))
    assert (sheet.size, sheet.step, sheet.columns) == ((7, 5, 6), (1, 1, 1), 3)
    pixels = decoded(sheet.source)
    assert pixels.shape[:2] == (15, 18)
    for z in range(7):
        y, x = 5 * (z // 3), 6 * (z % 3)
        expected = np.broadcast_to(volume[:, z].transpose(1, 2, 0), (5, 6, 3))
        np.testing.assert_allclose(pixels[y : y + 5, x : x + 6, :3], expected, atol=1 / 255)


def test_the_sheet_of_a_large_volume_is_thinned():
    sheet = plots.sheet(numbered(4, 200, 64), (0, 1))
    assert (sheet.size, sheet.step) == ((4, 50, 64), (1, 4, 1))


def test_a_map_is_clear_where_nothing_is_unusual():
    values = np.zeros((4, 3, 3))
    values[2, 1, 1] = 5
    opacity = decoded(plots.hot_sheet(values, 5.0).source)[..., 3]
    assert np.argwhere(opacity).tolist() == [[3 + 1, 1]]


def test_reconstructions_of_a_volume_show_the_slice_of_which_most_is_left():
    x = np.zeros((2, 1, 9, 4, 4))
    x[0, 0, 3], x[1, 0, 8, 0, 0] = 1, 1
    figure = plots.reconstructions(x, np.zeros_like(x))
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts if "slice" in text.get_text()] == ["slice 4", "slice 9"]
    assert len(axes.images) == 8
    second = max(axes.images, key=lambda image: (image.get_extent()[3], image.get_extent()[0]))  # above, on the right
    np.testing.assert_array_equal(second.get_array(), x[1, 0, 8])


def test_show_draws_the_slices_of_the_volume_asked_for(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((3, 1, 30, 8, 8), dtype=np.float32))
    arguments = ["show", "--data", "Arrays", "--data.path", str(tmp_path / "x.npy")]
    assert main([*arguments, "--out", str(tmp_path / "g.png"), "--sample", "2"]) == 0
    assert "1, 2, 3, 5, 6" in (said := capsys.readouterr().out)
    assert "30 of 30" in said
    assert {"g.png", "g-slices.png"} <= {entry.name for entry in tmp_path.iterdir()}
    assert main([*arguments, "--out", str(tmp_path / "h.png"), "--sample", "3"]) != 0
    assert "sample is 3, expected one from 0 to 2" in capsys.readouterr().err
    assert not list(tmp_path.glob("h*"))


@pytest.fixture(scope="module")
def evaluation():
    return judged(shape=(1, 5, 6, 7))


def test_the_report_says_how_many_volumes_can_be_scrolled(evaluation, monkeypatch, tmp_path):
    shown = exhibits.choose(evaluation.detector, evaluation.split, evaluation.score)
    count = len(shown.cases.index)
    assert f"All {count} cases can be scrolled" in browser.browse(evaluation, shown).text
    monkeypatch.setattr(browser, "SCROLLED", 1)
    page = (evaluation.save(tmp_path / "report") / "report.html").read_text()
    assert f"The first 1 of the {count} cases can be scrolled" in page
    assert page.count("data-volume=") == 1
    assert page.count('<article class="case"') == count


def test_the_planes_are_named_with_caution_where_the_axes_are_not_known(evaluation):
    shown = exhibits.choose(evaluation.detector, evaluation.split, evaluation.score)
    assert "How the axes lie in the body is not known" in browser.browse(evaluation, shown).text
    known = replace(evaluation, data=evaluation.data | {"orientation": "SPL"})
    section = browser.browse(known, shown)
    assert "not known" not in section.text
    assert section.panel.values["cases"][0]["volume"]["layout"]["edges"][0] == ("R", "L", "A", "P")


def test_names_of_volumes_cannot_inject_markup(evaluation, tmp_path):
    evil = "'\"><script>alert(1)</script>"
    named = replace(evaluation, sample=[evil] * len(evaluation.label))
    page = (named.save(tmp_path / "report") / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&#39;&#34;&gt;&lt;script&gt;" in page


def test_evenly_spaced_slices_hold_both_ends():
    for depth in (1, 2, 24, 25, 26, 100):
        picked = evenly(depth)
        assert len(picked) == len(set(picked)) == min(depth, 25)
        assert (picked[0], picked[-1]) == (0, depth - 1)
