# SPDX-License-Identifier: Apache-2.0
"""The API server's application on port 5000."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from sonic_reference.api.errors import HANDLERS
from sonic_reference.api.middleware import Envelope
from sonic_reference.api.routes import listening, resources, speech, status
from sonic_reference.api.site import Site
from sonic_reference.service import exact

ROUTES = exact(
    Route("/", status.root),
    Route("/status", status.status),
    Route("/openapi.json", status.description),
    Route("/tts/bytes", speech.tts_bytes, methods=["POST"]),
    Route("/tts/sse", speech.tts_sse, methods=["POST"]),
    Route("/stt", listening.stt, methods=["POST"]),
    WebSocketRoute("/tts/websocket", speech.tts_websocket),
    WebSocketRoute("/stt/websocket", listening.stt_websocket),
    WebSocketRoute("/stt/turns/websocket", listening.stt_turns_websocket),
    *resources.ROUTES,
)
# The paths that metrics name.
PATHS = frozenset(
    route.path for route in ROUTES if isinstance(route, Route) and "{" not in route.path
)


def create_app(site: Site) -> ASGIApp:
    """Return the application; its endpoints read ``app.state.site``."""
    app = Starlette(routes=ROUTES, exception_handlers=HANDLERS)
    app.router.redirect_slashes = False
    app.state.site = site
    return Envelope(app, site.metrics, PATHS)
