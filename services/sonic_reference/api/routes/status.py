# SPDX-License-Identifier: Apache-2.0
"""GET /, /status and /openapi.json: what this server is, and whether requests should come."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sonic_reference.api import openapi
from sonic_reference.api.schema import DEFAULT_VERSION
from sonic_reference.api.site import site_of


async def root(_request: Request) -> Response:
    """Answer GET /."""
    return JSONResponse({"ok": True, "version": DEFAULT_VERSION})


async def status(request: Request) -> Response:
    """Answer GET /status: 200 when requests should come here, else 503."""
    site = site_of(request)
    return JSONResponse(
        {
            "ok": site.ready,
            "nats": site.dispatcher.connected,
            "draining": site.draining,
            "version": DEFAULT_VERSION,
        },
        200 if site.ready else 503,
    )


async def description(_request: Request) -> Response:
    """Answer GET /openapi.json."""
    return JSONResponse(openapi.document())
