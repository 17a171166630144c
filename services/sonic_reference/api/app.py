# SPDX-License-Identifier: Apache-2.0
"""The API server's HTTP side: routes, keys, versions, errors."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sonic_reference.api.authorization import Authorizer
from sonic_reference.api.dispatch import Dispatcher
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.api.schema import (
    DEFAULT_VERSION,
    STRUCTURED_ERRORS,
    parse_speech_request,
    parse_version,
)
from sonic_reference.api.streaming import SpeechResponse, disconnected
from sonic_reference.errors import ApiError

log = logging.getLogger(__name__)

BODY_TIMEOUT_S = 15.0
# nginx's number for a client that closed the connection; only metrics and logs see it.
CLIENT_LEFT = 499
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
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = str(uuid.uuid4())
        state["began"] = time.monotonic()
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append(
                    (b"x-request-id", state["request_id"].encode())
                )
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            # Paths of others are all one, or anybody could grow the metrics without end.
            route = scope["path"] if scope["path"] in self._routes else "other"
            ended = CLIENT_LEFT if state.get("left") else status
            self._metrics.requests.labels(route, str(ended)).observe(
                time.monotonic() - state["began"]
            )


def error_response(request: Request, error: ApiError) -> Response:
    """Return an error in the shape of the request's version of the API."""
    try:
        version = parse_version(request.headers.get("cartesia-version"))
    except ApiError:
        version = DEFAULT_VERSION
    if version < STRUCTURED_ERRORS:
        return PlainTextResponse(f"{error.title}: {error.message}", error.status, error.headers)
    return JSONResponse(
        {
            "error_code": error.code,
            "title": error.title,
            "message": error.message,
            "request_id": request.state.request_id,
        },
        error.status,
        error.headers,
    )


def api_key(request: Request) -> str:
    """Return the request's key from X-API-Key or Authorization: Bearer; empty without one."""
    if key := request.headers.get("x-api-key", "").strip():
        return key
    scheme, _unused, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body. Raises ApiError 413 over the limit (bytes), 408 when it does not come."""
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
                body += part
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise ApiError(
            408, "request_timeout", "Request timeout", "The body did not arrive in time",
            {"Connection": "close"},
        ) from None  # fmt: skip
    return bytes(body)


def create_app(
    health: Health, authorizer: Authorizer, metrics: ApiMetrics, max_body_bytes: int
) -> ASGIApp:
    """Return the application on port 5000."""
    dispatcher = health.dispatcher

    async def root(_request: Request) -> Response:
        return JSONResponse({"ok": True, "version": DEFAULT_VERSION})

    async def status(_request: Request) -> Response:
        ok = health.ready
        return JSONResponse(
            {"ok": ok, "nats": dispatcher.connected, "draining": health.draining,
             "version": DEFAULT_VERSION},
            200 if ok else 503,
        )  # fmt: skip

    async def tts_bytes(request: Request) -> Response:
        parse_version(request.headers.get("cartesia-version"))
        await authorizer.check(api_key(request), "tts")
        body = await read_body(request, max_body_bytes)
        job = parse_speech_request(body).job(request.state.request_id)
        gone = asyncio.create_task(disconnected(request.receive))
        opening = asyncio.create_task(dispatcher.open(job))
        try:
            await asyncio.wait({opening, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not opening.done():
                opening.cancel()
        if opening.cancelled() or not opening.done():
            await asyncio.wait({opening})
            raise ClientDisconnect
        try:
            speech, first = await opening
        except ApiError:
            gone.cancel()
            raise
        metrics.ttfa.labels(speech.offering).observe(time.monotonic() - request.state.began)
        return SpeechResponse(speech, first, job.output_format.media_type, gone, metrics)

    async def on_api_error(request: Request, error: Exception) -> Response:
        return error_response(request, error if isinstance(error, ApiError) else _unexpected())

    async def on_http_error(request: Request, error: Exception) -> Response:
        status_code = error.status_code if isinstance(error, HTTPException) else 500
        code, title = TITLES.get(status_code, ("invalid_request", "Invalid request"))
        message = f"{request.method} {request.url.path} is not served"
        return error_response(request, ApiError(status_code, code, title, message))

    async def on_leave(request: Request, _error: Exception) -> Response:
        request.state.left = True
        return Response(status_code=CLIENT_LEFT)

    async def on_bug(request: Request, error: Exception) -> Response:
        return error_response(request, _unexpected())

    routes = [
        Route("/", root),
        Route("/status", status),
        Route("/tts/bytes", tts_bytes, methods=["POST"]),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={
            ApiError: on_api_error,
            HTTPException: on_http_error,
            ClientDisconnect: on_leave,
            Exception: on_bug,
        },
    )
    return Envelope(app, metrics, frozenset(route.path for route in routes))


def _unexpected() -> ApiError:
    return ApiError(500, "internal_error", "Internal error", "Something unexpected happened")
