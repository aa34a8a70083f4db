"""The server: it hears on one address, cuts off who is too slow, and ends in order."""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEAD = 10.0  # seconds in which the head of a request must have arrived


class Impatient(H11Protocol):
    """Hangs up on who has connected, or was answered, and does not say what is wanted; a body has its own limit."""

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(HEAD, self._hang_up, None)

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.loop.call_later(HEAD, self._hang_up, self.cycle)

    def _hang_up(self, last: RequestResponseCycle | None) -> None:
        if self.cycle is last and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """Ends at SIGTERM and SIGINT when all requests that it has are answered, and says when it hears.

    Parameters
    ----------
    config : Config
        Of uvicorn.
    heard : callable
        Called with nothing as soon as requests are taken.
    """

    def __init__(self, config: uvicorn.Config, heard: Callable[[], object]) -> None:
        super().__init__(config)
        self.heard = heard

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.heard()

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # which alone may say what a signal does
            yield
            return
        # Not as uvicorn has it, which raises the signal again: an end that was asked for is no error.
        taken = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address; port 0 takes any that is free.

    Raises
    ------
    OSError
        If it is taken, or no address of this machine; the message names it.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise OSError(f"--host {host} --port {port}: {error.strerror}") from error
    return bound


def serve(app: FastAPI, bound: socket.socket, patience: float, heard: Callable[[], object] = lambda: None) -> None:
    """Answer requests until SIGTERM or SIGINT, and then those that have been begun.

    Parameters
    ----------
    app : FastAPI
        What answers.
    bound : socket
        Where it hears.
    patience : float
        Seconds that requests have to be answered in after the signal.
    heard : callable
        Called as soon as requests are taken.
    """
    Server(configured(app, patience), heard).run(sockets=[bound])


def configured(app: FastAPI, patience: float) -> uvicorn.Config:
    """Return how uvicorn is to run an application that has so many seconds to end."""
    return uvicorn.Config(
        app,
        http=Impatient,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(patience) + 1,
    )
