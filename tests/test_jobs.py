"""Jobs: the rows of an archive in time, a bound on all that is held, and nothing left behind however one ends."""

import gzip
import io
import json
import socket
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")

from served import calibrated, multipart, png, raw, serving, slowed, zipped
from tiny import normals
from unlikelihood import Folder, PCAResidual, Phantom, Volumes
from unlikelihood.serve import archives
from unlikelihood.serve.limits import Limits

LIMITS = Limits(mib=1, unpacked=1, seconds=10.0)


@pytest.fixture(scope="module")
def detector():
    return calibrated()


@pytest.fixture(scope="module")
def files():
    return [(f"ward/{number:03d}.png", png(x)) for number, x in enumerate(normals((1, 8, 8), 12, seed=1))]


@pytest.fixture
def slow():
    detector = slowed()
    yield detector
    detector.may.set()


@pytest.fixture(scope="module")
def client(detector):
    with serving(detector, Folder("."), alpha=0.1, limits=LIMITS) as client:
        yield client


def tarred(members, kind=tarfile.REGTYPE, link="", **options):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", **options) as archive:
        for name, data in members:
            one = tarfile.TarInfo(name)
            one.type, one.linkname, one.size = kind, link, len(data)
            archive.addfile(one, io.BytesIO(data))
    return content.getvalue()


def begun(client, name, content, **headers):
    status, given, said = client.post([(name, content)], "/jobs", **headers)
    assert (status, list(said)) == (202, ["job", "name"]), said
    assert given["location"] == said["job"] == f"/jobs/{said['name']}"
    return said["job"]


def ended(client, job):
    """Return what is said of a job as soon as it is done or has failed."""
    began = time.monotonic()
    while (told := client.get(job)[2])["state"] in ("waiting", "running"):
        assert time.monotonic() - began < 60
        time.sleep(0.01)
    return told


def scored(client, name, content):
    """Return the rows of an archive, which is then forgotten."""
    job = begun(client, name, content)
    told = ended(client, job)
    assert told["state"] == "done", told
    assert told["done"] == told["total"] == len(told["rows"])
    assert client.ask("DELETE", job)[0] == 204
    return told["rows"]


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz", ".tgz"])
def test_a_job_has_the_rows_of_a_request_and_names_what_it_skips(client, files, kind):
    members = [*files, ("ward/broken.png", b"no picture"), ("notes.txt", b"none either")]
    content = zipped(members) if kind == ".zip" else tarred(members)
    content = gzip.compress(content) if kind.endswith("gz") else content
    rows = scored(client, f"study{kind}", content)
    assert rows == client.post([(f"study{kind}", content)])[2]
    expected = client.post(files)[2]
    found = {row["name"]: row for row in rows}
    for row in expected:
        same = found.pop(f"study{kind}/{row['name']}") if "/" in row["name"] else None
        assert same["p_value"] == row["p_value"]
        assert same["decision"] == row["decision"]
        assert same["anomaly_score"] == pytest.approx(row["anomaly_score"], rel=1e-9)
    assert sorted(found) == [f"study{kind}/notes.txt", f"study{kind}/ward/broken.png"]
    assert all(row.keys() == {"name", "reason"} for row in found.values())


def test_a_job_that_is_asked_for_maps_has_those_of_score(client, files):
    content = zipped(files)
    status, _, said = client.post([("study.zip", content)], "/jobs?maps=true")
    assert status == 202
    rows = ended(client, said["job"])["rows"]
    assert client.ask("DELETE", said["job"])[0] == 204
    expected = client.post([("study.zip", content)], "/score?maps=true")[2]
    assert [(row["picture"], row["map"]) for row in rows] == [(row["picture"], row["map"]) for row in expected]


def test_a_study_is_scored_as_the_sources_of_scans_read_it(tmp_path):
    Phantom(size=16.0).write(tmp_path / "ct", scans=2)
    volumes = Volumes(path=tmp_path / "ct", spacing=8.0, shape=(32.0, 32.0, 32.0), cache=tmp_path / "cache", jobs=1)
    images = volumes.read()
    detector = PCAResidual(n_components=1).fit(np.concatenate([images.pixels, images.pixels + np.float32(0.01)]))
    content = tarred([(name, (tmp_path / "ct" / name).read_bytes()) for name in images.name])
    with serving(detector, volumes) as client:
        rows = scored(client, "study.tar", content)
    assert [row["name"] for row in rows] == [f"study.tar/{name}" for name in images.name]
    expected = -detector.score_samples(images.pixels)
    np.testing.assert_allclose([row["anomaly_score"] for row in rows], expected, rtol=1e-9)


