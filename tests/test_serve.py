"""The service: the scores of the command line, an answer to whatever is sent, and nothing left behind."""

import csv
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")

import chromium
from served import calibrated, multipart, npy, png, raw, serving, slowed, zipped
from tiny import normals
from unlikelihood import KNN, MNIST, VAE, Folder, PCAResidual, Phantom, Volumes
from unlikelihood.cli.main import main
from unlikelihood.data.reviews import read_reviews
from unlikelihood.report import plots
from unlikelihood.report.nearest import Nearest
from unlikelihood.serve import scoring
from unlikelihood.serve.app import service
from unlikelihood.serve.door import read_keys
from unlikelihood.serve.limits import Limits
from unlikelihood.serve.worker import Worker

KEY = "a key of a test, which nobody else has"


@pytest.fixture(scope="module")
def detector():
    return calibrated()


@pytest.fixture(scope="module")
def files():
    return [(f"{number:02d}.png", png(x)) for number, x in enumerate(normals((1, 8, 8), 12, seed=1))]


@pytest.fixture(scope="module")
def client(detector):
    limits = Limits(mib=1, unpacked=1, files=20, seconds=10.0)
    with serving(detector, Folder("."), alpha=0.1, limits=limits) as client:
        yield client


def table(model, place, data, tmp_path, *more, alpha=0.1):
    """Return the rows that the command line writes of what lies in a place."""
    out = tmp_path / "scores.csv"
    given = ["--data", data, "--data.path", str(place), "--alpha", str(alpha), "--out", str(out), *more]
    assert main(["score", str(model), *given]) == 0
    with out.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def same(rows, written):
    """Say whether rows are those of a table, to the bit."""
    numbers = ("anomaly_score", "p_value", "alpha")
    assert [row["name"] for row in rows] == [row["name"] for row in written]
    assert [[row[name] for name in numbers] for row in rows] == [
        [float(row[name]) for name in numbers] for row in written
    ]
    assert [row["decision"] for row in rows] == [row["decision"] for row in written]
    return True


@pytest.mark.parametrize("kind", ["PCAResidual", "VAE"])
def test_scores_are_those_of_the_command_line_to_the_bit(detector, files, tmp_path, kind):
    X = normals((1, 8, 8), 60)
    if kind == "VAE":
        detector = VAE(latent=2, width=2, epochs=1, batch_size=8).fit(X[:40]).calibrate(X[40:])
    detector.save(tmp_path / "model")
    place = tmp_path / "new"
    place.mkdir()
    for name, content in files:
        (place / name).write_bytes(content)
    np.save(tmp_path / "many.npy", normals((1, 8, 8), 11, seed=2))
    with serving(detector, Folder("."), alpha=0.1) as client:
        status, _, rows = client.post(files)
        assert status == 200
        assert same(rows, table(tmp_path / "model", place, "Folder", tmp_path))
        _, _, rows = client.post([("many.npy", (tmp_path / "many.npy").read_bytes())])
        assert same(rows, table(tmp_path / "model", tmp_path / "many.npy", "Arrays", tmp_path, "--overwrite"))


def test_of_scans_too_one_by_one_or_packed_as_a_study(tmp_path):
    Phantom(size=16.0).write(tmp_path / "ct", scans=3)
    settings = {"spacing": 8.0, "shape": (32.0, 32.0, 32.0), "cache": tmp_path / "cache"}
    volumes = Volumes(path=tmp_path / "ct", **settings)
    images = volumes.read()
    detector = KNN(n_neighbors=1).fit(images.pixels[:2] + np.float32(0.01)).calibrate(images.pixels)
    detector.save(tmp_path / "model")
    options = ["--data.spacing", "8", "--data.shape", "[32, 32, 32]", "--data.cache", str(tmp_path / "cache")]
    written = table(tmp_path / "model", tmp_path / "ct", "Volumes", tmp_path, *options, alpha=0.5)
    sent = [(name, (tmp_path / "ct" / name).read_bytes()) for name in images.name]
    with serving(detector, volumes, alpha=0.5) as client:
        _, _, rows = client.post([*sent, ("broken.nii.gz", b"no scan"), ("picture.png", b"")])
        assert same(rows[:3], written)
        assert [row["name"] for row in rows[3:]] == ["broken.nii.gz", "picture.png"]
        assert all(row.keys() == {"name", "reason"} for row in rows[3:])
        assert "broken.nii.gz: cannot be read as a scan" in rows[3]["reason"]
        _, _, rows = client.post([("study.zip", zipped(sent))], "/score?maps=true")
        assert [row["name"] for row in rows] == [f"study.zip/{row['name']}" for row in written]
        assert [row["anomaly_score"] for row in rows] == [float(row["anomaly_score"]) for row in written]
        assert all(row["volume"]["shape"] == [4, 4, 4] and row["volume"]["mm"] == [8, 8, 8] for row in rows)


