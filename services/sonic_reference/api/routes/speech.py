# SPDX-License-Identifier: Apache-2.0
"""POST /tts/bytes, POST /tts/sse and WS /tts/websocket: text to speech."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from sonic_reference.api.contexts import Session
from sonic_reference.api.credentials import Permit
from sonic_reference.api.errors import refuse
from sonic_reference.api.events import Fields, Speaker, done_event, error_event, sse
from sonic_reference.api.requests import connection_version, read_body, unless_gone
from sonic_reference.api.schema import EventsRequest, SpeechRequest, parse_json, parse_version
from sonic_reference.api.site import site_of
from sonic_reference.api.streaming import GrowingResponse, audio, disconnected
from sonic_reference.errors import ApiError

Speech = TypeVar("Speech", bound=SpeechRequest)


async def tts_bytes(request: Request) -> Response:
    """Answer POST /tts/bytes with audio while it is spoken."""
    site = site_of(request)
    speech, permit = await _read(request, SpeechRequest)
    job = speech.job(request.state.request_id, site.voices)
    gone = asyncio.create_task(disconnected(request.receive))
    stream, head = await unless_gone(gone, site.dispatcher.open(job))
    site.metrics.ttfa.labels(stream.offering).observe(time.monotonic() - request.state.began)
    return GrowingResponse(
        audio(stream, head, site.metrics), job.output_format.media_type,
        gone=gone, close=stream.close, ended=site.credentials.ended(permit),
    )  # fmt: skip


async def tts_sse(request: Request) -> Response:
    """Answer POST /tts/sse with events while the text is spoken."""
    site = site_of(request)
    speech, permit = await _read(request, EventsRequest)
    version = connection_version(request)
    common = {"context_id": speech.context_id} if speech.context_id else {}
    gone = asyncio.create_task(disconnected(request.receive))
    speaker = Speaker(site.dispatcher, site.metrics)
    job = speech.job(request.state.request_id, site.voices)
    events = speaker.speak(job, request.state.began)
    # Errors before the first event are answered with their status.
    first = await unless_gone(gone, anext(events))

    def broken(error: ApiError) -> bytes:
        return sse(error_event(error, request.state.request_id, version) | common)

    return GrowingResponse(
        _events(first, events, common, broken), "text/event-stream",
        gone=gone, close=events.aclose, ended=site.credentials.ended(permit), farewell=broken,
    )  # fmt: skip


async def tts_websocket(socket: WebSocket) -> None:
    """Serve WS /tts/websocket."""
    site = site_of(socket)
    try:
        version = connection_version(socket)
        permit = await site.sessions.open(socket, "tts")
    except ApiError as error:
        await refuse(socket, error)
        return
    await socket.accept()
    session = Session(
        socket, site.dispatcher, site.library, site.metrics,
        voices=site.voices, version=version, sessions=site.sessions, permit=permit,
    )  # fmt: skip
    await session.serve()


async def _read(request: Request, model: type[Speech]) -> tuple[Speech, Permit]:
    """Return a request for speech with its text as its dictionary has it, and who sent it.

    Raises ApiError.
    """
    site = site_of(request)
    parse_version(request.headers.get("cartesia-version"))
    permit = await site.credentials.check(request, "tts")
    speech = parse_json(model, await read_body(request, site.settings.max_body_bytes))
    await site.library.fetch(speech.pronunciation_dict_id)
    text = await site.library.apply(speech.pronunciation_dict_id, speech.transcript)
    return speech.model_copy(update={"transcript": text}), permit


async def _events(
    first: Fields,
    events: AsyncGenerator[Fields, None],
    common: Fields,
    broken: Callable[[ApiError], bytes],
) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events, each with the common fields; an error is the last one."""
    async with aclosing(events):
        yield sse(first | common)
        try:
            async for event in events:
                yield sse(event | common)
            yield sse(done_event() | common)
        except ApiError as error:
            yield broken(error)