def test_what_is_not_one_file_or_too_large_is_refused_at_once(client, files):
    def refused(status, sent, **headers):
        body, kind = multipart(sent)
        found, _, said = client.ask("POST", "/jobs", body, **({"content_type": kind} | headers))
        assert (found, list(said)) == (status, ["error"])
        return said["error"]

    assert "expected one file" in refused(400, [("a.zip", zipped(files)), ("b.zip", zipped(files))])
    assert "1 MiB" in refused(413, [("large.zip", bytes(2**20 + 1))])
    assert "text/plain" in refused(415, files[:1], content_type="text/plain")
    assert "application/json" in refused(415, files[:1], content_type="application/json")
    assert client.get("/jobs/none")[0] == client.ask("DELETE", "/jobs/none")[0] == 404
    assert client.app.state.scoring.busy == 0


BOMB = [("a.png", bytes(4 * 2**20))]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bomb.zip", zipped(BOMB, compression=8), "claims 4194304 bytes, expected at most 1048576"),
        ("bomb.tar.gz", gzip.compress(tarred(BOMB)), "claims 2097152 bytes, expected at most 1048576"),
        ("link.tar", tarred([("a.png", b"")], tarfile.SYMTYPE, "/etc/passwd"), "a link or no plain file"),
        ("hard.tar", tarred([("a.png", b"")], tarfile.LNKTYPE, "../b.png"), "a link or no plain file"),
        ("device.tar", tarred([("a.png", b"")], tarfile.CHRTYPE), "a link or no plain file"),
        ("up.tar", tarred([("../a.png", b"")]), "expected paths in the archive"),
        ("root.tar", tarred([("/a.png", b"")]), "expected paths in the archive"),
        ("up.zip", zipped([("b/../../a.png", b"")]), "expected paths in the archive"),
        ("twice.tar", tarred([("a.png", b""), ("./a.png", b"")]), "'./a.png' twice"),
        ("under.tar", tarred([("a.png", b""), ("a.png/b.png", b"")]), "holds 'a.png/b.png', which cannot be written"),
        ("many.zip", zipped([(f"{number}/", b"") for number in range(200)]), "more than 100 files and folders"),
        ("many.tar", tarred([(f"{number}", b"") for number in range(101)]), "more than 100 files and folders"),
        ("short.tar", tarred([("a.png", bytes(9999))])[:2000], "cannot be read as a .tar archive"),
        ("none.tar", b"no archive", "cannot be read as a .tar archive"),
        ("none.tgz", b"no archive", "cannot be read as a .tgz archive"),
        ("empty.tar", tarred([]), "holds no files"),
    ],
)
def test_an_archive_that_is_none_a_bomb_or_leads_outside_is_one_reason(client, monkeypatch, name, content, reason):
    monkeypatch.setattr(archives, "MEMBERS", 100)
    (row,) = scored(client, name, content)
    assert row.keys() == {"name", "reason"}
    assert row["name"] == name
    assert reason in row["reason"]
    assert tempfile.gettempdir() not in row["reason"]


def test_a_file_that_is_no_archive_is_a_job_too(client, files):
    assert scored(client, *files[0]) == client.post(files[:1])[2]
    assert "reason" in scored(client, "notes.txt", b"no picture")[0]


def test_what_a_header_claims_is_not_allocated(client):
    """A record of extended headers may claim to be as large as a disk."""
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 2**40
    (row,) = scored(client, "huge.tar", header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert "cannot be read" in row["reason"]


def test_a_job_waits_its_turn_while_requests_are_answered_and_says_how_far_it_is(slow, files):
    with serving(slow, Folder("."), limits=LIMITS) as client:
        first, second = (begun(client, "a.zip", zipped(files)) for _ in range(2))
        assert slow.begun.acquire(timeout=20)
        assert client.get(first)[2] == {"state": "running", "done": 0, "total": 12}
        assert client.get(second)[2] == {"state": "waiting", "done": 0}
        slow.may.set()
        assert client.post([files[0]])[0] == 200
        assert ended(client, first)["rows"] == ended(client, second)["rows"]


def test_jobs_are_bounded_in_number_whoever_sends_them_and_forgotten_after_a_while(detector, files):
    content = zipped(files)
    with serving(detector, Folder("."), limits=Limits(jobs=2, kept=0.5)) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post([("a.zip", content)], "/jobs"), range(8)))
        assert sorted(status for status, _, _ in answers)[:2] == [202, 202]
        kept = [said["job"] for status, _, said in answers if status == 202]
        refused = [(headers["retry-after"], list(said)) for status, headers, said in answers if status != 202]
        assert refused.count(("5", ["error"])) == len(refused) == 6
        began = time.monotonic()
        while any(client.get(job)[0] == 200 for job in kept):
            assert time.monotonic() - began < 30
            time.sleep(0.05)
        assert "unlikelihood_jobs 0.0" in client.get("/metrics")[2]
        scored(client, "a.zip", content)