def test_rows_come_in_order_and_what_cannot_be_judged_says_why(client, files):
    odd = normals((1, 5, 9), 1)[0]
    nan = np.full((2, 1, 8, 8), 0.5, np.float32)
    nan[1] = np.nan
    sent = [("broken.png", b"\x89PNG, but no more"), files[0], ("odd.png", png(odd)), ("nan.npy", npy(nan)), files[1]]
    status, _, rows = client.post(sent)
    assert status == 200
    names = ["broken.png", "00.png", "odd.png", "nan.npy/00000", "nan.npy/00001", "01.png"]
    assert [row["name"] for row in rows] == names
    assert ["reason" in row for row in rows] == [True, False, True, False, True, False]
    assert all(("anomaly_score" in row) != ("reason" in row) for row in rows)
    assert "its shape is (1, 5, 9), but the model was fitted on (1, 8, 8)" in rows[2]["reason"]
    assert tempfile.gettempdir() not in json.dumps(rows)
    assert rows[1] == client.post(files[:1])[2][0] | {
        "anomaly_score": pytest.approx(rows[1]["anomaly_score"], rel=1e-9)
    }


def test_arrays_come_as_json_too(client, detector):
    X = normals((1, 8, 8), 3, seed=4)
    _, _, rows = client.ask("POST", "/score", json.dumps(X.tolist()), content_type="application/json")
    assert [row["name"] for row in rows] == ["0", "1", "2"]
    assert [-row["anomaly_score"] for row in rows] == detector.score_samples(X).tolist()
    _, _, one = client.ask("POST", "/score", json.dumps(X[0].tolist()), content_type="application/json")
    assert len(one) == 1


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "[1, 2",
        "[]",
        "[[1], [2, 3]]",
        '[["a"]]',
        "[NaN]",
        "[1e999]",
        "[null]",
        json.dumps(np.full((1, 8, 8), 1.0).tolist()).replace("1.0", "1e999"),
        json.dumps(np.full((1, 8, 8), 1.0).tolist()).replace("1.0", "-3.4028234663852889e38"),
        json.dumps(np.full((1, 8, 8), 1.0).tolist()).replace("1.0", "true", 1),
        "[" * 100_000,
        "[[[[1]]]]",
        '"x"',
    ],
)
def test_json_that_is_no_such_array_is_refused_with_a_sentence(client, body):
    status, _, said = client.ask("POST", "/score", body, content_type="application/json")
    assert status == 400
    assert said.keys() == {"error"}
    assert len(said["error"]) < 500


def test_a_map_is_a_picture_as_large_as_its_sample(client, files):
    from base64 import b64decode

    _, _, rows = client.post([*files[:2], ("broken.png", b"")], "/score?maps=true")
    for row in rows[:2]:
        for name in ("picture", "map"):
            head, _, content = row[name].partition(",")
            assert head == "data:image/png;base64"
            assert Image.open(io.BytesIO(b64decode(content))).size == (8, 8)
    assert "map" not in rows[2]


