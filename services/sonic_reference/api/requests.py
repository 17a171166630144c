# SPDX-License-Identifier: Apache-2.0
"""Read requests, and stop work that its caller no longer waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.requests import ClientDisconnect, HTTPConnection, Request

from sonic_reference.api.schema import parse_version
from sonic_reference.errors import ApiError

Result = TypeVar("Result")

BODY_TIMEOUT_S = 15.0


def connection_version(connection: HTTPConnection) -> str:
    """Return the API's version; of a WebSocket, the query's wins, since browsers set no headers.

    Raises ApiError 400.
    """
    version = connection.headers.get("cartesia-version")
    if connection.scope["type"] == "websocket":
        version = connection.query_params.get("cartesia_version") or version
    return parse_version(version)


async def read_body(
    request: Request, limit: int, take: Callable[[int], None] | None = None
) -> bytes:
    """Return the body; ``take`` is called before each part of it, with its bytes.

    Raises ApiError 413 over the limit (bytes), 408 when it does not come, and what ``take`` does.
    """
    too_large = ApiError(
        413, "request_too_large", "Request too large", f"The body is larger than {limit} bytes",
        {"Connection": "close"},
    )  # fmt: skip
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream():
                if take:
                    take(len(part))
                body += part
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise ApiError(
            408, "request_timeout", "Request timeout", "The body did not arrive in time",
            {"Connection": "close"},
        ) from None  # fmt: skip
    return bytes(body)


async def unless_gone(gone: asyncio.Task[None], work: Awaitable[Result]) -> Result:
    """Return the result of work. Raises ClientDisconnect when the client leaves before that."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    except BaseException:
        gone.cancel()
        raise
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def unless_over(ended: Awaitable[ApiError], work: Awaitable[Result]) -> Result:
    """Return the result of work. Raises the error of ``ended`` when that comes before it.

    The error's answer closes the connection: the request's body may not have been read.
    """
    task, ending = asyncio.ensure_future(work), asyncio.ensure_future(ended)
    try:
        await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        error = ending.result()
        headers = error.headers | {"Connection": "close"}
        raise ApiError(error.status, error.code, error.title, error.message, headers)
    finally:
        for each in (task, ending):
            each.cancel()
        await asyncio.wait({task, ending})
