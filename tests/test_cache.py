"""The cache of what is decoded: once, whole, checked, within its limit; and samples that stay in their files."""

import gzip
import os
import time

import imagecodecs
import numpy as np
import pytest

from tiny import DETECTORS, normals, tiny
from unlikelihood import MNIST, Arrays, Folder, Images, Parts, load
from unlikelihood.cli.main import main
from unlikelihood.data import arrays, decoded, kept, mapped, mnist
from unlikelihood.data.mapped import Mapped, Stored, held, joined
from unlikelihood.data.splits import partition
from unlikelihood.decisions.conformal import Conformal
from unlikelihood.evaluation.evaluation import Evaluation


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def large(monkeypatch):
    """Let every set be too large for memory."""
    for module in (decoded, mapped):
        monkeypatch.setattr(module, "WHOLE", 0)


@pytest.fixture
def photos(tmp_path):
    """A folder of 12 grey images of 8 bits."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for k, image in enumerate(np.random.default_rng(0).integers(0, 256, (12, 6, 5), np.uint8)):
        (folder / f"{k:02d}.png").write_bytes(imagecodecs.png_encode(image))
    return folder


@pytest.fixture
def readings(monkeypatch):
    """Which files are decoded."""
    read, names = images_read(), []
    monkeypatch.setattr(
        "unlikelihood.data.folder.read_image", lambda file, *given: [names.append(file.name), read(file, *given)][1]
    )
    return names


def images_read():
    from unlikelihood.data.image_files import read_image

    return read_image


class TestDecoded:
    @pytest.mark.parametrize("given", [{}, {"window": (20, 200)}, {"size": 4}, {"channels": 3}], ids=str)
    def test_many_are_the_same_as_few(self, photos, monkeypatch, given):
        few = Folder(photos, **given).read()
        for module in (decoded, mapped):
            monkeypatch.setattr(module, "WHOLE", 0)
        many = Folder(photos, **given).read()
        assert isinstance(many.pixels, Mapped)
        assert isinstance(few.pixels, np.ndarray)
        np.testing.assert_array_equal(np.asarray(many.pixels), few.pixels)
        assert many.name.tolist() == few.name.tolist()

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_the_type_of_the_files_is_kept(self, tmp_path, large, cache, dtype):
        for k in range(3):
            np.save(tmp_path / f"{k}.npy", np.full((6, 5), k, dtype))
        pixels = Folder(tmp_path).read().pixels
        (file,) = cache.glob("decoded/*/pixels.npy")
        assert np.load(file).dtype == dtype
        assert pixels.parts[0].values.dtype == dtype

    def test_nothing_is_decoded_twice(self, photos, large, readings):
        Folder(photos).read()
        assert sorted(readings) == ["00.png", *(f"{k:02d}.png" for k in range(1, 12))]
        readings.clear()
        Folder(photos).read()
        assert readings == ["00.png"]  # which says how large they are

    def test_other_settings_are_decoded_anew(self, photos, large):
        for size in (4, 5):
            assert Folder(photos, size=size).read().shape[1:] == (size, size)

    def test_a_file_that_changes_is_decoded_again(self, photos, large):
        before = np.asarray(Folder(photos).read().pixels)
        (photos / "05.png").write_bytes((photos / "04.png").read_bytes())
        after = np.asarray(Folder(photos).read().pixels)
        assert (after != before).any(axis=(1, 2, 3)).tolist() == [k == 5 for k in range(12)]
        np.testing.assert_array_equal(after[5], before[4])

    @pytest.mark.parametrize("name", ["pixels.npy", "kept.npy", "sums.json"])
    def test_what_is_damaged_is_made_again(self, photos, large, cache, readings, name):
        expected = np.asarray(Folder(photos).read().pixels)
        (file,) = cache.glob(f"decoded/*/{name}")
        content = bytearray(file.read_bytes())
        content[-3] ^= 1
        file.write_bytes(content)
        readings.clear()
        np.testing.assert_array_equal(np.asarray(Folder(photos).read().pixels), expected)
        assert len(readings) == 12

    def test_what_cannot_be_read_is_left_out_as_often_as_it_is_asked_for(self, photos, large, cache):
        (photos / "00.png").write_bytes(b"no image")
        (photos / "07.png").write_bytes(imagecodecs.png_encode(np.zeros((3, 3), np.uint8)))
        for _ in range(2):
            with pytest.warns(UserWarning, match="2 of 12 images skipped"):
                found = Folder(photos, skip_unreadable=True).read()
            assert len(found) == 10
            assert found.left_out["images that cannot be read, or differ from the first"] == 2
        with pytest.raises(ValueError, match=r"00\.png"):
            Folder(photos).read()
        assert not list(cache.glob("decoded/.*"))

    def test_an_error_leaves_nothing(self, photos, large, cache):
        (photos / "07.png").write_bytes(b"no image")
        with pytest.raises(ValueError, match=r"07\.png"):
            Folder(photos).read()
        assert not list(cache.glob("decoded/*/"))

    def test_masks_and_parts_stay_with_their_images(self, tmp_path, large):
        for name, value in (
            ("train/good/0", 1),
            ("train/good/1", 2),
            ("test/bad/0", 3),
            ("ground_truth/bad/0_mask", 1),
        ):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / f"{name}.png").write_bytes(imagecodecs.png_encode(np.full((6, 5), value, np.uint8)))
        found = Folder(tmp_path).read()
        first = np.rint(255 * np.asarray(found.pixels)[:, 0, 0, 0])
        assert first.tolist() == [
            3 if part == "test" else 1 + int(name[-5]) for part, name in zip(found.part, found.name, strict=True)
        ]
        assert found.mask.any(axis=(1, 2)).tolist() == [part == "test" for part in found.part]

    def test_parts_are_joined_without_a_copy(self, photos, large):
        both = Parts(train=photos, test=Folder(photos, anomalous=()))
        whole = both.read().pixels
        assert len(whole.parts) == 2
        np.testing.assert_array_equal(np.asarray(whole[14:]), np.asarray(Folder(photos).read().pixels)[2:])


class TestLimit:
    def made(self, k, size=1000):
        place = kept.cache() / "decoded" / f"{k}"
        return kept.keep(place, lambda folder: (folder / "x.bin").write_bytes(bytes(size)))

    def test_the_least_recently_used_goes_first(self, monkeypatch):
        places = [self.made(k) for k in range(4)]
        for age, place in enumerate(places):
            then = time.time() - 10 * kept.IN_USE + age
            for file in place.iterdir():
                os.utime(file, (then, then))
        self.made(0)  # used again
        monkeypatch.setenv("UNLIKELIHOOD_CACHE_LIMIT", str(3600 / 2**30))
        self.made(4)
        left = {entry.place.name for entry in kept.entries()}
        assert left == {"0", "3", "4"}

    def test_what_was_just_used_stays(self, monkeypatch):
        monkeypatch.setenv("UNLIKELIHOOD_CACHE_LIMIT", "0")
        assert self.made(0).is_dir()
        assert self.made(1).is_dir()
        assert len(list(kept.entries())) == 2

    @pytest.mark.parametrize("given", ["much", "-1", "nan"])
    def test_a_limit_that_is_none_is_refused(self, monkeypatch, given):
        monkeypatch.setenv("UNLIKELIHOOD_CACHE_LIMIT", given)
        with pytest.raises(ValueError, match="UNLIKELIHOOD_CACHE_LIMIT"):
            kept.limit()

    def test_the_command_shows_and_clears(self, capsys):
        self.made(0, 2**20)
        (kept.cache() / "mnist").mkdir()
        (kept.cache() / "mnist" / "digits.gz").write_bytes(bytes(2**21))
        assert main(["cache"]) == 0
        shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
        assert shown["decoded"].startswith("1.0 MiB")
        assert shown["downloads"].startswith("2.0 MiB")
        assert main(["cache", "--clear"]) == 0
        assert not list(kept.entries())
        assert (kept.cache() / "mnist" / "digits.gz").is_file()


class TestMapped:
    @pytest.fixture
    def array(self):
        return np.random.default_rng(0).integers(0, 256, (20, 1, 4, 3), np.uint8)

    @pytest.fixture
    def some(self, array, monkeypatch):
        monkeypatch.setattr(mapped, "BLOCK", 40)  # three samples at a time
        return Mapped([Stored(array[:7], (0, 255)), Stored(array[7:], (0, 255))])

    @pytest.mark.parametrize(
        "index",
        [3, -1, slice(None), slice(2, 15, 3), [5, 1, 1, 19], np.arange(20) % 3 == 0, ..., (slice(4), 0), (2, 0, 1)],
        ids=str,
    )
    def test_an_index_reads_what_it_would_of_an_array(self, some, array, index):
        expected = array.astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(np.asarray(some[index]), expected[index])
        np.testing.assert_array_equal(np.asarray(some.choose(np.arange(20)[::-1])[index]), expected[::-1][index])

    def test_it_has_the_ends_and_the_mean_of_the_array(self, some, array):
        whole = np.asarray(some)
        assert (some.min(), some.max()) == (whole.min(), whole.max()) == (np.min(some), np.max(some))
        assert some.mean() == pytest.approx(whole.mean(), rel=1e-6)
        assert len(list(some)) == len(whole)

    def test_an_index_out_of_bounds_is_an_error(self, some):
        for index in (20, -21, [3, 20]):
            with pytest.raises(IndexError):
                some[index]

    def test_a_large_choice_stays_in_the_file(self, some, monkeypatch):
        monkeypatch.setattr(mapped, "WHOLE", 200)
        assert isinstance(some[:4], np.ndarray)
        assert isinstance(some[:5], Mapped)
        assert isinstance(held(some.choose([1])), np.ndarray)

    def test_a_split_of_many_reads_none_of_them(self, some, large):
        label = (np.arange(20) > 15).astype(int)
        split = partition(Images(some, label=label, name=np.arange(20).astype(str)))
        for part in (split.train, split.calibration, split.test):
            assert isinstance(part.pixels, Mapped)
            np.testing.assert_array_equal(np.asarray(part.pixels), np.asarray(some)[part.name.astype(int)])

    def test_those_of_a_map_and_of_an_array_are_joined(self, array, tmp_path):
        np.save(tmp_path / "x.npy", array)
        whole = joined([np.load(tmp_path / "x.npy", mmap_mode="r"), array[:2], Mapped([Stored(array)]).choose([3, 1])])
        np.testing.assert_array_equal(np.asarray(whole), np.concatenate([array, array[:2], array[[3, 1]]]))


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("how", [np.uint8, "mapped"])
def test_every_detector_takes_whole_numbers_in_files_and_scores_as_in_memory(tmp_path, name, how):
    pixels = np.rint(255 * normals((1, 8, 8), 30)).astype(np.uint8)
    np.save(tmp_path / "X.npy", pixels)
    stored = np.load(tmp_path / "X.npy", mmap_mode="r")
    many = Mapped([Stored(stored, (0, 255))]) if how == "mapped" else stored
    held_in_memory = pixels.astype(np.float32) / np.float32(255 if how == "mapped" else 1)
    expected = tiny(name).fit(held_in_memory).score_samples(held_in_memory)
    detector = tiny(name).fit(many)
    np.testing.assert_allclose(detector.score_samples(many), expected, rtol=2e-5, atol=1e-6)
    detector.save(tmp_path / "model")
    loaded = load(tmp_path / "model", **{key: getattr(detector, key) for key in detector.runtime})
    np.testing.assert_array_equal(loaded.score_samples(many), detector.score_samples(many))


def test_conformal_takes_them_too():
    stored = np.rint(255 * normals((1, 8, 8), 60)).astype(np.uint8)
    many = Mapped([Stored(stored, (0, 255))])
    one, other = (Conformal(tiny("KNN"), alpha=0.2).fit(X) for X in (many, np.asarray(many)))
    np.testing.assert_allclose(one.p_value(many), other.p_value(many))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_in_a_file_is_refused(bad):
    X = normals((1, 8, 8), 30)
    X[7, 0, 3, 3] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        tiny("KNN").fit(Mapped([Stored(X)]))


class TestPacked:
    def test_large_arrays_of_an_npz_file_are_unpacked_once(self, tmp_path, cache, monkeypatch):
        X = np.random.default_rng(0).integers(0, 256, (9, 1, 4, 3), np.uint8)
        np.savez_compressed(tmp_path / "x.npz", pixels=X, label=np.arange(9) % 2)
        few = Arrays(tmp_path / "x.npz", label="label", window=(0, 255)).read()
        monkeypatch.setattr(arrays, "WHOLE", 900)  # the labels take less
        monkeypatch.setattr(mapped, "WHOLE", 300)
        for _ in range(2):
            many = Arrays(tmp_path / "x.npz", label="label").read()
            assert isinstance(many.pixels, np.memmap)
            np.testing.assert_array_equal(many.pixels, X)
        (entry,) = kept.entries()
        assert entry.place.parent.parent == cache
        scaled = Arrays(tmp_path / "x.npz", label="label", window=(0, 255)).read()
        assert isinstance(scaled.pixels, Mapped)
        np.testing.assert_array_equal(np.asarray(scaled.pixels), few.pixels)

    def test_a_damaged_npz_file_leaves_nothing(self, tmp_path, monkeypatch):
        np.savez(tmp_path / "x.npz", pixels=np.arange(4000.0).reshape(10, 1, 20, 20))
        content = bytearray((tmp_path / "x.npz").read_bytes())
        content[9000] ^= 1
        (tmp_path / "x.npz").write_bytes(content)
        monkeypatch.setattr(arrays, "WHOLE", 0)
        with pytest.raises(ValueError, match=r"x\.npz.*: cannot be read"):
            Arrays(tmp_path / "x.npz").read()
        assert not list(kept.entries())

    @pytest.mark.parametrize("zipped", [False, True])
    def test_many_digits_are_mapped_in_the_same_parts(self, tmp_path, monkeypatch, zipped):
        rng = np.random.default_rng(0)
        for part, n in (("train", 200), ("t10k", 150)):
            for kind, values in (
                ("images-idx3", rng.integers(0, 256, (n, 5, 4), np.uint8)),
                ("labels-idx1", (np.arange(n) % 10).astype(np.uint8)),
            ):
                header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
                write = gzip.open if zipped else open
                with write(tmp_path / f"{part}-{kind}-ubyte{'.gz' * zipped}", "wb") as file:
                    file.write(header + values.tobytes())
        source = MNIST(path=tmp_path, train_per_digit=10, calibration_per_digit=3, test=9)
        few, whole = source.split(), source.read()
        for module in (mnist, mapped):
            monkeypatch.setattr(module, "WHOLE", 64)
        many = source.split()
        assert isinstance(source.read().pixels, Mapped)
        np.testing.assert_array_equal(np.asarray(source.read().pixels), whole.pixels)
        for part in ("train", "calibration", "test"):
            one, other = getattr(few, part), getattr(many, part)
            assert isinstance(other.pixels, Mapped)
            np.testing.assert_array_equal(np.asarray(other.pixels), one.pixels)


def test_the_command_line_scores_many_as_few(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "photos"
    for name, n in (("normal", 60), ("anomalous", 8)):
        (folder / name).mkdir(parents=True)
        for k, image in enumerate(normals((1, 8, 8), n, seed=n)):
            shown = np.rint(255 * (image[0] if name == "normal" else image[0].T[::-1] / 2)).astype(np.uint8)
            (folder / name / f"{k:02d}.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(shown)))
    data = ["--data", "Folder", "--data.path", str(folder)]
    tables = []
    for size in (None, 2000):
        out = tmp_path / str(size)
        for module in (decoded, mapped):
            monkeypatch.setattr(module, "WHOLE", size or mapped.WHOLE)
        assert (
            main(["fit", *data, "--detector", "PCAResidual", "--detector.n_components=2", "--out", str(out / "m")]) == 0
        )
        assert main(["score", str(out / "m"), *data, "--alpha=0.2", "--out", str(out / "scores.csv")]) == 0
        with monkeypatch.context() as patch:
            if size is None:
                patch.setattr(Evaluation, "save", Evaluation.write)  # the page of a few is tested elsewhere
            assert main(["evaluate", str(out / "m"), *data, "--out", str(out / "report")]) == 0
        assert main(["show", *data, "--out", str(out / "shown.png")]) == 0
        tables.append([(out / file).read_text() for file in ("scores.csv", "report/scores.csv")])
    assert len(list(kept.entries())) == 1
    assert tables[0] == tables[1]
