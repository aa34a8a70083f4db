"""MNIST keeps to the thesis' protocol, its files are read or refused, and downloads are whole or absent."""

import functools
import gzip
import hashlib
import http.server
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unlikelihood.data import mnist
from unlikelihood.data.download import content_md5, fetch
from unlikelihood.data.mnist import MD5, MNIST, read_idx
from unlikelihood.data.source import DataUnavailable

REAL = Path(os.environ.get("UNLIKELIHOOD_DATA", "")) / "mnist"
real = pytest.mark.skipif(not (REAL / "train-images-idx3-ubyte.gz").is_file(), reason=f"no MNIST in {REAL}")


def idx(numbers):
    """Return an array as an IDX file."""
    return struct.pack(f">{numbers.ndim + 1}I", 0x800 + numbers.ndim, *numbers.shape) + numbers.tobytes()


def write_digits(folder, per_digit=30):
    """Write four gzipped files with images that hold their digit."""
    folder.mkdir(parents=True)
    digit = np.random.default_rng(0).permutation(np.repeat(np.arange(10, dtype=np.uint8), per_digit))
    for part in ("train", "t10k"):
        images = np.broadcast_to(digit[:, None, None], (len(digit), 28, 28))
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images), mtime=0))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(digit), mtime=0))


def digits(images):
    """Return the digit of each image that `write_digits` wrote."""
    return np.rint(images.pixels[:, 0, 0, 0] * 255).astype(int)


class TestProtocol:
    @real
    def test_the_default_is_the_thesis_protocol(self):
        split = MNIST(path=REAL).split()
        assert (len(split.train), len(split.calibration), len(split.test)) == (9216, 1800, 900)
        assert split.test.label.sum() == 450
        assert split.train.shape == (1, 28, 28)
        assert split.train.pixels.dtype == np.float32
        assert (split.train.pixels.min(), split.train.pixels.max()) == (0, 1)
        assert all(name.startswith("train/") for name in (*split.train.name, *split.calibration.name))
        assert all(name.startswith("test/") for name in split.test.name)
        digit = read_idx(REAL / "train-labels-idx1-ubyte.gz", axes=1)
        chosen = digit[[int(name.removeprefix("train/")) for name in split.train.name]]
        assert np.bincount(chosen, minlength=10).tolist() == [1024] * 9 + [0]

    @real
    def test_the_hashes_are_those_of_the_real_files(self):
        for name, md5 in MD5.items():
            assert content_md5(REAL / f"{name}.gz") == md5

    @settings(deadline=None, max_examples=20)
    @given(anomalous=st.sets(st.integers(0, 9), min_size=1, max_size=9), seed=st.integers(0, 99))
    def test_every_part_holds_equally_many_of_each_digit(self, anomalous, seed, tmp_path_factory):
        folder = tmp_path_factory.getbasetemp() / "digits"
        if not folder.exists():
            write_digits(folder)
        source = MNIST(
            anomalous=tuple(anomalous),
            path=folder,
            train_per_digit=12,
            calibration_per_digit=8,
            test=29,
            seed=seed,
        )
        split = source.split()
        normal = sorted(set(range(10)) - anomalous)
        assert np.bincount(digits(split.train), minlength=10)[normal].tolist() == [12] * len(normal)
        assert np.bincount(digits(split.calibration), minlength=10)[normal].tolist() == [8] * len(normal)
        for part, kinds in ((split.test.normal, normal), (split.test.anomalous, sorted(anomalous))):
            count = np.bincount(digits(part), minlength=10)
            assert len(part) == count[kinds].sum() == 29
            assert np.ptp(count[kinds]) <= 1
        assert source.split().train.name.tolist() == split.train.name.tolist()

    def test_all_digits_can_be_read(self, tmp_path):
        write_digits(tmp_path / "mnist")
        images = MNIST(path=tmp_path / "mnist", anomalous=(3, 4)).read()
        assert len(images) == 600
        assert set(digits(images.anomalous)) == {3, 4}
        assert (images.name[0], images.name[-1]) == ("train/00000", "test/00299")


