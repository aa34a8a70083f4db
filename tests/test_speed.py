"""The speed harness names what it leaves out, and runs the package of another commit as that package runs itself."""

import numpy as np
import pytest
from benchmarks import before, speed

from tiny import normals
from unlikelihood import PCAResidual


def test_a_library_that_is_not_installed_is_named_in_the_row():
    def missing():
        import no_such_library

        return no_such_library.read

    case = speed.Case({speed.OURS: lambda: None}, count=2).beside(theirs=lambda: lambda: None, other=missing)
    row = speed.measured(case, rounds=1)
    assert list(row["milliseconds each"]) == [speed.OURS, "theirs"]
    assert row["absent"] == ["other (No module named 'no_such_library')"]


def test_samples_are_repeated_in_their_order():
    X = np.arange(6).reshape(3, 2)
    np.testing.assert_array_equal(speed.repeated(X, 4), [[0, 1], [2, 3], [4, 5], [0, 1]])
    np.testing.assert_array_equal(speed.repeated(X, 2), X[:2])


def test_a_package_in_a_process_scores_as_it_does_here(tmp_path):
    train, test = normals((1, 8, 8)), normals((1, 8, 8), n=7, seed=1)
    np.save(tmp_path / "train.npy", train)
    np.save(tmp_path / "test.npy", test)
    package = before.Package(before.ROOT / "src", tmp_path)
    lines = ("detector = PCAResidual(3).fit(train)", "scores = detector.score_samples(test)")
    assert all(package.seconds(line) > 0 for line in lines)
    package.process.communicate()  # which ends it, and so what it writes is there
    assert package.process.returncode == 0
    np.testing.assert_array_equal(np.load(package.scores), PCAResidual(3).fit(train).score_samples(test))


def test_another_package_than_that_of_its_folder_is_refused(tmp_path):
    np.save(tmp_path / "train.npy", np.zeros(1))
    np.save(tmp_path / "test.npy", np.zeros(1))
    with pytest.raises(AssertionError):
        before.serve(str(tmp_path), str(tmp_path), str(tmp_path / "scores.npy"))


def test_the_ratio_is_of_each_round():
    found = before.faster([(2.0, 1.0), (9.0, 3.0), (4.0, 4.0)])
    assert found["times as fast"] == [2.0, 1.0, 3.0]
