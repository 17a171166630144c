# SPDX-License-Identifier: Apache-2.0
"""HTTP answers that grow while a worker speaks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sonic_reference.api.dispatch import Event, Stream, WorkerLostError
from sonic_reference.api.limits import FINISH_S
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.api.sessions import SEND_TIMEOUT_S, stopped
from sonic_reference.errors import ApiError

log = logging.getLogger(__name__)


async def disconnected(receive: Receive) -> None:
    """Return when the client leaves; the request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def audio(
    stream: Stream, head: list[Event], metrics: ApiMetrics
) -> AsyncGenerator[bytes, None]:
    """Yield a stream's audio. Raises BrokenError when it ends early."""
    metrics.streams.inc()
    try:
        for event in head:
            if event.kind == "audio":
                yield event.content
        while following := await stream.next():
            yield following.content
    except WorkerLostError as error:
        metrics.broken.labels("worker_lost").inc()
        raise BrokenError(str(error)) from None
    except ApiError as error:
        metrics.broken.labels("worker_error").inc()
        raise BrokenError(str(error)) from None
    finally:
        metrics.streams.dec()


async def after_grace(ended: Coroutine[Any, Any, ApiError]) -> ApiError:
    """Return why a permit ended, FINISH_S later: work in progress may finish until then."""
    error = await ended
    await asyncio.sleep(FINISH_S)
    return error


class BrokenError(Exception):
    """An answer cannot be finished."""


class GrowingResponse(Response):
    """Bytes as they come.

    ``gone`` ends when the client leaves. ``close`` is called at the end in every case. When the
    parts break off, the connection is closed without HTTP's final chunk, so that no client takes a
    part for the whole. ``ended`` returns the error when the caller's permit ends. The parts may
    then go on for FINISH_S. ``farewell`` makes a last part of the error, for media types that can
    hold one.
    """

    def __init__(
        self,
        parts: AsyncGenerator[bytes, None],
        media_type: str,
        *,
        gone: asyncio.Task[None],
        close: Callable[[], Awaitable[None]],
        ended: Coroutine[Any, Any, ApiError],
        farewell: Callable[[ApiError], bytes] | None = None,
    ) -> None:
        self.media_type = media_type
        self.status_code = 200
        self.background = None
        self.body = b""
        self.init_headers({"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._parts = parts
        self._gone = gone
        self._close = close
        # Made at once, so that an answer that is never sent leaves no coroutine behind.
        self._ending = asyncio.create_task(after_grace(ended))
        self._farewell = farewell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything; returns early, without the answer's end, when the parts break off."""
        talking = asyncio.create_task(self._talk(scope, send))
        try:
            await asyncio.wait(
                {talking, self._gone, self._ending}, return_when=asyncio.FIRST_COMPLETED
            )
            if talking.done():
                return
            await stopped(talking)
            if self._gone.done():
                scope["state"]["left"] = True
                return
            error = self._ending.result()
            log.info("request %s is cut: %s", scope["state"]["request_id"], error.code)
            if self._farewell:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FINISH_S):
                        last = self._farewell(error)
                        await send({"type": "http.response.body", "body": last})
        finally:
            try:
                await stopped(talking, self._gone, self._ending)
            finally:
                # Parts that never began do not clean up themselves.
                await asyncio.shield(self._close())

    async def _talk(self, scope: Scope, send: Send) -> None:
        request_id = scope["state"]["request_id"]
        try:
            async with aclosing(self._parts) as parts:
                await send(
                    {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                )
                async for part in parts:
                    async with asyncio.timeout(SEND_TIMEOUT_S):
                        await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except BrokenError as error:
            log.error("request %s: stream cut: %s", request_id, error)
        except TimeoutError:
            scope["state"]["left"] = True
            log.warning("request %s: the client took nothing for %g s", request_id, SEND_TIMEOUT_S)
