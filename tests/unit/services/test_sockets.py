# SPDX-License-Identifier: Apache-2.0
"""What a client can make of a WebSocket without saying a word."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
import uvicorn
from sonic_reference.sockets import READ_BYTES, BoundedProtocol
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from tests.unit.services.sockets import settle


class Wire:
    """A transport whose reader takes nothing when the test says so."""

    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, data: bytes) -> None:
        self.written += data

    def get_extra_info(self, _name: str) -> Any:
        return None

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Nothing is read by itself here."""

    resume_reading = close = pause_reading


async def opened(messages: list[Any]) -> tuple[BoundedProtocol, Any, ClientProtocol]:
    """A server's connection, its transport, and the client's side of it."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        while True:
            messages.append(await receive())

    config = uvicorn.Config(app, log_config=None, ws=BoundedProtocol)
    config.load()
    protocol = BoundedProtocol(config, ServerState(), {})
    wire: Any = Wire()
    protocol.connection_made(wire)
    client = ClientProtocol(parse_uri("ws://site/"))
    client.send_request(client.connect())
    protocol.data_received(b"".join(client.data_to_send()))
    await settle()
    client.receive_data(bytes(wire.written))
    return protocol, wire, client


def run(body: Coroutine[Any, Any, None]) -> None:
    """Run a test, and end the server's tasks."""

    async def whole() -> None:
        await body
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    asyncio.run(whole())


def test_pings_of_a_client_that_reads_nothing_are_not_answered() -> None:
    async def body() -> None:
        protocol, wire, client = await opened([])
        before = len(wire.written)

        client.send_ping(b"read")
        protocol.data_received(b"".join(client.data_to_send()))
        answer = len(wire.written) - before
        assert answer == 2 + len(b"read")

        protocol.pause_writing()
        for _unused in range(1000):
            client.send_ping(bytes(125))
        protocol.data_received(b"".join(client.data_to_send()))
        assert len(wire.written) - before == answer

        protocol.resume_writing()
        client.send_ping(b"read")
        protocol.data_received(b"".join(client.data_to_send()))
        assert len(wire.written) - before == 2 * answer

    run(body())


@pytest.mark.parametrize("kind", ["text", "bytes"])
def test_fragments_take_no_more_than_their_bytes(kind: str) -> None:
    async def body() -> None:
        messages: list[Any] = []
        protocol, wire, client = await opened(messages)
        assert wire.max_size == READ_BYTES
        begin = client.send_text if kind == "text" else client.send_binary
        begin(b"a", fin=False)
        for _unused in range(1000):
            client.send_continuation(b"", fin=False)
            client.send_continuation(b"b", fin=False)
        protocol.data_received(b"".join(client.data_to_send()))
        assert len(protocol.frames) == 1
        client.send_continuation(b"c", fin=True)
        protocol.data_received(b"".join(client.data_to_send()))
        await settle()
        whole = b"a" + b"b" * 1000 + b"c"
        assert messages[-1][kind] == (whole.decode() if kind == "text" else whole)

    run(body())