def test_the_normals_beside_a_case_are_those_of_triage(detector, files):
    X, near = normals((1, 8, 8), 30), normals((1, 8, 8), 12, seed=1)
    nearest = Nearest(np.uint8(255 * np.concatenate([X, near])) / np.float32(255))
    with serving(detector, Folder("."), normals=nearest.normals) as client:
        _, _, rows = client.post(files[:3], "/score?maps=true")
        _, _, bare = client.post(files[:3])
    # Each of these files is among the normals: what stands beside it is the others that look like it.
    found, apart = nearest(nearest.normals[30:33])
    for row, normal, distance in zip(rows, found, apart, strict=True):
        assert [one["distance"] for one in row["nearest"]] == pytest.approx(distance.tolist())
        drawn = [plots.still(one, client.app.state.scoring.drawing.limits, largest=208, whole=False) for one in normal]
        assert [one["picture"] for one in row["nearest"]] == drawn
        assert row["nearest"][0]["distance"] > 0
    assert not any("nearest" in row for row in bare)


def test_what_is_too_much_too_odd_or_nothing_is_refused(client, files):
    def refused(status, *asked, **headers):
        found, _, said = client.ask(*asked, **headers)
        assert (found, list(said)) == (status, ["error"])
        return said["error"]

    large, kind = multipart([("large.png", bytes(2**20 + 1))])
    assert "1 MiB" in refused(413, "POST", "/score", large, content_type=kind)
    many, kind = multipart([("a.png", b"")] * 21)
    assert "20" in refused(400, "POST", "/score", many, content_type=kind)
    assert "files" in refused(400, "POST", "/score", *multipart([])[:1], content_type=multipart([])[1])
    refused(400, "POST", "/score", b"no multipart", content_type="multipart/form-data; boundary=x")
    refused(400, "POST", "/score", b"no multipart", content_type="multipart/form-data")
    assert "text/plain" in refused(415, "POST", "/score", b"hello", content_type="text/plain")
    assert "maps" in refused(422, "POST", "/score?maps=perhaps", b"[]", content_type="application/json")
    refused(404, "GET", "/nothing")
    refused(405, "GET", "/score")
    assert client.post(files[:1])[0] == 200


def test_an_archive_is_read_unless_it_is_a_bomb_or_leads_outside(client, files, tmp_path):
    bomb = zipped([("a.png", bytes(4 * 2**20))], compression=8)
    outside = zipped([("../outside.png", files[0][1])])
    sent = [("good.zip", zipped(files[:3])), ("bomb.zip", bomb), ("outside.zip", outside), ("empty.zip", zipped([]))]
    _, _, rows = client.post([*sent, ("none.zip", b"PK but no more")])
    assert [row["name"] for row in rows[:3]] == ["good.zip/00.png", "good.zip/01.png", "good.zip/02.png"]
    alone = [row["anomaly_score"] for row in client.post(files[:3])[2]]
    assert [row["anomaly_score"] for row in rows[:3]] == alone
    assert [row["name"] for row in rows[3:]] == ["bomb.zip", "outside.zip", "empty.zip", "none.zip"]
    assert all("reason" in row for row in rows[3:])
    left = 2**20 - sum(len(content) for _, content in files[:3])  # for what one unpacks to, the next may not
    assert f"claims 4194304 bytes, expected at most {left}" in rows[3]["reason"]


def test_a_picture_that_would_fill_the_memory_is_not_unpacked(client):
    content = io.BytesIO()
    Image.new("L", (3000, 3000)).save(content, "png")
    _, _, (row,) = client.post([("wide.png", content.getvalue())])
    assert "claims 9000000 bytes, expected at most 1048576" in row["reason"]


def test_who_has_no_key_learns_nothing(detector, files, tmp_path):
    (tmp_path / "keys").write_text(f"# of the ward\n{KEY}\n")
    keys = read_keys(tmp_path / "keys")
    with serving(detector, Folder("."), keys=keys) as client:
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": f"Basic {KEY}"},
            {"x_api_key": KEY[:-1]},
        ):
            for path in ("/score", "/model", "/metrics", "/openapi.json"):
                method = "POST" if path == "/score" else "GET"
                status, given, said = client.ask(method, path, **headers)
                assert (status, given["www-authenticate"]) == (401, "Bearer")
                assert list(said) == ["error"]
        assert client.get("/health")[0] == client.get("/ready")[0] == 200
        assert client.post(files, authorization=f"Bearer {KEY}")[0] == 200
        assert client.get("/model", x_api_key=KEY)[2]["calibration"] == 30
        assert "/score" in client.get("/openapi.json", x_api_key=KEY)[2]["paths"]
    for text in ("", "# nothing\n", "short\n"):
        (tmp_path / "keys").write_text(text)
        with pytest.raises(ValueError, match="key-file"):
            read_keys(tmp_path / "keys")


