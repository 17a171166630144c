# SPDX-License-Identifier: Apache-2.0
"""Answers for requests that fail, in the shape of the request's version of the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.websockets import WebSocket

from sonic_reference.api.requests import connection_version
from sonic_reference.api.schema import DEFAULT_VERSION, STRUCTURED_ERRORS
from sonic_reference.errors import ApiError

# nginx's number for a client that closed the connection; only metrics and logs see it.
CLIENT_LEFT = 499
TITLES = {404: ("not_found", "Not found"), 405: ("method_not_allowed", "Method not allowed")}


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


async def refuse(socket: WebSocket, error: ApiError) -> None:
    """Answer the request for a WebSocket with an error."""
    await socket.send_denial_response(error_response(socket, error))


async def _on_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(request, error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, title = TITLES.get(error.status_code, ("invalid_request", "Invalid request"))
    message = f"{request.method} {request.url.path} is not served"
    return error_response(request, ApiError(error.status_code, code, title, message, error.headers))


async def _on_leave(request: Request, _error: Exception) -> Response:
    request.state.left = True
    return Response(status_code=CLIENT_LEFT)


async def _on_bug(request: Request, _error: Exception) -> Response:
    message = "Something unexpected happened"
    return error_response(request, ApiError(500, "internal_error", "Internal error", message))


HANDLERS: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    ApiError: _on_api_error,
    HTTPException: _on_http_error,
    ClientDisconnect: _on_leave,
    Exception: _on_bug,
}
