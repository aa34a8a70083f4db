"""Who may ask, and how much of what somebody sends is taken."""

import asyncio
import hmac
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from starlette.types import Message, Receive

LOOPBACK = ("localhost", "127.0.0.1", "::1")
DRAINED = 2.0  # seconds in which what is left of a refused body is read, so that its sender reads the answer
SHORTEST = 16  # characters of a key
MIB = 2**20


def read_keys(path: Path) -> list[str]:
    """Return the API keys in a file, one a line; lines that start with # are none.

    Raises
    ------
    ValueError
        If there is none, or one is shorter than 16 characters.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise ValueError(f"key-file is {str(path)!r}, which holds no key: expected one a line")
    if (short := min(map(len, keys))) < SHORTEST:
        raise ValueError(f"key-file is {str(path)!r}, with a key of {short} characters: expected at least {SHORTEST}")
    return keys


class Door:
    """Lets in who has a key, or, where there are none, who asks for this machine by its own name.

    A page of another site can ask a service on loopback, but not by that name: otherwise its own name could be made to
    point here, and its scripts would read the answers. Nor may it send what it cannot read the answer to.

    Parameters
    ----------
    keys : sequence of str
        API keys.
    host : str
        What the service listens on.
    """

    def __init__(self, keys: Sequence[str], host: str) -> None:
        self._keys = [sha256(key.encode()).digest() for key in keys]
        self._hosts = {*LOOPBACK, host}

    async def __call__(self, request: Request) -> None:
        """Raise an error of HTTP unless the request may come in."""
        if not self._keys:
            if _host_of(f"//{request.headers.get('host', '')}") not in self._hosts:
                raise HTTPException(421, "this service answers to localhost alone")
            origin = request.headers.get("origin")
            if origin is not None and _host_of(origin) not in self._hosts:
                raise HTTPException(403, "this service answers to no page of another site")
            return
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        own = sha256(given.encode()).digest()
        # All are compared, whichever fits: the time says nothing about any.
        if not sum([hmac.compare_digest(own, key) for key in self._keys]):
            raise HTTPException(
                401, "a key is needed: send it as Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"}
            )


def _host_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:  # of a bracket that is not closed
        return None


def bounded(receive: Receive, most: int) -> Receive:
    """Return what receives a body of so many bytes at most; more is an error of HTTP."""
    total = 0

    async def counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > most:
            raise too_large(most)
        return message

    return counted


def too_large(most: int) -> HTTPException:
    """Return the error that says that a body is too large."""
    return HTTPException(413, f"the request has more than {most / MIB:g} MiB, which is the limit: send fewer files")


async def drain(receive: Receive) -> None:
    """Throw away what is left of a body, for a moment."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAINED):
            while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                pass
