# SPDX-License-Identifier: Apache-2.0
"""uvicorn's WebSockets, with bounds on what a client can make them do."""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class BoundedProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection.

    uvicorn 0.54 queues a pong for each ping, also for a client that reads none of them, and writes
    a traceback for each text that is not UTF-8.
    """

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