def test_a_page_of_another_name_cannot_ask_for_this_machine(client):
    for host in ("evil.example", "[", "", "localhost.evil.example", "[::1"):
        assert client.get("/model", host=host)[0] == 421
    assert client.get("/model", host="localhost:1")[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1.evil.example", "", "http://["])
def test_a_page_of_another_site_can_send_nothing(client, files, origin):
    for path in ("/score", "/jobs"):
        assert client.post(files[:1], path, origin=origin)[0] == 403
    assert client.post(files[:1], origin=f"http://127.0.0.1:{client.port}")[0] == 200


def test_others_reach_it_only_with_a_key(detector, tmp_path, capsys):
    detector.save(tmp_path / "model")
    assert main(["serve", str(tmp_path / "model"), "--host", "0.0.0.0"]) == 1
    assert "--host is '0.0.0.0', which others can reach" in capsys.readouterr().err


def test_other_sources_than_of_files_are_refused(detector):
    with pytest.raises(ValueError, match="data is MNIST, expected Folder, Volumes or Candidates"):
        service(detector, MNIST())


def test_who_is_slow_is_cut_off_and_keeps_nobody_waiting(detector, files, monkeypatch):
    monkeypatch.setattr("unlikelihood.serve.server.HEAD", 0.5)
    with serving(detector, Folder("."), limits=Limits(seconds=0.5)) as client:
        began = time.monotonic()
        head = (
            b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        )
        health = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with ThreadPoolExecutor(3) as pool:
            body, said = pool.submit(raw, client, head, b"[", pause=0.1), pool.submit(raw, client, b"POST /sc")
            again = pool.submit(raw, client, health, b"GET /he", pause=0.1)
            assert client.post(files[:1])[0] == 200
            assert body.result().startswith(b"HTTP/1.1 408 ")
            assert said.result() == b""
            assert again.result().count(b"HTTP/1.1") == 1
        assert time.monotonic() - began < 15


@pytest.fixture
def slow():
    detector = slowed()
    yield detector
    detector.may.set()


def test_more_requests_than_it_takes_are_told_to_come_again(slow, files):
    with serving(slow, Folder("."), limits=Limits(requests=2)) as client, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(client.post, files) for _ in range(2)]
        assert slow.begun.acquire(timeout=20)
        while client.app.state.scoring.busy < 2:
            time.sleep(0.01)
        status, headers, said = client.post(files)
        assert (status, headers["retry-after"], list(said)) == (503, "1", ["error"])
        slow.may.set()
        assert [one.result()[0] for one in waiting] == [200, 200]
        assert client.post(files)[0] == 200


def test_an_answer_that_takes_too_long_is_given_up_and_its_place_kept_until_it_ends(slow, files):
    with serving(slow, Folder("."), limits=Limits(seconds=0.3, requests=1)) as client:
        assert client.post(files)[0] == 504
        assert client.post(files)[0] == 503
        slow.may.set()
        while client.app.state.scoring.busy:
            time.sleep(0.01)
        assert client.post(files)[0] == 200


def test_what_has_begun_is_answered_when_it_ends(slow, files):
    with serving(slow, Folder(".")) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.post, files)
        assert slow.begun.acquire(timeout=20)
        client.server.should_exit = True
        time.sleep(0.3)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            client.get("/health")
        slow.may.set()
        status, _, rows = waiting.result()
        assert (status, len(rows)) == (200, len(files))


def test_nothing_that_was_sent_stays_whatever_comes_of_it(detector, files, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path / "cache"))
    there = []
    read = scoring.parts_of

    def noting(*given):
        there.extend(file for file in tmp_path.rglob("*") if file.is_file())
        if len(given[2]) == 1:
            raise KeyError("secret.png")
        return read(*given)

    monkeypatch.setattr(scoring, "parts_of", noting)
    with serving(detector, Folder(".")) as client:
        assert client.post([*files, ("x.zip", zipped(files)), ("y", b"?")])[0] == 200
        assert len(there) == len(files) + 2
        assert not any(file.name in ("00.png", "x.zip") for file in there)
        assert client.post(files[:1])[0] == 500
        assert client.post([("a.png", b"")] * 2)[0] == 200
        assert list(tmp_path.rglob("*")) == []