def test_a_job_ends_once_however_many_ask_and_makes_room(slow, files, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    content = zipped(files)
    with serving(slow, Folder("."), limits=Limits(jobs=2)) as client, ThreadPoolExecutor(8) as pool:
        jobs = [begun(client, "a.zip", content) for _ in range(2)]
        assert slow.begun.acquire(timeout=20)
        for job in jobs:
            answers = sorted(pool.map(lambda _, job=job: client.ask("DELETE", job)[0], range(8)))
            assert answers == [204] + [404] * 7
            assert client.get(job)[0] == 404
        third = begun(client, "b.zip", content)
        slow.may.set()
        assert len(ended(client, third)["rows"]) == 12
        # The first was given up at work, the second while it waited: neither was scored on.
        assert slow.begun.acquire(timeout=20)
        assert not slow.begun.acquire(blocking=False)
        assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    "sent", [b"", b"--x\r\n", b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.zip"\r\n\r\nPK']
)
def test_who_is_slow_or_hangs_up_keeps_no_place(detector, files, monkeypatch, caplog, sent):
    monkeypatch.setattr("unlikelihood.serve.server.HEAD", 0.5)
    head = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n"
    head += b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    with serving(detector, Folder("."), limits=Limits(jobs=1, seconds=0.5)) as client:
        assert raw(client, head, sent).startswith(b"HTTP/1.1 408 ")
        with socket.create_connection(("127.0.0.1", client.port), 20) as connection:
            connection.sendall(head + sent)
        began = time.monotonic()
        while '{path="/jobs",status="400"}' not in client.get("/metrics")[2]:
            assert time.monotonic() < began + 20
            time.sleep(0.01)
        assert len(scored(client, "a.zip", zipped(files))) == 12
    assert "Traceback" not in caplog.text


class Failing(PCAResidual):
    """Fails while it scores."""

    def _score(self, X):
        raise KeyError("secret.png")


def test_a_model_that_fails_fails_its_job_with_no_rows_and_no_word_of_what_was_sent(files, caplog):
    detector = PCAResidual(n_components=3).fit(normals((1, 8, 8), 100))
    detector.__class__ = Failing
    with serving(detector, Folder(".")) as client:
        told = ended(client, begun(client, "secret.zip", zipped(files)))
        assert told.keys() == {"state", "done", "total", "error"}
        assert (told["state"], told["done"], told["total"]) == ("failed", 0, 12)
        assert "KeyError" in told["error"]
        detector.__class__ = PCAResidual
        assert len(scored(client, "a.zip", zipped(files))) == 12
    assert "secret" not in caplog.text + json.dumps(told)


def test_a_job_at_work_does_not_keep_the_service_from_ending_and_leaves_nothing(slow, files, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with serving(slow, Folder(".")) as client:
        for _ in range(3):
            begun(client, "a.zip", zipped(files))
        assert slow.begun.acquire(timeout=20)
        assert any(file.suffix == ".png" for file in tmp_path.rglob("*"))
        slow.may.set()
    assert list(tmp_path.rglob("*")) == []


def test_openapi_tells_of_jobs_with_examples_that_its_schemas_allow(client):
    from unlikelihood.serve.jobs import Begun, Told

    paths = client.get("/openapi.json")[2]["paths"]
    begin, (tell, end) = paths["/jobs"]["post"], (paths["/jobs/{name}"][method] for method in ("get", "delete"))
    assert {"202", "400", "401", "413", "503"} < begin["responses"].keys()
    assert Begun(**begin["responses"]["202"]["content"]["application/json"]["example"]).job.startswith("/jobs/")
    by_id = {operation["operationId"] for operation in (tell, end)}
    assert begin["responses"]["202"]["links"].keys() == by_id
    examples = tell["responses"]["200"]["content"]["application/json"]["examples"]
    assert {Told(**one["value"]).state for one in examples.values()} == {"running", "done", "failed"}
    assert {"204", "404"} < end["responses"].keys()


def test_who_has_no_key_has_no_job(detector, files):
    key = "a key of a test, which nobody else has"
    with serving(detector, Folder("."), keys=[key]) as client:
        body, kind = multipart([("a.zip", zipped(files))])
        assert client.ask("POST", "/jobs", body, content_type=kind)[0] == 401
        job = begun(client, "a.zip", zipped(files), authorization=f"Bearer {key}")
        assert client.get(job)[0] == client.ask("DELETE", job)[0] == 401
        assert client.get(job, authorization=f"Bearer {key}")[0] == 200
