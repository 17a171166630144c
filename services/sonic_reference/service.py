# SPDX-License-Identifier: Apache-2.0
"""What the services share: signals, logs, HTTP servers, and the metrics port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Generator
from typing import TypeVar

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp

from sonic_reference.masking import MaskingFormatter
from sonic_reference.settings import ServiceSettings, SettingsError
from sonic_reference.sockets import BoundedProtocol

log = logging.getLogger(__name__)

# The largest message on a WebSocket; audio comes in far smaller ones.
MAX_MESSAGE_BYTES = 1024 * 1024

BUSY_POLL_S = 0.05

# Of all connections. They are inherited from the listening socket (Linux).
OPTIONS = (
    # asyncio sets it only on sockets that it made, and without it each small piece of audio waits
    # 40 ms for the acknowledgement of the one before.
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # A client whose host failed sends no end, and would keep its streams. It is given up when it
    # has not answered, or read anything, for two minutes.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 120_000),
)

Read = TypeVar("Read", bound=ServiceSettings)


class Server(uvicorn.Server):
    """An HTTP server inside a service that handles its signals itself.

    At its end it takes no new connections, and closes WebSockets when ``busy`` no longer returns
    true: something is in progress on them until then.
    """

    def __init__(self, config: uvicorn.Config, busy: Callable[[], bool]) -> None:
        super().__init__(config)
        self._busy = busy

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in order."""
        for server in self.servers:
            server.close()
        while self._busy() and not self.force_exit:  # noqa: ASYNC110
            await asyncio.sleep(BUSY_POLL_S)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone."""
        yield


class Listener:
    """An HTTP application on a port, from :meth:`start` to :meth:`stop`."""

    def __init__(
        self, app: ASGIApp, host: str, port: int, busy: Callable[[], bool] = lambda: False
    ) -> None:
        self._address = (host, port)
        self._server = Server(
            uvicorn.Config(
                app,
                lifespan="off",
                http="httptools",
                ws=BoundedProtocol,
                ws_max_size=MAX_MESSAGE_BYTES,
                # Audio in base64 hardly shrinks, and each socket would hold buffers for it.
                ws_per_message_deflate=False,
                access_log=False,
                log_config=None,
                server_header=False,
                # Longer than an ingress keeps an idle connection, so that the ingress closes first.
                timeout_keep_alive=90,
            ),
            busy,
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. Raises OSError when the port is in use."""
        bound = socket.create_server(self._address, backlog=1024)
        for option in OPTIONS:
            bound.setsockopt(*option)
        self._task = asyncio.create_task(self._server.serve(sockets=[bound]))
        log.info("listening on %s:%d", *bound.getsockname()[:2])

    async def stop(self, timeout_s: float) -> None:
        """Take no new connections, let requests in progress finish for that long, then cut them."""
        if self._task is None:
            return
        self._server.should_exit = True
        _unused, late = await asyncio.wait({self._task}, timeout=timeout_s)
        if late:
            log.warning("requests still in progress after %g s are cut", timeout_s)
            self._server.force_exit = True
        await self._task


def exact(*routes: Route | WebSocketRoute) -> list[BaseRoute]:
    """Return routes that match their paths only, whole.

    Starlette's patterns end in ``$``, which also stands before a line feed at the end: /status%0A
    would be /status.
    """
    for route in routes:
        route.path_regex = re.compile(route.path_regex.pattern.removesuffix("$") + r"\Z")
    return list(routes)


def metrics_app(registry: CollectorRegistry, ready: Callable[[], bool]) -> Starlette:
    """Return the application on the metrics port: /metrics, /ready (200 or 503) and /live."""
    app = Starlette(routes=metrics_routes())
    app.state.registry = registry
    app.state.ready = ready
    return app


def metrics_routes() -> list[BaseRoute]:
    """Return the routes of the metrics port.

    They read the application's ``state.registry``, and call its ``state.ready``.
    """
    return exact(Route("/metrics", _metrics), Route("/ready", _ready), Route("/live", _live))


async def _metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


async def _ready(request: Request) -> Response:
    ready = request.app.state.ready()
    return PlainTextResponse("ready" if ready else "not ready", 200 if ready else 503)


async def _live(_request: Request) -> Response:
    return PlainTextResponse("live")


def set_up_logging(name: str, level: str) -> None:
    """Write all records of a service to standard error, without the keys of clients."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(MaskingFormatter(f"%(asctime)s %(levelname)s {name} %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    # A line for each call to the license proxy has no news.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # Metrics count WebSockets; a line for each adds nothing.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def run(name: str, kind: type[Read], main: Callable[[Read, asyncio.Event], Awaitable[None]]) -> int:
    """Run a service until SIGTERM or SIGINT sets the event it is given; returns the exit status.

    ``kind`` is the model of its settings. The status is 0 after an orderly end, 1 when the service
    failed, 2 when its settings are wrong.
    """
    try:
        settings = kind.read(os.environ)
    except SettingsError as error:
        set_up_logging(name, "INFO")
        for line in str(error).splitlines():
            log.error("%s", line)
        return 2
    set_up_logging(name, settings.log_level)

    async def body() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await main(settings, stop)

    try:
        with asyncio.Runner() as runner:
            runner.run(body())
    except OSError as error:
        log.error("%s", error)
        return 1
    return 0
