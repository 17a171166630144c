# SPDX-License-Identifier: Apache-2.0
"""The license proxy's HTTP side: POST /authorize, GET /status, GET /metrics."""

from __future__ import annotations

import json

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    generate_latest,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sonic_reference.license_proxy.authority import STATES, Authority

MAX_BODY_BYTES = 4096


async def _asked(request: Request) -> tuple[str, str]:
    """Return the key and the operation asked about; both may be empty."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            return "", ""
    try:
        fields = json.loads(body) if body else {}
    except ValueError:
        fields = {}
    if not isinstance(fields, dict):
        fields = {}
    scheme, _unused, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        key = str(fields.get("api_key") or "")
    return key.strip(), str(fields.get("operation") or "any")


def create_app(authority: Authority) -> Starlette:
    """Return the application."""
    registry = CollectorRegistry()
    decisions = Counter(
        "license_proxy_decisions", "Authorization answers by status.", ["status"], registry=registry
    )
    state = Gauge(
        "license_proxy_state",
        "1 for the state of the licence that is in force, 0 for the others: valid, grace, expired.",
        ["mode", "state"],
        registry=registry,
    )

    async def authorize(request: Request) -> Response:
        key, operation = await _asked(request)
        decision = await authority.decide(key, operation)
        decisions.labels(str(decision.status)).inc()
        return JSONResponse(
            {
                "authorized": decision.status == 200,
                "reason": decision.reason,
                "mode": authority.mode,
                "ttl_s": decision.ttl_s,
            },
            decision.status,
        )

    async def status(_request: Request) -> Response:
        return JSONResponse({"ok": True, "mode": authority.mode, "state": authority.state})

    async def metrics(_request: Request) -> Response:
        state.clear()
        for each in STATES:
            state.labels(authority.mode, each).set(each == authority.state)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/authorize", authorize, methods=["POST"]),
            Route("/status", status),
            Route("/metrics", metrics),
        ]
    )
