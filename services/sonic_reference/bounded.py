# SPDX-License-Identifier: Apache-2.0
"""Answers of other services, read with a bound on what they become in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

# Nothing is compressed: a few bytes on the wire could become any number of them.
PLAIN = {"Accept-Encoding": "identity"}


async def pieces(answer: httpx.Response, limit: int) -> AsyncIterator[bytes]:
    """Yield a streamed answer's bytes as they come, no more than ``limit`` of them.

    Raises:
        httpx.DecodingError: there are more, or they are compressed.
        httpx.HTTPError: the connection fails.
    """
    if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise httpx.DecodingError("the answer is compressed, and was not asked to be")
    taken = 0
    async for piece in answer.aiter_bytes():
        taken += len(piece)
        if taken > limit:
            raise httpx.DecodingError(f"the answer is too long: more than {limit} bytes")
        yield piece


async def content(answer: httpx.Response, limit: int) -> bytes:
    """Return all bytes of a streamed answer. Raises as :func:`pieces` does."""
    return b"".join([piece async for piece in pieces(answer, limit)])
