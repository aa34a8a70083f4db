"""The places of the planted bugs are still there; whether tests catch the bugs, `python -m benchmarks.mutants` says."""

import pytest
from benchmarks.mutants import ROOT, planted


@pytest.mark.parametrize("mutant", list(planted()), ids=lambda mutant: mutant.name)
def test_a_planted_bug_has_one_place(mutant):
    assert (ROOT / "src" / "unlikelihood" / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1
