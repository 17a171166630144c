# SPDX-License-Identifier: Apache-2.0
"""The echo server and its clients, without an ingress between them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

import pytest
import urllib3
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from lab import echo_server
from lab.bus import free_port
from lab.echo import Socket, alive, certificate

HOST = "echo.lab.test"


def check(folder: Path, body: Callable[[int, ssl.SSLContext], Awaitable[None]]) -> None:
    """Run a server with TLS, as the ingress has it, and a test of it."""
    text, key = certificate([HOST], 1)
    (folder / "cert.pem").write_text(text, encoding="utf-8")
    (folder / "key.pem").write_text(key, encoding="utf-8")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    async def run() -> None:
        port = free_port()
        server = await echo_server.start("127.0.0.1", port, tls)
        async with asyncio.timeout(60):
            await body(port, ssl.create_default_context(cadata=text))
        server.close()

    asyncio.run(run())


def test_messages_come_back_until_the_connection_ends(tmp_path: Path) -> None:
    async def body(port: int, context: ssl.SSLContext) -> None:
        one = await Socket.open(
            "127.0.0.1", HOST, context, "/path?x=1", {"Sec-WebSocket-Protocol": "key"}, port
        )
        assert await one.echo("there?")
        assert await one.echo("x" * 1000)
        one.close()
        await asyncio.sleep(0)
        assert not await one.echo("there?")

    check(tmp_path, body)


def test_many_sockets_are_counted(tmp_path: Path) -> None:
    async def body(port: int, context: ssl.SSLContext) -> None:
        sockets = [await Socket.open("127.0.0.1", HOST, context, port=port) for _each in range(3)]
        sockets[0].close()
        await asyncio.sleep(0)
        assert await alive(sockets, "alive") == 2
        for each in sockets:
            each.close()

    check(tmp_path, body)


def test_plain_requests_are_shown_as_they_arrived(tmp_path: Path) -> None:
    async def body(port: int, context: ssl.SSLContext) -> None:
        def ask() -> urllib3.BaseHTTPResponse:
            with urllib3.HTTPSConnectionPool(
                "127.0.0.1", port, ssl_context=context, server_hostname=HOST, assert_hostname=HOST
            ) as pool:
                headers = {"Host": HOST, "X-Real-IP": "203.0.113.7"}
                return pool.request("GET", "/path?hold=0.1", headers=headers)

        answer = await asyncio.to_thread(ask)
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        arrived = answer.json()
        assert (arrived["method"], arrived["path"]) == ("GET", "/path?hold=0.1")
        assert ["X-Real-IP", "203.0.113.7"] in arrived["headers"]
        assert ["Host", HOST] in arrived["headers"]

    check(tmp_path, body)


def test_a_refusal_is_a_connection_error_with_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(socket: ServerConnection, _request: Request) -> Response:
        return socket.respond(HTTPStatus.TOO_MANY_REQUESTS, "")

    monkeypatch.setattr(echo_server, "show", refuse)

    async def body(port: int, context: ssl.SSLContext) -> None:
        with pytest.raises(ConnectionError, match="429"):
            await Socket.open("127.0.0.1", HOST, context, port=port)
        with pytest.raises(ssl.SSLCertVerificationError):
            await Socket.open("127.0.0.1", "other.lab.test", context, port=port)

    check(tmp_path, body)
