# SPDX-License-Identifier: Apache-2.0
"""The HTTP answer that grows while a worker speaks."""

from __future__ import annotations

import asyncio
import logging

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sonic_reference.api.dispatch import Speech, WorkerLostError
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.errors import ApiError

log = logging.getLogger(__name__)

# A client that takes nothing for this long has left.
SEND_TIMEOUT_S = 30.0


async def disconnected(receive: Receive) -> None:
    """Return when the client leaves; the request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


class SpeechResponse(Response):
    """Audio as it comes.

    When the worker is lost after the answer has begun, the connection is closed without the end
    that HTTP asks for, so that no client takes a part for the whole.
    """

    def __init__(
        self,
        speech: Speech,
        first: bytes,
        media_type: str,
        gone: asyncio.Task[None],
        metrics: ApiMetrics,
    ) -> None:
        self.media_type = media_type
        self.status_code = 200
        self.background = None
        self.body = b""
        self.init_headers({"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._speech = speech
        self._first = first
        self._gone = gone
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything; returns early, without the answer's end, when the stream breaks."""
        self._metrics.streams.inc()
        talking = asyncio.create_task(self._talk(scope, send))
        try:
            await asyncio.wait({talking, self._gone}, return_when=asyncio.FIRST_COMPLETED)
            if talking.done():
                await talking
            else:
                scope["state"]["left"] = True
        finally:
            talking.cancel()
            self._gone.cancel()
            self._metrics.streams.dec()
            await asyncio.shield(self._speech.close())

    async def _talk(self, scope: Scope, send: Send) -> None:
        request_id = scope["state"]["request_id"]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            audio: bytes | None = self._first
            while audio is not None:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await send({"type": "http.response.body", "body": audio, "more_body": True})
                audio = await self._speech.next()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except WorkerLostError as error:
            self._metrics.broken.labels("worker_lost").inc()
            log.error("request %s: stream cut: %s", request_id, error)
        except ApiError as error:
            self._metrics.broken.labels("worker_error").inc()
            log.error("request %s: stream cut: %s", request_id, error)
        except TimeoutError:
            scope["state"]["left"] = True
            log.warning("request %s: the client took nothing for %g s", request_id, SEND_TIMEOUT_S)
