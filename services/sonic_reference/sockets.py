# SPDX-License-Identifier: Apache-2.0
"""uvicorn's WebSockets, with bounds on what a client can make them do."""

from __future__ import annotations

import logging

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

log = logging.getLogger(__name__)


class BoundedProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection.

    uvicorn 0.54 fails with a traceback on a request line that is not ASCII, and queues a pong for
    each ping of a client that reads nothing.
    """

    def handle_connect(self, event: Request) -> None:
        """Refuse a request line that is not ASCII: percent-encoding is what URLs have for that."""
        if event.path.isascii():
            super().handle_connect(event)
            return
        log.warning("a WebSocket request line that is not ASCII was refused")
        # run_asgi never begins for this connection, so nothing else closes it.
        self.handshake_complete = True
        self.close_sent = True
        self.conn.send_response(self.conn.reject(400, "The URL must be percent-encoded\n"))
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

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
