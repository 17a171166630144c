# SPDX-License-Identifier: Apache-2.0
"""The API server's HTTP side: routes, keys, versions, errors."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from sonic_reference import protocol
from sonic_reference.api import openapi, resources
from sonic_reference.api.contexts import Session
from sonic_reference.api.credentials import Credentials, Permit
from sonic_reference.api.dispatch import Dispatcher
from sonic_reference.api.events import Speaker, error_event, sse
from sonic_reference.api.library import Library
from sonic_reference.api.limits import Limits
from sonic_reference.api.listening import Listening
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.api.recordings import Recordings
from sonic_reference.api.schema import (
    DEFAULT_VERSION,
    STRUCTURED_ERRORS,
    EventsRequest,
    ListenRequest,
    LiveListenRequest,
    SpeechRequest,
    parse,
    parse_json,
    parse_version,
)
from sonic_reference.api.sessions import Sessions
from sonic_reference.api.streaming import GrowingResponse, audio, disconnected
from sonic_reference.api.transcription import Manual, Turns, transcribe
from sonic_reference.errors import ApiError
from sonic_reference.service import exact
from sonic_reference.voices import Voices

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Speech = TypeVar("Speech", bound=SpeechRequest)

BODY_TIMEOUT_S = 15.0
# nginx's number for a client that closed the connection; only metrics and logs see it.
CLIENT_LEFT = 499
# The messages that begin an answer: of a request, of a WebSocket, and of one that is refused.
STARTS = {"http.response.start", "websocket.accept", "websocket.http.response.start"}
TITLES = {404: ("not_found", "Not found"), 405: ("method_not_allowed", "Method not allowed")}


@dataclass
class Health:
    """What /status tells."""

    dispatcher: Dispatcher
    draining: bool = field(default=False)

    @property
    def ready(self) -> bool:
        """Whether requests should come here."""
        return self.dispatcher.connected and not self.draining


class Envelope:
    """Around all requests: an id, an end-to-end time, and the status they ended with."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics, routes: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = routes

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
            # Paths of others are all one, or anybody could grow the metrics without end.
            route = scope["path"] if scope["path"] in self._routes else "other"
            ended = CLIENT_LEFT if state.get("left") else status
            self._metrics.requests.labels(route, str(ended)).observe(
                time.monotonic() - state["began"]
            )


def error_response(connection: HTTPConnection, error: ApiError) -> Response:
    """Return an error in the shape of the request's version of the API."""
    try:
        version = connection_version(connection)
    except ApiError:
        version = DEFAULT_VERSION
    if version < STRUCTURED_ERRORS:
        return PlainTextResponse(f"{error.title}: {error.message}", error.status, error.headers)
    return JSONResponse(
        {
            "error_code": error.code,
            "title": error.title,
            "message": error.message,
            "request_id": connection.state.request_id,
        },
        error.status,
        error.headers,
    )


def connection_version(connection: HTTPConnection) -> str:
    """Return the API's version; of a WebSocket, the query's wins, since browsers set no headers."""
    asked = connection.headers.get("cartesia-version")
    if connection.scope["type"] == "websocket":
        asked = connection.query_params.get("cartesia_version") or asked
    return parse_version(asked)