def test_the_log_says_what_was_asked_and_not_what_was_sent(detector, files, monkeypatch, caplog):
    monkeypatch.setattr(scoring, "parts_of", lambda *given: {}["secret.png"])
    caplog.set_level("INFO")
    with serving(detector, Folder(".")) as client:
        status, _, said = client.post([("secret.png", b"")])
        client.get("/secret.png")
    assert status == 500
    assert "KeyError at test_serve.py:" in caplog.text
    assert "/score 500" in caplog.text
    assert "secret" not in caplog.text + json.dumps(said)


def test_requests_that_wait_together_are_scored_together_and_get_their_own(detector):
    X = normals((1, 8, 8), 40, seed=3)
    X[7] = np.nan
    calls, told = [], []
    gate = threading.Event()
    worker = Worker(detector, together=16, note=calls.append)
    first = worker.call(lambda samples: gate.wait(20), X[:1])
    answers = [worker.score(X[start : start + 3]) for start in range(0, 39, 3)]
    gate.set()
    assert first.result()
    for start, answer in zip(range(0, 39, 3), answers, strict=True):
        scores, why = answer.result(20)
        for row in range(3):
            if start + row == 7:
                assert np.isnan(scores[row])
                assert list(why) == [row]
            else:
                np.testing.assert_allclose(scores[row], detector.score_samples(X[start + row][None])[0], rtol=1e-6)
        told.append(len(why))
    assert sum(told) == 1
    assert calls == [15, 15, 9]
    worker.close()
    assert not worker.alive


def test_a_second_call_begins_beside_another_as_soon_as_it_is_full(detector):
    X = normals((1, 8, 8), 14, seed=3)
    gate, worker = threading.Event(), Worker(detector, together=8, calls=2)
    first = worker.call(lambda samples: gate.wait(20), X)
    few = worker.score(X[:7])
    with pytest.raises(TimeoutError):
        few.result(0.2)
    more = worker.score(X[7:])
    np.testing.assert_allclose(few.result(20)[0], detector.score_samples(X[:7]), rtol=1e-6)
    assert not first.done()
    assert not more.done()
    gate.set()
    np.testing.assert_allclose(more.result(20)[0], detector.score_samples(X[7:]), rtol=1e-6)
    worker.close()


def test_threads_that_are_started_after_a_service_compute_as_before(detector):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        worker = Worker(detector, calls=2)
        worker.call(lambda samples: torch.set_num_threads(1), normals((1, 8, 8), 1)).result(20)
        worker.close()
        with ThreadPoolExecutor(1) as new:
            assert new.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


def test_with_one_sample_together_every_request_is_scored_as_by_itself(detector):
    X = normals((1, 8, 8), 30, seed=3)
    worker = Worker(detector, together=1)
    answers = [worker.score(X[start : start + 5]) for start in range(0, 30, 5)]
    for start, answer in zip(range(0, 30, 5), answers, strict=True):
        assert answer.result()[0].tolist() == detector.score_samples(X[start : start + 5]).tolist()
    worker.close()


def test_an_error_is_of_its_request_alone(detector):
    X = normals((1, 8, 8), 6, seed=3)
    gate, worker = threading.Event(), Worker(detector)
    worker.call(lambda samples: gate.wait(20), X)
    answers = [worker.score(X), worker.score(X[:, :, :4]), worker.score(X)]
    gate.set()
    assert answers[0].result()[0].tolist() == answers[2].result()[0].tolist() == detector.score_samples(X).tolist()
    with pytest.raises(ValueError, match="shape"):
        answers[1].result()
    worker.close()


