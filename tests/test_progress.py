"""What long work says where nobody sees a bar."""

import pytest

from unlikelihood import progress as module
from unlikelihood.progress import progress, stage


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def lines(capsys, clock, seconds, **bar):
    with progress(**bar) as update:
        for _ in range(4):
            clock[0] += seconds
            update(note="loss 2")
    return capsys.readouterr().err.splitlines()


def test_a_log_file_gets_a_line_every_half_minute(capsys, clock):
    said = lines(capsys, clock, 20.0, title="Fitting", total=14, start=10)
    assert said == ["Fitting: 12 of 14, loss 2, 0:00:40 left", "Fitting: 14 of 14, loss 2, 0:00:00 left"]
    assert lines(capsys, clock, 31.0, title="Reading", total=None)[0] == "Reading: 1, loss 2"


def test_what_is_quick_or_has_no_title_says_nothing(capsys, clock):
    assert lines(capsys, clock, 1.0, title="Fitting", total=4) == []
    assert lines(capsys, clock, 60.0, title="", total=4) == []


def test_a_line_says_in_which_stage_of_how_many_it_is(capsys, clock):
    with stage(2, 3), stage(1, 4, "VAE"):
        said = lines(capsys, clock, 31.0, title="Fitting", total=4)
        assert lines(capsys, clock, 31.0, title="", total=4) == []
    assert said[0] == "stage 2 of 3, stage 1 of 4 (VAE), Fitting: 1 of 4, loss 2, 0:01:33 left"
    assert lines(capsys, clock, 31.0, title="Reading", total=4)[0].startswith("Reading: 1 of 4")