async def read_body(
    request: Request, limit: int, take: Callable[[int], None] | None = None
) -> bytes:
    """Return the body; ``take`` is asked before each part of it, with its bytes.

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


@dataclass
class Site:
    """What the routes work with."""

    health: Health
    credentials: Credentials
    library: Library
    voices: Voices
    metrics: ApiMetrics
    max_body_bytes: int
    max_audio_bytes: int
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.credentials, self.limits)
        self.recordings = Recordings()


def create_app(site: Site) -> ASGIApp:
    """Return the application on port 5000."""
    health, metrics, dispatcher = site.health, site.metrics, site.health.dispatcher

    async def root(_request: Request) -> Response:
        return JSONResponse({"ok": True, "version": DEFAULT_VERSION})

    async def status(_request: Request) -> Response:
        ok = health.ready
        return JSONResponse(
            {"ok": ok, "nats": dispatcher.connected, "draining": health.draining,
             "version": DEFAULT_VERSION},
            200 if ok else 503,
        )  # fmt: skip

    async def description(_request: Request) -> Response:
        return JSONResponse(openapi.document())

    async def asked(request: Request, model: type[Speech]) -> tuple[Speech, Permit]:
        """Return a checked request for speech, with its text as its dictionary wants it said."""
        parse_version(request.headers.get("cartesia-version"))
        permit = await site.credentials.check(request, "tts")
        wanted = parse_json(model, await read_body(request, site.max_body_bytes))
        await site.library.hear(wanted.pronunciation_dict_id)
        said = await site.library.apply(wanted.pronunciation_dict_id, wanted.transcript)
        return wanted.model_copy(update={"transcript": said}), permit

    async def tts_bytes(request: Request) -> Response:
        wanted, permit = await asked(request, SpeechRequest)
        job = wanted.job(request.state.request_id, site.voices)
        gone = asyncio.create_task(disconnected(request.receive))
        stream, head = await _unless(gone, dispatcher.open(job))
        metrics.ttfa.labels(stream.offering).observe(time.monotonic() - request.state.began)
        return GrowingResponse(
            audio(stream, head, metrics), job.output_format.media_type,
            gone=gone, close=stream.close, ended=site.credentials.ended(permit),
        )  # fmt: skip

    async def tts_sse(request: Request) -> Response:
        wanted, permit = await asked(request, EventsRequest)
        version = connection_version(request)
        common = {"context_id": wanted.context_id} if wanted.context_id else {}
        gone = asyncio.create_task(disconnected(request.receive))
        speaker = Speaker(dispatcher, metrics)
        job = wanted.job(request.state.request_id, site.voices)
        events = speaker.speak(job, request.state.began)
        # Errors before the first event are answered with their status.
        first = await _unless(gone, anext(events))

        def broken(error: ApiError) -> bytes:
            return sse(error_event(error, request.state.request_id, version) | common)

        async def parts() -> AsyncGenerator[bytes, None]:
            async with aclosing(events):
                yield sse(first | common)
                try:
                    async for event in events:
                        yield sse(event | common)
                    yield sse({"type": "done", "done": True, "status_code": 200} | common)
                except ApiError as error:
                    yield broken(error)

        return GrowingResponse(
            parts(), "text/event-stream",
            gone=gone, close=events.aclose, ended=site.credentials.ended(permit), farewell=broken,
        )  # fmt: skip

    async def stt(request: Request) -> Response:
        parse_version(request.headers.get("cartesia-version"))
        await site.credentials.check(request, "stt")
        async with site.recordings.receive() as recording:
            body = await read_body(request, site.max_audio_bytes, recording.take)
            wanted, content, with_words = await read_recording(request, body)
            del body
            if "encoding" in request.query_params:
                job, sound = wanted.job(request.state.request_id, interim=False), content
            else:
                sound = await recording.decode(content)
                wanted = wanted.model_copy(
                    update={"encoding": "pcm_s16le", "sample_rate": protocol.FILE_RATE}
                )
                job = wanted.job(request.state.request_id, interim=False)
            del content
            gone = asyncio.create_task(disconnected(request.receive))
            try:
                said = await _unless(gone, transcribe(dispatcher, job, sound))
            finally:
                gone.cancel()
        if not with_words:
            del said["words"]
        seconds = len(sound) / protocol.SAMPLE_BYTES[job.encoding] / job.sample_rate
        return JSONResponse(
            said | {"duration": round(seconds, 3), "language": job.language,
                    "request_id": request.state.request_id}
        )  # fmt: skip

    async def tts_websocket(socket: WebSocket) -> None:
        try:
            version = connection_version(socket)
            permit = await site.sessions.open(socket, "tts")
        except ApiError as error:
            await socket.send_denial_response(error_response(socket, error))
            return
        await socket.accept()
        session = Session(
            socket, dispatcher, site.library, metrics,
            voices=site.voices, version=version, sessions=site.sessions, permit=permit,
        )  # fmt: skip
        await session.serve()

    async def listen(socket: WebSocket, shape: Callable[[str], Manual | Turns]) -> None:
        try:
            version = connection_version(socket)
            wanted = parse(LiveListenRequest, dict(socket.query_params))
            permit = await site.sessions.open(socket, "stt")
            dispatcher.roster.resolve("stt", wanted.model)
        except ApiError as error:
            await socket.send_denial_response(error_response(socket, error))
            return
        await socket.accept()
        job = wanted.job(socket.state.request_id, interim=True)
        await Listening(
            socket, shape(wanted.language), job,
            dispatcher=dispatcher, sessions=site.sessions, permit=permit, version=version,
        ).serve()  # fmt: skip

    async def stt_websocket(socket: WebSocket) -> None:
        await listen(socket, Manual)

    async def stt_turns_websocket(socket: WebSocket) -> None:
        await listen(socket, lambda _language: Turns())

    async def body_of(request: Request) -> bytes:
        return await read_body(request, site.max_body_bytes)

    async def on_api_error(connection: HTTPConnection, error: Exception) -> Response:
        return error_response(connection, error if isinstance(error, ApiError) else _unexpected())

    async def on_http_error(request: Request, error: Exception) -> Response:
        status_code = error.status_code if isinstance(error, HTTPException) else 500
        code, title = TITLES.get(status_code, ("invalid_request", "Invalid request"))
        headers = error.headers if isinstance(error, HTTPException) else None
        message = f"{request.method} {request.url.path} is not served"
        return error_response(request, ApiError(status_code, code, title, message, headers))

    async def on_leave(request: Request, _error: Exception) -> Response:
        request.state.left = True
        return Response(status_code=CLIENT_LEFT)

    async def on_bug(request: Request, error: Exception) -> Response:
        return error_response(request, _unexpected())

    routes = exact(
        Route("/", root),
        Route("/status", status),
        Route("/openapi.json", description),
        Route("/tts/bytes", tts_bytes, methods=["POST"]),
        Route("/tts/sse", tts_sse, methods=["POST"]),
        Route("/stt", stt, methods=["POST"]),
        WebSocketRoute("/tts/websocket", tts_websocket),
        WebSocketRoute("/stt/websocket", stt_websocket),
        WebSocketRoute("/stt/turns/websocket", stt_turns_websocket),
        *resources.routes(site.credentials, site.library, site.voices, body_of),
    )
    app = Starlette(
        routes=routes,
        exception_handlers={
            ApiError: on_api_error,
            HTTPException: on_http_error,
            ClientDisconnect: on_leave,
            Exception: on_bug,
        },
    )
    app.router.redirect_slashes = False
    paths = {route.path for route in routes if isinstance(route, Route) and "{" not in route.path}
    return Envelope(app, metrics, frozenset(paths))


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
        wanted = parse(ListenRequest, fields | dict(request.query_params))
        granularities = form.getlist("timestamp_granularities[]")
        granularities += form.getlist("timestamp_granularities")
        return wanted, await file.read(), "word" in granularities
    finally:
        await form.close()


async def _unless(gone: asyncio.Task[None], work: Awaitable[Result]) -> Result:
    """Return what work comes to. Raises ClientDisconnect when the client leaves before that."""
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


def _unexpected() -> ApiError:
    return ApiError(500, "internal_error", "Internal error", "Something unexpected happened")
