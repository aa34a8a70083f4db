"""Samples that lie many to a file: what is read is what is stored, only what is asked for, and damage has a name."""

import json
import os
import re
import tarfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tiny import normals
from unlikelihood import Arrays, Folder, Parquet, WebDataset, Zarr
from unlikelihood.data.image_files import image_in
from unlikelihood.data.parquet import ParquetRows
from unlikelihood.distributed.archive import score_archive
from unlikelihood.distributed.scoring import Job
from unlikelihood.storage.reading import Unreadable

pyarrow = pytest.importorskip("pyarrow")
pyarrow_parquet = pytest.importorskip("pyarrow.parquet")
N, SHAPE = 60, (1, 8, 8)


def grey(n=N, shape=(8, 8), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def encoded(image, form="PNG"):
    content = BytesIO()
    Image.fromarray(image).save(content, form)
    return content.getvalue()


def write(file, columns, rows=7):
    pyarrow_parquet.write_table(pyarrow.table(columns), file, row_group_size=rows, write_page_checksum=True)


def nested(array):
    return pyarrow.array(array.tolist(), pyarrow.list_(pyarrow.list_(pyarrow.list_(pyarrow.float32()))))


def scores(job, folder, **how):
    score_archive(job, folder, **how)
    return pyarrow_parquet.read_table(folder).to_pydict()


class TestParquet:
    @pytest.mark.parametrize("struct", [False, True])
    @pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000"])
    def test_encoded_images_are_those_of_the_same_files(self, tmp_path, form, struct):
        (tmp_path / "files").mkdir()
        contents = [encoded(image, form) for image in grey(5)]
        suffix = {"JPEG2000": "jp2", "JPEG": "jpg", "TIFF": "tif"}.get(form, form.lower())
        for k, content in enumerate(contents):
            (tmp_path / "files" / f"{k}.{suffix}").write_bytes(content)
        column = [{"bytes": content, "path": None} for content in contents] if struct else contents
        write(tmp_path / "a.parquet", {"image": column}, rows=2)
        for how in ({}, {"size": 5, "channels": 3}, {"window": (20, 90)}):
            found = Parquet(tmp_path / "a.parquet", **how).read()
            np.testing.assert_array_equal(found.pixels, Folder(tmp_path / "files", **how).read().pixels)
        assert found.name.tolist() == [f"a.parquet/{k:05d}" for k in range(5)]

    def test_npy_contents_are_those_of_npy_files(self, tmp_path):
        volume = np.random.default_rng(0).normal(size=(6, 7, 8)).astype(np.float32)
        content = BytesIO()
        np.save(content, np.asfortranarray(volume))
        write(tmp_path / "a.parquet", {"image": [content.getvalue()]})
        np.testing.assert_array_equal(Parquet(tmp_path / "a.parquet").read().pixels[0, 0], volume)

    @pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16", "bool"])
    def test_lists_of_numbers_are_those_of_an_array(self, tmp_path, dtype):
        X = (normals(SHAPE, n=N) * 100).astype(dtype)
        np.save(tmp_path / "x.npy", X)
        kind = pyarrow.from_numpy_dtype(X.dtype)
        flat, size = pyarrow.array(X.ravel(), kind), int(np.prod(SHAPE))
        fixed = pyarrow.FixedSizeListArray.from_arrays(flat, size)
        tensor = pyarrow.ExtensionArray.from_storage(pyarrow.fixed_shape_tensor(kind, SHAPE), fixed)
        lists = pyarrow.array(X.tolist(), pyarrow.list_(pyarrow.list_(pyarrow.list_(kind))))
        flats = pyarrow.array(X.reshape(N, -1).tolist(), pyarrow.large_list(kind))
        expected = Arrays(tmp_path / "x.npy").read()
        for column, shape in ((lists, None), (fixed, SHAPE), (flats, SHAPE), (tensor, None)):
            write(tmp_path / "a.parquet", {"x": column})
            found = Parquet(tmp_path / "a.parquet", column="x", shape=shape)
            np.testing.assert_array_equal(found.read().pixels, np.asarray(expected.pixels, np.float32))
            np.testing.assert_array_equal(found.rows().read(5, 23).pixels, np.asarray(expected.pixels[5:23]))
        write(tmp_path / "a.parquet", {"x": fixed})
        assert Parquet(tmp_path / "a.parquet", column="x").read().shape == (size,)
        windowed = Parquet(tmp_path / "a.parquet", column="x", shape=SHAPE, window=(0, 50)).read()
        np.testing.assert_array_equal(windowed.pixels, Arrays(tmp_path / "x.npy", window=(0, 50)).read().pixels)

    def test_a_folder_is_read_in_order_with_labels_groups_and_names(self, tmp_path):
        X = normals((6,), n=30)
        for k in range(3):
            own = slice(10 * k, 10 * k + 10)
            write(
                tmp_path / f"{2 - k}.parquet",
                {
                    "x": X[own].tolist(),
                    "kind": ["good", "crack"] * 5,
                    "patient": [f"p{k}{row}" for row in range(10)],
                    "id": list(range(100, 110)),
                },
                rows=3,
            )
        (tmp_path / "_metadata.parquet").write_bytes(b"no table")
        source = Parquet(
            tmp_path,
            column="x",
            label="kind",
            group="patient",
            name="id",
            anomalous=("crack",),
            fractions=(0.5, 0.5, 0),
        )
        images = source.read()
        np.testing.assert_array_equal(images.pixels, np.concatenate([X[20:], X[10:20], X[:10]]).astype(np.float32))
        assert images.label.tolist() == [0, 1] * 15
        assert images.group[10] == "p10"
        assert images.name[[0, 29]].tolist() == ["0.parquet/100", "2.parquet/109"]
        rows = source.rows()
        assert rows.names(8, 12).tolist() == images.name[8:12].tolist()
        part = rows.read(8, 12)
        np.testing.assert_array_equal(part.pixels, images.pixels[8:12])
        assert (part.label.tolist(), part.group.tolist()) == (images.label[8:12].tolist(), images.group[8:12].tolist())
        assert not np.isin(source.split().train.name, images.name[images.label == 1]).any()

    @pytest.mark.parametrize("values", [[0, 1], [0.0, 1.0], [False, True], ["0", "1"], ["normal", "anomalous"]])
    def test_labels_are_said_in_many_ways(self, tmp_path, values):
        write(tmp_path / "a.parquet", {"x": normals((6,), n=8).tolist(), "y": values * 4})
        assert Parquet(tmp_path / "a.parquet", column="x", label="y").read().label.tolist() == [0, 1] * 4

    def test_a_class_that_is_a_number_is_what_it_was_called_and_nothing_else_is_guessed(self, tmp_path):
        write(tmp_path / "a.parquet", {"x": normals((6,), n=4).tolist(), "y": [3, 5, 3, 1]})
        source = Parquet(tmp_path / "a.parquet", column="x", label="y", normal=("3",), anomalous=("5",))
        assert source.rows().read(0, 3).label.tolist() == [0, 1, 0]
        with pytest.raises(ValueError, match=r"a\.parquet/00003: y='1', expected one of 3, 5"):
            source.read()

    def test_what_cannot_be_read_is_named_by_file_and_row_or_skipped_and_counted(self, tmp_path):
        contents = [encoded(image) for image in grey(9)]
        contents[2], contents[5], contents[7] = contents[2][:60], None, encoded(grey(1, (9, 9))[0])
        write(tmp_path / "a.parquet", {"image": pyarrow.array(contents, pyarrow.binary())}, rows=4)
        rows = Parquet(tmp_path / "a.parquet").rows()
        for row in (2, 5):
            with pytest.raises(Unreadable, match=rf"a\.parquet/{row:05d}: cannot be read as an image"):
                rows.read(row, row + 1)
        with pytest.raises(Unreadable, match=r"a\.parquet/00002"):
            Parquet(tmp_path / "a.parquet").read()
        with pytest.warns(UserWarning, match=r"3 of 9 images skipped(.|\n)*00002(.|\n)*00005(.|\n)*00007"):
            images = Parquet(tmp_path / "a.parquet", skip_unreadable=True).read()
        assert len(images) == 6
        assert list(images.unread) == [f"a.parquet/{row:05d}" for row in (2, 5, 7)]
        assert sum(images.left_out.values()) == 3

    @pytest.mark.parametrize(
        ("bad", "why"),
        [
            (None, "missing"), ([1.0, None, 3.0], "numbers are missing"), ([1.0, np.nan, 3.0], "not finite"),
            ([1.0, 1e300, 3.0], "not finite"),
        ],
    )  # fmt: skip
    def test_numbers_that_are_none_are_named_by_row(self, tmp_path, bad, why):
        write(tmp_path / "a.parquet", {"x": pyarrow.array([[1.0, 2, 3]] * 3 + [bad] + [[1.0, 2, 3]] * 9)}, rows=5)
        with pytest.raises(Unreadable, match=rf"a\.parquet/00003: cannot be read as numbers \(.*{why}"):
            Parquet(tmp_path / "a.parquet", column="x").read()
        assert len(Parquet(tmp_path / "a.parquet", column="x").rows().read(4, 13)) == 9

    def test_a_sample_of_another_length_is_named(self, tmp_path):
        write(tmp_path / "a.parquet", {"x": [[1.0, 2, 3]] * 3 + [[1.0]]})
        with pytest.raises(ValueError, match=r"a\.parquet/00003: .*shape \(1,\).*expected \(3,\)"):
            Parquet(tmp_path / "a.parquet", column="x").read()

    @pytest.mark.parametrize(
        ("how", "message"),
        [
            ({"column": "y"}, r"column='y': expected one of its columns x, word, image"),
            ({"column": "word"}, r"column='word' holds string, expected encoded images or lists of numbers"),
            ({"column": "x", "label": "z"}, r"label='z': expected one of"),
            ({"column": "x", "shape": (2, 2)}, r"holds 3 numbers, expected shape=\(2, 2\)"),
            ({"column": "x", "size": 9}, r"size and channels are for encoded images"),
            ({"column": "x", "group": "x"}, r"group='x': expected a column of text or of whole numbers"),
            ({"shape": (2, 2)}, r"shape=\(2, 2\): expected None"),
            ({"column": "x", "window": (2, 1)}, r"window=\(2, 1\): expected"),
            ({"channels": 2}, r"channels=2: expected 1"),
        ],
    )
    def test_parameters_that_do_not_go_with_the_file_are_refused_by_name(self, tmp_path, how, message):
        columns = {"x": [[1.0, 2, 3]] * 3, "word": ["a"] * 3, "image": [encoded(image) for image in grey(3)]}
        write(tmp_path / "a.parquet", columns)
        with pytest.raises(ValueError, match=message):
            Parquet(tmp_path / "a.parquet", **how).read()

    def test_what_is_no_parquet_is_refused_by_name(self, tmp_path):
        (tmp_path / "a.parquet").write_bytes(b"PAR1 is not enough")
        with pytest.raises(Unreadable, match=r"a\.parquet: cannot be read as a Parquet file"):
            Parquet(tmp_path).rows()
        with pytest.raises(FileNotFoundError, match="path="):
            Parquet(tmp_path / "nowhere").rows()
        (tmp_path / "empty").mkdir()
        with pytest.raises(ValueError, match=r"holds no \*\.parquet files"):
            Parquet(tmp_path / "empty").rows()
        write(tmp_path / "empty" / "none.parquet", {"x": pyarrow.array([], pyarrow.list_(pyarrow.float32()))})
        with pytest.raises(ValueError, match="holds no samples"):
            Parquet(tmp_path / "empty", column="x").read()

    def test_rows_of_a_shard_are_read_and_no_others(self, tmp_path, monkeypatch):
        X = normals(SHAPE, n=N)
        write(tmp_path / "a.parquet", {"x": nested(X)}, rows=10)
        write(tmp_path / "b.parquet", {"x": nested(X)}, rows=10)
        rows = Parquet(tmp_path, column="x").rows()
        read, whole = [], ParquetRows._read

        def counted(self, place, name):
            read.append(place)
            return whole(self, place, name)

        monkeypatch.setattr(ParquetRows, "_read", counted)
        rows.names(0, 2 * N)
        assert read == []
        rows.read(25, 45)
        assert sorted(read) == [2, 3, 4]
        rows.read(58, 62)
        assert sorted(read) == [2, 3, 4, 5, 6]
        rows.read(0, 2 * N)
        assert len(rows._kept) == 2

    def test_other_row_groups_may_be_damaged(self, tmp_path):
        file = tmp_path / "a.parquet"
        write(file, {"x": nested(normals(SHAPE, n=N))}, rows=10)
        whole = Parquet(file, column="x").read().pixels
        content = bytearray(file.read_bytes())
        metadata = pyarrow_parquet.read_metadata(file)
        chunk = metadata.row_group(3).column(0)
        middle = (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size // 2
        content[middle : middle + 20] = bytes(20)
        file.write_bytes(content)
        rows = Parquet(file, column="x").rows()
        np.testing.assert_array_equal(rows.read(0, 30).pixels, whole[:30])
        np.testing.assert_array_equal(rows.read(40, 60).pixels, whole[40:])
        with pytest.raises(Unreadable, match=r"a\.parquet: cannot be read as a Parquet file"):
            rows.read(30, 40)

    @pytest.mark.parametrize("model", ["vae", "pca"])
    def test_an_archive_has_the_scores_of_the_same_pixels_in_an_array(self, models, tmp_path, model):
        X = normals(SHAPE, n=700, seed=1)
        np.save(tmp_path / "x.npy", X)
        (tmp_path / "data").mkdir()
        write(tmp_path / "data" / "0.parquet", {"x": nested(X[:300])}, rows=70)
        write(tmp_path / "data" / "1.parquet", {"x": nested(X[300:])}, rows=90)
        source = Parquet(tmp_path / "data", column="x")
        expected = scores(Job(models / model, Arrays(tmp_path / "x.npy"), alpha=0.1), tmp_path / "array", rows=256)
        found = scores(Job(models / model, source, alpha=0.1), tmp_path / "parquet", rows=256)
        assert {**found, "name": expected["name"]} == expected
        assert found["name"][299:301] == ["0.parquet/00299", "1.parquet/00000"]

    def test_a_damaged_sample_is_a_row_with_a_reason(self, models, tmp_path):
        contents = [encoded(image) for image in grey(40)]
        contents[17] = contents[17][:50]
        write(tmp_path / "a.parquet", {"image": contents})
        found = scores(Job(models / "pca", Parquet(tmp_path / "a.parquet")), tmp_path / "scores", rows=16)
        assert [row for row, why in enumerate(found["reason"]) if why] == [17]
        assert found["anomaly_score"].count(None) == 1
        assert "a.parquet/00017: cannot be read as an image" in found["reason"][17]


def member(archive, name, content=b"", **how):
    one = tarfile.TarInfo(name)
    one.size = len(content)
    for field, value in how.items():
        setattr(one, field, value)
    archive.addfile(one, BytesIO(content))


def shard(file, contents, form=tarfile.PAX_FORMAT):
    """Write a tar archive of contents by name."""
    with tarfile.open(file, "w:", format=form) as archive:
        for name, content in contents.items():
            member(archive, name, content)


class TestWebDataset:
    @pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
    def test_images_are_those_of_the_same_files_with_their_labels(self, tmp_path, form):
        (tmp_path / "files").mkdir()
        (tmp_path / "data").mkdir()
        images = grey(6)
        for k in range(2):
            contents = {"README": b"x", ".hidden.png": b"x", f"{'long' * 20}/": b""} if k else {}
            for row in range(3):
                key = f"{'long' * 20}/{k}{row}" if form != tarfile.USTAR_FORMAT else f"in/{k}{row}"
                contents[f"{key}.json"] = b"{no json"
                contents[f"{key}.PNG"] = encoded(images[3 * k + row])
                contents[f"{key}.cls"] = f"{row % 2}\n".encode()
                contents[f"{key}.mask.png"] = b"another"
                (tmp_path / "files" / f"{k}{row}.png").write_bytes(contents[f"{key}.PNG"])
            contents.pop(f"{'long' * 20}/", None)
            shard(tmp_path / "data" / f"{k}.tar", contents, form)
        for how in ({}, {"size": 5, "channels": 3}, {"window": (20, 90)}):
            found = WebDataset(tmp_path / "data", **how).read()
            np.testing.assert_array_equal(found.pixels, Folder(tmp_path / "files", **how).read().pixels)
        assert found.label.tolist() == [0, 1, 0] * 2
        assert [name.rpartition("/")[2] for name in found.name] == ["00", "01", "02", "10", "11", "12"]
        assert found.name[3].startswith("1.tar/")
        assert found.left_out == {"files whose names are no name and a suffix": 2}
        assert WebDataset(tmp_path / "data" / "1.tar", image="PNG").rows().read(1, 2).name.tolist() == [found.name[4]]

    def test_a_suffix_chooses_one_of_several_images_and_none_is_guessed(self, tmp_path):
        one, other = grey(2)
        shard(tmp_path / "a.tar", {"0.png": encoded(one), "0.left.png": encoded(other), "0.bmp": encoded(other, "BMP")})
        with pytest.raises(Unreadable, match=r"a\.tar: .*sample '0' has images in png and bmp: image says which"):
            WebDataset(tmp_path).rows()
        for suffix, image in (("png", one), ("left.png", other), ("bmp", other)):
            found = WebDataset(tmp_path, image=suffix).read().pixels[0, 0]
            np.testing.assert_array_equal(found, image.astype(np.float32) / np.float32(255))
        with pytest.raises(ValueError, match=r"image='txt': expected a suffix"):
            WebDataset(tmp_path, image="txt").rows()

    def test_what_cannot_be_read_is_named_by_shard_and_sample_or_skipped_and_counted(self, tmp_path):
        contents = {f"{k}.png": encoded(image) for k, image in enumerate(grey(9))}
        contents["2.png"] = contents["2.png"][:60]
        contents["5.txt"] = contents.pop("5.png")
        shard(tmp_path / "a.tar", contents)
        rows = WebDataset(tmp_path).rows()
        for row, name in ((2, "2"), (8, "5")):
            with pytest.raises(Unreadable, match=rf"a\.tar/{name}: cannot be read as an image"):
                rows.read(row, row + 1)
        with pytest.warns(UserWarning, match=r"2 of 9 images skipped"):
            images = WebDataset(tmp_path, skip_unreadable=True).read()
        assert list(images.unread) == ["a.tar/2", "a.tar/5"]

    def test_labels_that_are_missing_or_unknown_are_named(self, tmp_path):
        contents = {f"{k}.png": encoded(image) for k, image in enumerate(grey(3))}
        shard(tmp_path / "a.tar", contents | {"0.cls": b"7", "1.cls": b"crack"})
        source = WebDataset(tmp_path, normal="7", anomalous="crack")
        assert source.rows().read(0, 2).label.tolist() == [0, 1]
        with pytest.raises(Unreadable, match=r"a\.tar/2: .*its \.cls is missing"):
            source.read()
        with pytest.raises(ValueError, match=r"a\.tar/0: cls='7', expected one of 0, 1"):
            WebDataset(tmp_path).rows().read(0, 1)

    @pytest.mark.parametrize(
        ("name", "how", "why"),
        [
            ("1.png", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "a link or no plain file"),
            ("1.png", {"type": tarfile.LNKTYPE, "linkname": "0.png"}, "a link or no plain file"),
            ("1.png", {"type": tarfile.CHRTYPE}, "a link or no plain file"),
            ("1.png", {"type": tarfile.FIFOTYPE}, "a link or no plain file"),
            ("0.png", {}, "'0.png' twice"),
            ("1.png", {"size": 2**40}, "is not in it|unexpected end of data"),
            ("1.png", {"size": 10**6}, "is not in it|unexpected end of data"),
        ],
    )
    def test_links_devices_repeated_names_and_false_sizes_are_refused(self, tmp_path, name, how, why):
        with tarfile.open(tmp_path / "a.tar", "w:") as archive:
            member(archive, "0.png", encoded(grey(1)[0]))
            one = tarfile.TarInfo(name)
            for field, value in how.items():
                setattr(one, field, value)
            archive.fileobj.write(one.tobuf(tarfile.GNU_FORMAT))
            archive.offset = archive.fileobj.tell()
        with pytest.raises(Unreadable, match=rf"a\.tar: cannot be read as a tar archive \(.*({why})"):
            WebDataset(tmp_path).rows()

    def test_no_damage_of_a_header_loses_samples_without_a_word(self, tmp_path):
        file = tmp_path / "a.tar"
        shard(file, {f"{k}.png": encoded(image) for k, image in enumerate(grey(4))}, tarfile.USTAR_FORMAT)
        whole, expected = file.read_bytes(), WebDataset(file).read()
        with tarfile.open(file) as archive:
            headers = [one.offset for one in archive]
        rng, refused = np.random.default_rng(0), 0
        for offset in headers:
            for at in [*rng.integers(0, 512, 20).tolist(), 0, 124, 148, 156]:
                content = bytearray(whole)
                content[offset + at] ^= 1 << int(rng.integers(8))
                file.write_bytes(content)
                try:
                    found = WebDataset(file).read()
                except Unreadable as error:
                    assert "a.tar: cannot be read as a tar archive" in str(error)  # noqa: PT017
                    refused += 1
                else:  # of the checksum's field not every bit counts
                    assert found.name.tolist() == expected.name.tolist()
                    np.testing.assert_array_equal(found.pixels, expected.pixels)
        assert refused > 85
        for content in (whole + whole, whole[: headers[2] + 100], whole[: headers[2]], bytes(512) + whole[512:]):
            file.write_bytes(content)
            with pytest.raises(Unreadable, match=r"a\.tar: cannot be read as a tar archive"):
                WebDataset(file).rows()

    def test_packed_archives_are_refused_with_what_is_expected(self, tmp_path):
        with tarfile.open(tmp_path / "a.tar", "w:gz") as archive:
            member(archive, "0.png", encoded(grey(1)[0]))
        with pytest.raises(Unreadable, match=r"packed by gzip, expected a plain \.tar"):
            WebDataset(tmp_path).rows()

    def test_rows_of_a_shard_are_read_and_no_others(self, models, tmp_path):
        X = grey(40)
        contents = {f"{k:02d}.png": encoded(image) for k, image in enumerate(X)}
        for part in ("0", "1"):
            own = {name: content for name, content in contents.items() if (name < "20.png") == (part == "0")}
            shard(tmp_path / f"{part}.tar", own)
        rows = WebDataset(tmp_path).rows()
        (tmp_path / "1.tar").unlink()
        with tarfile.open(tmp_path / "0.tar") as archive:
            lost = archive.getmember("15.png").offset_data
        with (tmp_path / "0.tar").open("r+b") as content:
            content.truncate(lost)
        np.testing.assert_array_equal(rows.read(3, 15).pixels[:, 0], X[3:15].astype(np.float32) / np.float32(255))
        for row in (15, 30):
            with pytest.raises(Unreadable):
                rows.read(row, row + 1)

    @pytest.mark.parametrize("model", ["vae", "pca"])
    def test_an_archive_has_the_scores_of_the_same_pixels_in_an_array(self, models, tmp_path, model):
        X = grey(300)
        np.save(tmp_path / "x.npy", X[:, None].astype(np.float32) / np.float32(255))
        (tmp_path / "data").mkdir()
        for k in range(3):
            own = X[100 * k : 100 * k + 100]
            shard(tmp_path / "data" / f"{k}.tar", {f"{row:05d}.png": encoded(one) for row, one in enumerate(own)})
        source = WebDataset(tmp_path / "data")
        expected = scores(Job(models / model, Arrays(tmp_path / "x.npy"), alpha=0.1), tmp_path / "array", rows=128)
        found = scores(Job(models / model, source, alpha=0.1), tmp_path / "tar", rows=128)
        assert {**found, "name": expected["name"]} == expected
        assert found["name"][99:101] == ["0.tar/00099", "1.tar/00000"]


def store(path, arrays, form=3, chunks=7, **how):
    """Write arrays by name into a Zarr store."""
    zarr = pytest.importorskip("zarr")
    if path.suffix == ".zip":
        with zarr.storage.ZipStore(path, mode="w") as place:
            fill(zarr.open_group(place, mode="w", zarr_format=form), arrays, chunks, how)
    else:
        fill(zarr.open_group(path, mode="w", zarr_format=form), arrays, chunks, how)


def fill(group, arrays, chunks, how):
    for name, values in arrays.items():
        own = (chunks, *(-(-length // 2) for length in values.shape[1:]))
        made = group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=own, **how)
        made[...] = values


class TestZarr:
    @pytest.mark.parametrize("form", [2, 3])
    @pytest.mark.parametrize("suffix", [".zarr", ".zip"])
    @pytest.mark.parametrize("dtype", ["float32", "float64", ">i2", "uint8"])
    def test_samples_are_those_of_an_array(self, tmp_path, form, suffix, dtype):
        X = (normals(SHAPE, n=N) * 100).astype(dtype)
        label, patient = np.arange(N) % 2, np.arange(N)
        np.savez(tmp_path / "x.npz", pixels=X, label=label, patient=patient)
        store(tmp_path / f"x{suffix}", {"pixels": X, "label": label, "patient": patient}, form)
        for how in ({}, {"window": (0, 50)}, {"spacing": (1, 2), "orientation": "PL"}):
            known = {"label": "label", "group": "patient"} | how
            found = Zarr(tmp_path / f"x{suffix}", array="pixels", **known)
            expected = Arrays(tmp_path / "x.npz", **known).read()
            for images in (found.read(), found.rows().read(0, N)):
                np.testing.assert_array_equal(images.pixels, expected.pixels)
                assert images.label.tolist() == expected.label.tolist()
                assert images.group.tolist() == expected.group.tolist()
                assert images.spacing == expected.spacing
            np.testing.assert_array_equal(found.rows().read(9, 17).pixels, expected.pixels[9:17])
        assert found.rows().names(0, 2).tolist() == [f"x{suffix}/00000", f"x{suffix}/00001"]

    @pytest.mark.parametrize(("axis", "shape"), [(-1, (9, 8, 3)), (None, (9, 8)), (None, (6, 9, 8)), (1, (5,))])
    def test_axes_are_those_of_an_array(self, tmp_path, axis, shape):
        X = np.random.default_rng(0).normal(size=(10, *shape))
        np.save(tmp_path / "x.npy", X)
        store(tmp_path / "x.zarr", {"only": X}, shards=(4, *(2 * (-(-length // 2)) for length in shape)), chunks=2)
        expected = Arrays(tmp_path / "x.npy", channel_axis=axis).read().pixels
        np.testing.assert_array_equal(Zarr(tmp_path / "x.zarr", channel_axis=axis).read().pixels, expected.astype("f4"))

    def test_a_store_may_be_an_array_and_of_several_one_is_named(self, tmp_path):
        zarr = pytest.importorskip("zarr")
        X = normals(SHAPE, n=N)
        zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(7, *SHAPE))
        np.testing.assert_array_equal(Zarr(tmp_path / "x.zarr").read().pixels, X.astype(np.float32))
        store(tmp_path / "two.zarr", {"a": X, "b": X})
        with pytest.raises(ValueError, match=r"array='': expected one of the 2 arrays in .*: a, b"):
            Zarr(tmp_path / "two.zarr").rows()
        for name in ("c", "../x.zarr"):
            with pytest.raises(Unreadable, match="no array of this name, expected one of a, b"):
                Zarr(tmp_path / "two.zarr", array=name).rows()
        (tmp_path / "no.zip").write_bytes(b"PK")
        with pytest.raises(Unreadable, match=r"no\.zip: cannot be read as a Zarr store"):
            Zarr(tmp_path / "no.zip").rows()

    def test_many_samples_are_unpacked_once_and_mapped(self, tmp_path, monkeypatch):
        monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path / "cache"))
        X = normals(SHAPE, n=N).astype(np.float32)
        store(tmp_path / "x.zarr", {"x": X})
        monkeypatch.setattr("unlikelihood.data.zarr.WHOLE", 1)
        first = Zarr(tmp_path / "x.zarr").read().pixels
        assert isinstance(first, np.memmap)
        np.testing.assert_array_equal(first, X)
        monkeypatch.setattr("unlikelihood.data.zarr.Chunked.__getitem__", lambda *given: pytest.fail("read again"))
        np.testing.assert_array_equal(Zarr(tmp_path / "x.zarr").read().pixels, X)

    def test_what_unpickles_is_never_opened(self, tmp_path):
        zarr = pytest.importorskip("zarr")
        store(tmp_path / "x.zarr", {"x": normals(SHAPE, n=N)}, form=2)
        place = tmp_path / "x.zarr" / "x" / ".zarray"
        said = json.loads(place.read_text())
        for change in ({"compressor": {"id": "pickle"}}, {"filters": [{"id": "pickle", "protocol": 5}]}):
            place.write_text(json.dumps(said | change))
            with pytest.raises(Unreadable, match=r"x\.zarr/x: .*it is coded by pickle"):
                Zarr(tmp_path / "x.zarr").rows()
        place.write_text(json.dumps(said | {"dtype": "|O", "compressor": None}))
        with pytest.raises(Unreadable, match=r"x\.zarr/x: cannot be read as a Zarr array"):
            Zarr(tmp_path / "x.zarr").rows()
        zarr.create_array(tmp_path / "c.zarr", shape=(4, 3), dtype="c8")
        with pytest.raises(Unreadable, match="type complex64, expected real numbers"):
            Zarr(tmp_path / "c.zarr").rows()

    @pytest.mark.parametrize("form", [2, 3])
    def test_only_the_chunks_of_a_shard_are_read_and_a_lost_one_is_no_black_image(self, tmp_path, form):
        X = normals(SHAPE, n=N)
        store(tmp_path / "x.zarr", {"x": X}, form, chunks=10)
        place = tmp_path / "x.zarr" / "x"
        rows = Zarr(tmp_path / "x.zarr").rows()
        for file in [file for file in place.rglob("*") if file.is_file() and re.match(r"\d", file.name)]:
            row = int(re.search(r"\d+", file.relative_to(place).as_posix())[0])
            if row == 2:
                file.write_bytes(file.read_bytes()[:-9])
            if row == 4:
                file.unlink()
        for start, stop in ((0, 20), (30, 40), (50, 60)):
            np.testing.assert_array_equal(rows.read(start, stop).pixels, X[start:stop].astype(np.float32))
        with pytest.raises(Unreadable, match=r"x\.zarr/00020: cannot be read as samples"):
            rows.read(20, 30)
        with pytest.raises(Unreadable, match=r"x\.zarr/00043: .*no chunk of it is stored \(samples 40 to 49\)"):
            rows.read(43, 44)
        with pytest.raises(Unreadable, match=r"x\.zarr/00000: cannot be read as samples"):
            Zarr(tmp_path / "x.zarr").read()

    def test_chunks_that_are_no_files_and_false_claims_are_refused(self, tmp_path):
        store(tmp_path / "x.zarr", {"x": normals((6,), n=N)}, form=2, chunks=60)
        chunk = next(file for file in (tmp_path / "x.zarr" / "x").iterdir() if file.name == "0.0")
        content = chunk.read_bytes()
        chunk.unlink()
        os.mkfifo(chunk)
        with pytest.raises(Unreadable, match=r"its x/0\.0 is a pipe, expected a file"):
            Zarr(tmp_path / "x.zarr").read()
        chunk.unlink()
        chunk.write_bytes(content)
        place = tmp_path / "x.zarr" / "x" / ".zarray"
        place.write_text(json.dumps(json.loads(place.read_text()) | {"shape": [60, 2**40], "chunks": [60, 2**40]}))
        with pytest.raises(Unreadable, match="its header claims"):
            Zarr(tmp_path / "x.zarr").rows().read(0, 1)

    @pytest.mark.parametrize("suffix", [".zarr", ".zip"])
    def test_an_archive_has_the_scores_of_the_same_pixels_in_an_array(self, models, tmp_path, suffix):
        X = normals(SHAPE, n=300, seed=1)
        np.save(tmp_path / "x.npy", X)
        store(tmp_path / f"x{suffix}", {"x": X}, chunks=50)
        source = Zarr(tmp_path / f"x{suffix}")
        expected = scores(Job(models / "vae", Arrays(tmp_path / "x.npy"), alpha=0.1), tmp_path / "array", rows=128)
        found = scores(Job(models / "vae", source, alpha=0.1), tmp_path / "zarr", rows=128)
        assert {**found, "name": expected["name"]} == expected


@pytest.mark.parametrize("kind", [Parquet, WebDataset, Zarr])
def test_two_workers_score_what_one_does(models, tmp_path, kind):
    if kind is Parquet:
        write(tmp_path / "x.parquet", {"x": nested(normals(SHAPE, n=300, seed=1))}, rows=70)
        source = Parquet(tmp_path / "x.parquet", column="x")
    elif kind is WebDataset:
        shard(tmp_path / "x.tar", {f"{row:05d}.png": encoded(image) for row, image in enumerate(grey(300))})
        source = WebDataset(tmp_path / "x.tar")
    else:
        store(tmp_path / "x.zarr", {"x": normals(SHAPE, n=300, seed=1)}, chunks=50)
        source = Zarr(tmp_path / "x.zarr")
    job = Job(models / "vae", source, alpha=0.1)
    one, two = (scores(job, tmp_path / f"by {workers}", rows=128, workers=workers) for workers in (1, 2))
    assert one == two


def test_many_samples_are_decoded_once_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "a.parquet", {"image": [encoded(image) for image in grey()]})
    few = np.asarray(Parquet(tmp_path / "a.parquet").read().pixels)
    monkeypatch.setattr("unlikelihood.data.decoded.WHOLE", 1)
    monkeypatch.setattr("unlikelihood.data.mapped.WHOLE", 1)
    many = Parquet(tmp_path / "a.parquet").read()
    np.testing.assert_array_equal(np.asarray(many.pixels), few)
    decoded = []
    monkeypatch.setattr(
        "unlikelihood.data.packed_source.image_in", lambda *given: [decoded.append(1), image_in(*given)][1]
    )
    np.testing.assert_array_equal(np.asarray(Parquet(tmp_path / "a.parquet").read().pixels), few)
    assert len(decoded) == 1  # of which the shape is learnt
    Parquet(tmp_path / "a.parquet", size=4).read()
    assert len(decoded) == 1 + N
