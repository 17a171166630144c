# SPDX-License-Identifier: Apache-2.0
"""uvicorn's WebSockets, with limits on the memory that a client can use."""

from __future__ import annotations

from asyncio.transports import BaseTransport
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

# Bytes that are read at a time. All messages in them are queued before reading stops, and a message
# of one letter takes some forty times its bytes there.
READ_BYTES = 32 * 1024


class BoundedProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection.

    uvicorn 0.54 queues a pong for each ping, also for a client that reads none of them, keeps all
    fragments of a message apart, also empty ones, and writes a traceback for each text that is not
    UTF-8.
    """

    def connection_made(self, transport: BaseTransport) -> None:
        """Read in small parts (asyncio's own are 256 KiB)."""
        super().connection_made(transport)
        reader: Any = transport
        reader.max_size = READ_BYTES

    def handle_cont(self, event: Frame) -> None:
        """Join a message's fragments as they come, so that they take their bytes and no more."""
        whole: Any = self.frames[0]
        if not isinstance(whole, bytearray):
            whole = bytearray(whole)
        whole += event.data
        self.frames = [whole]
        if event.fin:
            self.frames = [bytes(whole)]
            self.send_receive_event_to_app()

    def handle_ping(self) -> None:
        """Answer a ping, but not while the client leaves earlier answers unread."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def send_receive_event_to_app(self) -> None:
        """Hand on a message; a text that is not UTF-8 ends the connection (RFC 6455, 8.1)."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.send_close(1007)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()