class TestIDX:
    @settings(deadline=None)
    @given(numbers=arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=3)), zipped=st.booleans())
    def test_what_was_written_is_read(self, numbers, zipped, tmp_path_factory):
        file = tmp_path_factory.getbasetemp() / "numbers"
        file.write_bytes(gzip.compress(idx(numbers), mtime=0) if zipped else idx(numbers))
        np.testing.assert_array_equal(read_idx(file, axes=numbers.ndim), numbers)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (idx(np.zeros(3, np.uint8)), r"begins with 00000801: expected 00000803"),
            (b"<!DOCTYPE html>", r"begins with 3c21444f"),
            (b"", r"begins with : expected"),
            (idx(np.zeros((2, 3, 4), np.uint8))[:10], r"ends after 10 bytes: expected a header of 16"),
            (
                idx(np.zeros((2, 3, 4), np.uint8))[:-1],
                r"holds 23 numbers: expected 24 for its shape \(2, 3, 4\)",
            ),
            (idx(np.zeros((2, 3, 4), np.uint8)) + b"0", r"holds 25 numbers"),
            (gzip.compress(idx(np.zeros((2, 3, 4), np.uint8)), mtime=0)[:-9], r"cannot be read as a file of digits"),
            (
                gzip.compress(idx(np.zeros((2, 3, 4), np.uint8)), mtime=0)[:-8] + bytes(8),
                r"cannot be read as a file of digits",
            ),
        ],
        ids=["kind", "page", "empty", "header", "short", "long", "cut", "checksum"],
    )
    def test_a_damaged_file_is_named(self, tmp_path, content, message):
        (tmp_path / "images").write_bytes(content)
        with pytest.raises(ValueError, match=rf"images.*{message}"):
            read_idx(tmp_path / "images", axes=3)

    def test_images_and_labels_must_match(self, tmp_path):
        write_digits(tmp_path / "mnist")
        (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(np.zeros(5, np.uint8)))
        with pytest.raises(ValueError, match=r"t10k-images.* holds 300 images, .*t10k-labels.* 5 labels"):
            MNIST(path=tmp_path / "mnist").read()

    @pytest.mark.parametrize("part", ["train", "t10k"])
    @pytest.mark.parametrize("shape", [(300, 0, 28), (300, 28, 0), (300, 14, 28)])
    def test_images_of_another_size_or_of_none_are_refused(self, tmp_path, part, shape):
        write_digits(tmp_path / "mnist")
        file = tmp_path / "mnist" / f"{part}-images-idx3-ubyte.gz"
        file.write_bytes(gzip.compress(idx(np.ones(shape, np.uint8))))
        with pytest.raises(ValueError, match=r"images-idx3-ubyte\.gz holds images of shape"):
            MNIST(path=tmp_path / "mnist").split()

    def test_a_given_path_is_the_only_one(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"path=.*elsewhere"):
            MNIST(path=tmp_path / "elsewhere").read()
        with pytest.raises(FileNotFoundError, match=r"expected it to hold train-images-idx3-ubyte or"):
            MNIST(path=tmp_path).read()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder in silence; what is asked for under /cut/ ends too early, under /slow/ never comes."""

    def do_GET(self):
        if self.path.startswith("/cut/"):
            self.path = self.path.removeprefix("/cut")
            content = Path(self.translate_path(self.path)).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:-20])
        elif self.path.startswith("/slow/"):
            self.server.released.wait(10)
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(tmp_path):
    """Serve a folder of digits on this machine and return its address."""
    write_digits(tmp_path / "served")
    handler = functools.partial(Handler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.released = threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return an empty cache on a machine that has no data, and expect the hashes of the served files."""
    monkeypatch.delenv("UNLIKELIHOOD_DATA", raising=False)
    monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path / "cache"))
    served = {file.stem: content_md5(file) for file in (tmp_path / "served").iterdir()}
    monkeypatch.setattr(mnist, "MD5", served)
    return tmp_path / "cache"


def found(folder):
    return sorted(file.name for file in folder.rglob("*") if not file.is_dir())


class TestDownload:
    def test_it_is_made_once(self, mirror, cache):
        assert len(MNIST(mirrors=(mirror,)).read()) == 600
        assert found(cache) == sorted(f"{name}.gz" for name in MD5)
        assert len(MNIST(mirrors=()).read()) == 600

    @pytest.mark.parametrize("broken", ["missing/", "cut/"])
    def test_the_next_mirror_helps_out(self, mirror, cache, broken):
        assert len(MNIST(mirrors=(mirror + broken, mirror)).read()) == 600
        assert found(cache) == sorted(f"{name}.gz" for name in MD5)

    @pytest.mark.parametrize("broken", ["missing/", "cut/"])
    def test_a_failure_says_why_and_leaves_nothing(self, mirror, cache, broken):
        with pytest.raises(DataUnavailable, match=rf"train-images-idx3-ubyte\.gz .*{mirror}{broken}") as failure:
            MNIST(mirrors=(mirror + broken,)).read()
        assert "\n" not in str(failure.value)
        assert found(cache) == []

    def test_other_content_is_refused_and_not_kept(self, mirror, cache, monkeypatch):
        monkeypatch.setattr(mnist, "MD5", dict.fromkeys(MD5, hashlib.md5(b"").hexdigest()))
        with pytest.raises(DataUnavailable, match=r"MD5 \w{32}, expected d41d8cd98f"):
            MNIST(mirrors=(mirror,)).read()
        assert found(cache) == []

    def test_an_interruption_leaves_nothing(self, mirror, cache, monkeypatch):
        def interrupt(path):
            raise KeyboardInterrupt

        monkeypatch.setattr("unlikelihood.data.download.content_md5", interrupt)
        with pytest.raises(KeyboardInterrupt):
            MNIST(mirrors=(mirror,)).read()
        assert found(cache) == []

    def test_a_silent_mirror_is_given_up(self, mirror, tmp_path):
        target = tmp_path / "here" / "file"
        with pytest.raises(DataUnavailable, match="timed out"):
            fetch([f"{mirror}slow/file"], target, md5="", timeout=0.1)
        assert found(target.parent) == []

    def test_a_machine_without_a_network_says_so(self, tmp_path):
        with pytest.raises(DataUnavailable, match="refused"):
            fetch(["http://127.0.0.1:9/file"], tmp_path / "file", md5="")
