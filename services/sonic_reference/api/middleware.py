# SPDX-License-Identifier: Apache-2.0
"""What happens around all requests."""

from __future__ import annotations

import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sonic_reference.api.errors import CLIENT_LEFT
from sonic_reference.api.metrics import ApiMetrics

# The messages that begin an answer: of a request, of a WebSocket, and of one that is refused.
STARTS = {"http.response.start", "websocket.accept", "websocket.http.response.start"}


class Envelope:
    """Gives each request an id, and measures its time and the status that it ended with."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics, paths: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        state = scope.setdefault("state", {})
        state["request_id"] = str(uuid.uuid4())
        state["began"] = time.monotonic()
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] in STARTS:
                status = message.get("status", 101)
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", state["request_id"].encode()),
                ]
            await send(message)

        if scope["type"] == "websocket":
            with self._metrics.websockets.track_inprogress():
                await self._app(scope, receive, send_with_id)
            return
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            # All other paths count as one: clients choose them, and each label costs memory.
            path = scope["path"] if scope["path"] in self._paths else "other"
            ended = CLIENT_LEFT if state.get("left") else status
            self._metrics.requests.labels(path, str(ended)).observe(
                time.monotonic() - state["began"]
            )
