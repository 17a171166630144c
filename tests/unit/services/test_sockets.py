# SPDX-License-Identifier: Apache-2.0
"""What a client can make of a WebSocket without saying a word."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from sonic_reference.sockets import BoundedProtocol
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.uri import parse_uri


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


def test_pings_of_a_client_that_reads_nothing_are_not_answered() -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await receive()
        await asyncio.Event().wait()

    async def body() -> None:
        config = uvicorn.Config(app, log_config=None, ws=BoundedProtocol)
        config.load()
        protocol = BoundedProtocol(config, ServerState(), {})
        wire: Any = Wire()
        protocol.connection_made(wire)
        client = ClientProtocol(parse_uri("ws://site/"))
        client.send_request(client.connect())
        protocol.data_received(b"".join(client.data_to_send()))
        for _unused in range(10):
            await asyncio.sleep(0)
        client.receive_data(bytes(wire.written))
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
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    asyncio.run(body())
