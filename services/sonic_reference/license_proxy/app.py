# SPDX-License-Identifier: Apache-2.0
"""The license proxy's HTTP side."""

from __future__ import annotations

import json
import logging

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sonic_reference import service
from sonic_reference.license_proxy.books import Report
from sonic_reference.license_proxy.metrics import Metrics
from sonic_reference.license_proxy.offline import AirGapped, LicenceError
from sonic_reference.license_proxy.proxy import Proxy
from sonic_reference.license_proxy.states import EXPIRED, stamp

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 65536


def create_app(proxy: Proxy) -> Starlette:
    """Return the application on port 8080; its endpoints read ``app.state.proxy``."""
    app = Starlette(
        routes=service.exact(
            Route("/authorize", authorize, methods=["POST"]),
            Route("/usage", usage, methods=["POST"]),
            Route("/license", take_licence, methods=["POST"]),
            Route("/audit", audit),
            Route("/status", status),
            Route("/metrics", metrics),
        ),
        exception_handlers={LicenceError: _on_licence_error, OSError: _on_storage_error},
    )
    app.state.proxy = proxy
    app.state.metrics = Metrics(proxy)
    return app


async def authorize(request: Request) -> Response:
    """Answer POST /authorize: may this key do this operation."""
    authority = _proxy(request).authority
    key, operation = await _question(request)
    decision = authority.decide(key, operation)
    request.app.state.metrics.decisions[str(decision.status)] += 1
    return JSONResponse(
        {
            "authorized": decision.status == 200,
            "reason": decision.reason,
            "mode": authority.mode,
            "ttl_s": decision.ttl_s,
        },
        decision.status,
    )


async def usage(request: Request) -> Response:
    """Take an API pod's totals, POST /usage."""
    proxy = _proxy(request)
    if not proxy.authority.knows(_bearer(request)):
        raise LicenceError(401, "invalid_api_key", "usage is reported with the site's key only")
    try:
        report = Report.model_validate_json(await _body(request))
    except ValidationError:
        message = "this is not a report of usage"
        raise LicenceError(400, "invalid_request", message) from None
    proxy.books.report(report)
    return Response(status_code=204)


async def take_licence(request: Request) -> Response:
    """Take an offline licence, POST /license."""
    proxy = _proxy(request)
    body = await _body(request)
    if not isinstance(proxy.licensing, AirGapped):
        message = "this site is in connected mode: the license endpoint confirms its licence"
        raise LicenceError(409, "license_mode", message)
    terms = proxy.licensing.accept(body, proxy.clock())
    if terms:
        log.info("licence %s handed in", terms.id)
    return JSONResponse({"changed": terms is not None} | _state(proxy))


async def audit(request: Request) -> Response:
    """Answer GET /audit with the audit log, a tar archive."""
    proxy = _proxy(request)
    proxy.books.close(proxy.clock())
    # A log that was cut is recorded as such before it goes out.
    proxy.audit.check()
    content = proxy.audit.stream(proxy.clock(), proxy.books.installation)
    headers = {"Content-Disposition": 'attachment; filename="audits.tar"'}
    # Its pieces are read in threads.
    return StreamingResponse(content, media_type="application/x-tar", headers=headers)


async def status(request: Request) -> Response:
    """Answer GET /status."""
    return JSONResponse(_state(_proxy(request)))


async def metrics(request: Request) -> Response:
    """Answer GET /metrics."""
    registry = request.app.state.metrics.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _proxy(request: Request) -> Proxy:
    proxy: Proxy = request.app.state.proxy
    return proxy


def _state(proxy: Proxy) -> dict[str, object]:
    verdict = proxy.authority.verdict()
    terms = proxy.licensing.terms if isinstance(proxy.licensing, AirGapped) else None
    return {
        "ok": verdict.state != EXPIRED,
        "mode": proxy.authority.mode,
        "state": verdict.state,
        "reason": verdict.reason,
        "until": verdict.until and stamp(verdict.until),
        "license": terms and terms.as_json(),
        "warnings": proxy.warnings(),
    }


async def _body(request: Request) -> bytes:
    """Return the body. Raises LicenceError 413 when it is too long."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            message = f"the body is larger than {MAX_BODY_BYTES} bytes"
            raise LicenceError(413, "request_too_large", message)
    return bytes(body)


def _bearer(request: Request) -> str:
    scheme, _unused, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


async def _question(request: Request) -> tuple[str, str]:
    """Return the key and the operation asked about; both may be empty."""
    body = await _body(request)
    try:
        fields = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        fields = {}
    if not isinstance(fields, dict):
        fields = {}
    key = _bearer(request) or str(fields.get("api_key") or "")
    return key.strip(), str(fields.get("operation") or "any")


async def _on_licence_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, LicenceError)
    return JSONResponse({"error_code": error.code, "message": str(error)}, error.status)


async def _on_storage_error(_request: Request, error: Exception) -> Response:
    log.error("%s", error)
    message = "the volume of the license proxy cannot be used; its log says why"
    return JSONResponse({"error_code": "storage", "message": message}, 507)
