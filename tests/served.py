"""A service on loopback in a thread of this process, and a client that is nothing but the standard library's."""

import http.client
import io
import json
import socket
import threading
import time
import uuid
import zipfile
from contextlib import contextmanager

import numpy as np
from PIL import Image

from tiny import normals
from unlikelihood import PCAResidual
from unlikelihood.serve import server
from unlikelihood.serve.app import service

PATIENCE = 30.0


class Client:
    """Asks a service; an answer is its status, its headers and what its JSON or text says."""

    def __init__(self, port):
        self.port = port

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            content = answer.read()
            of_json = content and "json" in answer.getheader("content-type", "")
            said = json.loads(content) if of_json else content.decode()
            return answer.status, dict(answer.getheaders()), said
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.ask("GET", path, **headers)

    def post(self, files, path="/score", **headers):
        body, kind = multipart(files)
        return self.ask("POST", path, body, content_type=kind, **headers)


def multipart(files):
    """Return files (name, content) as the body of a request and its content type."""
    line = uuid.UUID(int=7).hex
    parts = [
        f'--{line}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    return b"".join([*parts, f"--{line}--\r\n".encode()]), f"multipart/form-data; boundary={line}"


@contextmanager
def serving(detector, *more, patience=PATIENCE, **settings):
    """Yield a client of a service, which ends with the block."""
    app = service(detector, *more, **settings)
    bound = server.listening("127.0.0.1", 0)
    heard = threading.Event()
    config = server.configured(app, patience)
    one = server.Server(config, heard.set)
    thread = threading.Thread(target=one.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        assert heard.wait(PATIENCE)
        client = Client(bound.getsockname()[1])
        client.app, client.server = app, one
        yield client
    finally:
        one.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


def raw(client, *parts, pause=0.0):
    """Send parts of a request by hand, and return all that comes back until the service hangs up."""
    with socket.create_connection(("127.0.0.1", client.port), 20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        found = b""
        while more := connection.recv(2**16):
            found += more
        return found


def png(pixels):
    """Return a grey image (1, H, W) in [0, 1] as the content of a file of 8 bits."""
    content = io.BytesIO()
    Image.fromarray(np.uint8(255 * pixels[0])).save(content, "png")
    return content.getvalue()


def npy(array):
    """Return an array as the content of a file."""
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def zipped(members, **options):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", **options) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return content.getvalue()


class Slow(PCAResidual):
    """Scores when it is told to."""

    def _score(self, X):
        self.begun.release()
        assert self.may.wait(20)
        return super()._score(X)


def slowed():
    """Return a detector of images (1, 8, 8) that says when it begins to score, and waits until it may."""
    detector = Slow(n_components=3)
    detector.begun, detector.may = threading.Semaphore(0), threading.Event()
    detector.may.set()
    detector.fit(normals((1, 8, 8), 100))
    detector.begun, detector.may = threading.Semaphore(0), threading.Event()
    return detector


def calibrated():
    """Return a small fitted and calibrated detector of images of 8x8."""
    X = normals((1, 8, 8), 130)
    return PCAResidual(n_components=3).fit(X[:100]).calibrate(X[100:])
