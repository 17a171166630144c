# SPDX-License-Identifier: Apache-2.0
"""POST /stt, WS /stt/websocket and WS /stt/turns/websocket: speech to text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message
from starlette.websockets import WebSocket

from sonic_reference import protocol
from sonic_reference.api.errors import refuse
from sonic_reference.api.listening import Listening
from sonic_reference.api.requests import connection_version, read_body, unless_gone, unless_over
from sonic_reference.api.schema import ListenRequest, LiveListenRequest, parse, parse_version
from sonic_reference.api.site import Site, site_of
from sonic_reference.api.streaming import after_grace, disconnected
from sonic_reference.api.transcription import Manual, Turns, transcribe
from sonic_reference.errors import ApiError
from sonic_reference.protocol import TranscriptionJob


async def stt(request: Request) -> Response:
    """Answer POST /stt with the text of a recording; the caller's permit must last so long."""
    site = site_of(request)
    parse_version(request.headers.get("cartesia-version"))
    permit = await site.credentials.check(request, "stt")
    return await unless_over(
        after_grace(site.credentials.ended(permit)), _transcript(request, site)
    )


async def stt_websocket(socket: WebSocket) -> None:
    """Serve WS /stt/websocket."""
    await _listen(socket, Manual)


async def stt_turns_websocket(socket: WebSocket) -> None:
    """Serve WS /stt/turns/websocket."""
    await _listen(socket, lambda _language: Turns())


async def _listen(socket: WebSocket, shape: Callable[[str], Manual | Turns]) -> None:
    site = site_of(socket)
    try:
        version = connection_version(socket)
        query = parse(LiveListenRequest, dict(socket.query_params))
        permit = await site.sessions.open(socket, "stt")
        site.dispatcher.roster.resolve("stt", query.model)
    except ApiError as error:
        await refuse(socket, error)
        return
    await socket.accept()
    job = query.job(socket.state.request_id, interim=True)
    await Listening(
        socket, shape(query.language), job,
        dispatcher=site.dispatcher, sessions=site.sessions, permit=permit, version=version,
    ).serve()  # fmt: skip


async def _transcript(request: Request, site: Site) -> Response:
    async with site.recordings.receive() as recording:
        body = await read_body(request, site.settings.max_audio_bytes, recording.take)
        query, content, with_words = await read_recording(request, body)
        del body
        if "encoding" in request.query_params:
            sound = content
        else:
            sound = await recording.decode(content)
            query = query.model_copy(
                update={"encoding": "pcm_s16le", "sample_rate": protocol.FILE_RATE}
            )
        del content
        job = query.job(request.state.request_id, interim=False)
        gone = asyncio.create_task(disconnected(request.receive))
        try:
            transcript = await unless_gone(gone, transcribe(site.dispatcher, job, sound))
        finally:
            gone.cancel()
    if not with_words:
        del transcript["words"]
    return JSONResponse(
        transcript
        | {
            "duration": round(_seconds(job, sound), 3),
            "language": job.language,
            "request_id": request.state.request_id,
        }
    )


def _seconds(job: TranscriptionJob, sound: bytes) -> float:
    return len(sound) / protocol.SAMPLE_BYTES[job.encoding] / job.sample_rate


async def read_recording(request: Request, body: bytes) -> tuple[ListenRequest, bytes, bool]:
    """Return what a POST /stt asks, the file, and whether times of words are wanted.

    Raises ApiError 400.
    """

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        form = await Request(request.scope, receive).form(max_files=1, max_fields=20)
    except HTTPException as error:
        raise ApiError(400, "invalid_request", "Invalid request", error.detail) from None
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise ApiError(
                400, "invalid_request", "Invalid request",
                "file: the body must be multipart/form-data with a file",
            )  # fmt: skip
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        query = parse(ListenRequest, fields | dict(request.query_params))
        granularities = form.getlist("timestamp_granularities[]")
        granularities += form.getlist("timestamp_granularities")
        return query, await file.read(), "word" in granularities
    finally:
        await form.close()