def test_what_it_counts_is_what_it_did(detector, files):
    with serving(detector, Folder(".")) as client:
        client.post([*files, ("broken.png", b"")])
        client.get("/nothing")
        _, headers, text = client.get("/metrics")
    assert headers["content-type"].startswith("text/plain; version=")
    assert 'unlikelihood_samples_total{outcome="scored"} 12.0' in text
    assert 'unlikelihood_samples_total{outcome="refused"} 1.0' in text
    assert 'unlikelihood_requests_total{path="/score",status="200"} 1.0' in text
    assert 'unlikelihood_requests_total{path="other",status="404"} 1.0' in text


def test_sigterm_ends_the_command_in_order(detector, files, tmp_path):
    detector.save(tmp_path / "model")
    command = [sys.executable, "-m", "unlikelihood", "serve", str(tmp_path / "model"), "--port", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=os.environ) as process:
        port = int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
        from served import Client

        assert len(Client(port).post(files)[2]) == 12
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.splitlines() == ["serve: scored=12 refused=0"]
    assert "/score 200" in err
    assert ".png" not in err


NAMES = st.text(st.characters(codec="utf-8", exclude_characters='"\r\n'), max_size=30)
SUFFIXES = st.sampled_from(["", ".png", ".jpg", ".tif", ".npy", ".zip", ".dcm", ".nii.gz", ".bmp"])
MAGIC = st.sampled_from(
    [b"", b"\x89PNG\r\n\x1a\n", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"II*\x00", b"\xff\xd8\xff", b"BM"]
)
FILES = st.lists(st.tuples(NAMES, SUFFIXES, MAGIC, st.binary(max_size=200)), min_size=1, max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=3), inside, max_size=2),
    max_leaves=12,
)
KINDS = st.sampled_from(["", "application/json", "multipart/form-data", "multipart/form-data; boundary=x", "text/html"])
QUERIES = st.sampled_from(["", "?maps=true", "?maps=no", "?maps=", "?other=1"])
BODIES = st.one_of(
    FILES.map(lambda files: multipart([(name + suffix, magic + rest) for name, suffix, magic, rest in files])),
    JSON.map(lambda value: (json.dumps(value).encode(), "application/json")),
    st.tuples(st.binary(max_size=300), KINDS),
)


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(query=QUERIES, body=BODIES)
def test_whatever_is_sent_gets_an_answer_that_openapi_describes(client, query, body):
    known = client.app.openapi()["paths"]["/score"]["post"]["responses"]
    status, headers, said = client.ask("POST", f"/score{query}", body[0], content_type=body[1])
    assert str(status) in known
    assert headers["content-type"] == "application/json"
    if status == 200:
        assert said
        assert all(("anomaly_score" in row) != ("reason" in row) and row["name"] is not None for row in said)
    else:
        assert list(said) == ["error"]
        assert said["error"]
    assert client.app.state.scoring.busy == 0
    assert client.get("/ready")[0] == 200


def test_openapi_says_which_arrays_are_taken_and_what_is_answered(client):
    """Found by schemathesis: an example that was refused, and an answer of another type than was said."""
    paths = client.get("/openapi.json")[2]["paths"]
    content = paths["/score"]["post"]["requestBody"]["content"]["application/json"]
    assert client.ask("POST", "/score", json.dumps(content["example"]), content_type="application/json")[0] == 200
    samples = content["schema"]["oneOf"][0]
    assert samples["minItems"] == 1
    sizes = []
    while samples := samples.get("items"):
        sizes.append((samples.get("minItems"), samples.get("maxItems")))
    assert sizes == [(1, 1), (8, 8), (8, 8), (None, None)]
    for path, most in (("/score", 20), ("/jobs", 1)):
        form = paths[path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert (form["required"], list(form["properties"]), form["additionalProperties"]) == (["files"],) * 2 + (False,)
        assert (form["properties"]["files"]["minItems"], form["properties"]["files"]["maxItems"]) == (1, most)
        assert client.post([("a.png", b"")] * (most + 1), path)[0] == 400
        body, kind = multipart([("a.png", b"")])
        assert client.ask("POST", path, body, content_type=kind)[0] in (200, 202)
        other = body.replace(b'name="files"', b'name="other"')
        assert client.ask("POST", path, other, content_type=kind)[0] == 400
    whole = json.dumps(np.full((1, 8, 8), 10**30).tolist())  # which no integer of NumPy holds
    assert client.ask("POST", "/score", whole, content_type="application/json")[0] == 200
    kind = client.get("/metrics")[1]["content-type"].partition(";")[0]
    assert list(paths["/metrics"]["get"]["responses"]["200"]["content"]) == [kind]


def test_an_array_of_more_samples_than_rows_are_made_of_is_refused(client, monkeypatch):
    monkeypatch.setattr("unlikelihood.serve.uploads.MOST", 5)
    X = normals((1, 8, 8), 6)
    (row,) = client.post([("many.npy", npy(X))])[2]
    assert "holds 6 samples, expected at most 5" in row["reason"]
    assert client.ask("POST", "/score", json.dumps(X.tolist()), content_type="application/json")[0] == 400
    assert len(client.post([("few.npy", npy(X[1:]))])[2]) == 5


@pytest.mark.parametrize(("path", "methods"), [("/jobs/x", "DELETE, GET"), ("/jobs", "POST"), ("/score", "POST")])
def test_a_method_that_is_not_taken_is_told_all_that_are(client, path, methods):
    status, headers, _ = client.ask("PUT", path)
    assert (status, headers["allow"]) == (405, methods)


PATHS = st.sampled_from(["/", "/model", "/health", "/ready", "/metrics", "/score", "/../model", "/x"])
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
HEADERS = st.dictionaries(st.sampled_from(["authorization", "x_api_key", "accept"]), st.text("aB ,*/", max_size=9))


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(method=METHODS, path=PATHS, headers=HEADERS)
def test_whatever_is_asked_for_elsewhere_gets_one_too(client, method, path, headers):
    assert client.ask(method, path, **headers)[0] in (200, 404, 405)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if chromium.PROGRAM is None:
        pytest.skip("Chromium is not installed")
    browser = chromium.Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def until(browser, condition):
    began = time.monotonic()
    while not browser.run(condition):
        assert time.monotonic() - began < 60, (condition, browser.complaints)
        time.sleep(0.05)


def visit(browser, client, width, files, samples=None):
    """Open the page of a service, choose files on it, and wait for their samples, one in each unless it is said."""
    browser.open(f"http://127.0.0.1:{client.port}/", width)
    until(browser, "!document.querySelector('[data-drop]').hidden")
    root = browser.send("DOM.getDocument")["root"]["nodeId"]
    place = browser.send("DOM.querySelector", nodeId=root, selector="[data-files]")["nodeId"]
    browser.send("DOM.setFileInputFiles", files=[str(file) for file in files], nodeId=place)
    until(browser, f"document.querySelectorAll('tbody tr').length === {samples or len(files)}")


def of_rows(browser, name):
    return browser.run(f"[...document.querySelectorAll('tbody tr')].map((row) => row.dataset.{name})")


def in_order(browser, client, width):
    """Say whether a page asks nobody else, complains of nothing and fits its window."""
    assert all(url.startswith((f"http://127.0.0.1:{client.port}/", "blob:")) for url in browser.requested)
    assert browser.complaints == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    return True


@pytest.mark.parametrize("width", [1280, 390])
def test_what_is_dropped_on_the_page_is_ranked_reviewed_and_exported(browser, client, files, tmp_path, width):
    for name, content in [*files, ("broken.png", b"")]:
        (tmp_path / name).write_bytes(content)
    visit(browser, client, width, sorted(tmp_path.iterdir()))
    scores = [float(score) for score in of_rows(browser, "score")[:-1]]
    assert scores == sorted(scores, reverse=True)
    posted = {row["name"]: row["anomaly_score"] for row in client.post(files)[2]}
    found = dict(zip(of_rows(browser, "name")[:-1], scores, strict=True))
    assert found == pytest.approx(posted, rel=1e-9)
    assert "Cannot be judged: broken.png" in browser.run("document.querySelector('tbody').textContent")
    shown = "[...document.querySelectorAll('article:not([hidden]) img')].map((each) => each.naturalWidth)"
    assert browser.run(shown) == [8, 8, 8]
    for key in "anu":
        browser.press(key)
    assert of_rows(browser, "review")[:4] == ["anomalous", "normal", "unsure", ""]
    browser.run("window.made = null; URL.createObjectURL = (blob) => ((window.made = blob), 'blob:none');")
    browser.run("HTMLAnchorElement.prototype.click = () => {}; document.querySelector('[data-export]').click()")
    (tmp_path / "reviews.csv").write_text(browser.run("window.made.text()"), newline="")
    assert sorted(read_reviews(tmp_path / "reviews.csv").said.values()) == ["anomalous", "normal", "unsure"]
    browser.run("document.querySelector('[data-again]').click()")
    assert browser.run("document.querySelectorAll('tbody tr').length") == 0
    assert in_order(browser, client, width)


def test_an_archive_on_the_page_is_a_job_that_is_ranked_and_then_forgotten(browser, detector, files, tmp_path):
    (tmp_path / "ward.zip").write_bytes(zipped(files))
    with serving(detector, Folder(".")) as client:
        visit(browser, client, 1280, [tmp_path / "ward.zip"], len(files))
        assert any(url.endswith("/jobs?maps=true") for url in browser.requested)
        assert not any("/score" in url for url in browser.requested)
        posted = {f"ward.zip/{row['name']}": row["anomaly_score"] for row in client.post(files)[2]}
        scores = [float(score) for score in of_rows(browser, "score")]
        assert dict(zip(of_rows(browser, "name"), scores, strict=True)) == pytest.approx(posted, rel=1e-9)
        assert browser.run("[...document.querySelectorAll('.thumbs img')].every((each) => each.naturalWidth === 8)")
        assert "unlikelihood_jobs 0.0" in client.get("/metrics")[2]
        assert in_order(browser, client, 1280)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_volume_is_scrolled_in_three_planes_with_its_window_and_its_map(browser, tmp_path, width):
    X = normals((1, 8, 10, 12), 30)
    detector = PCAResidual(n_components=3).fit(X[:20]).calibrate(X[20:])
    np.save(tmp_path / "one.npy", X[21])
    at = "[...document.querySelectorAll('.planes output')].map((each) => each.textContent)"
    drawn = "[...document.querySelectorAll('.planes canvas')].map((each) => each.toDataURL())"
    with serving(detector, Volumes("."), normals=X[:20]) as client:
        visit(browser, client, width, [tmp_path / "one.npy"])
        first, pictures = browser.run(at), browser.run(drawn)
        assert [text.split()[0] + text.split()[-1] for text in first] == ["axial8", "coronal10", "sagittal12"]
        beside = browser.run("[...document.querySelectorAll('.near figure')].map((each) => each.textContent.trim())")
        assert [float(text) for text in beside] == pytest.approx(Nearest(X[:20])(X[21:22])[1][0], rel=0.01)
        up = int(first[0].split()[1]) > 4
        browser.run("document.querySelector('.planes canvas').scrollIntoView()")
        browser.turn(".planes canvas", -1 if up else 1)
        until(browser, f"({at})[0] === 'axial {int(first[0].split()[1]) + (-1 if up else 1)} of 8'")
        scrolled = browser.run(drawn)
        assert [a == b for a, b in zip(pictures, scrolled, strict=True)] == [False, True, True]
        browser.run(
            "{ const level = document.querySelector('.windows input');"
            "  level.value = level.max; level.dispatchEvent(new Event('input')); }"
        )
        darker = browser.run(drawn)
        assert all(a != b for a, b in zip(scrolled, darker, strict=True))
        browser.press("m")
        assert all(a != b for a, b in zip(darker, browser.run(drawn), strict=True))
        assert in_order(browser, client, width)


def test_a_page_without_a_key_asks_for_one(browser, detector):
    with serving(detector, Folder("."), keys=[KEY]) as client:
        browser.open(f"http://127.0.0.1:{client.port}/")
        until(browser, "!document.querySelector('[data-key]').hidden")
        assert "PCAResidual" not in browser.run("document.body.innerText")
        browser.run(f"document.querySelector('[data-key] input').value = {json.dumps(KEY)}")
        browser.run("document.querySelector('[data-key] button').click()")
        until(browser, "document.querySelector('h1').textContent === 'PCAResidual'")
