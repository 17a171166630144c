# SPDX-License-Identifier: Apache-2.0
"""The license proxy's HTTP side."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sonic_reference import service
from sonic_reference.license_proxy.audit import ADVICE, AuditLog
from sonic_reference.license_proxy.authority import Authority
from sonic_reference.license_proxy.books import Books, Report
from sonic_reference.license_proxy.endpoint import Connected
from sonic_reference.license_proxy.offline import AirGapped, LicenceError
from sonic_reference.license_proxy.states import EXPIRED, STATES, stamp

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 65536


@dataclass(frozen=True)
class Proxy:
    """What the routes work with."""

    authority: Authority
    licensing: Connected | AirGapped
    books: Books
    audit: AuditLog
    clock: Callable[[], float] = time.time

    def warnings(self) -> list[str]:
        """Return what an operator has to look into, each with what to do."""
        return [f"audit log: {problem}; {ADVICE}" for problem in self.audit.problems]


class Metrics(Collector):
    """All series, as they are when they are read."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.decisions: Counter[str] = Counter()
        self.registry = CollectorRegistry(auto_describe=True)
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield every family of series."""
        proxy, verdict = self._proxy, self._proxy.authority.verdict()
        decisions = CounterMetricFamily(
            "license_proxy_decisions", "Authorization answers by status.", labels=["status"]
        )
        for status, count in self.decisions.items():
            decisions.add_metric([status], count)
        yield decisions
        state = GaugeMetricFamily(
            "license_proxy_state",
            f"1 for the state that the licence is in, 0 for the others: {', '.join(STATES)}.",
            labels=["mode", "state"],
        )
        for each in STATES:
            state.add_metric([proxy.licensing.mode, each], each == verdict.state)
        yield state
        for name, text, when in (
            ("state_ends", "When the state ends if nothing else happens", verdict.until),
            ("license_expires", "The licence's end", proxy.licensing.expires_at),
        ):
            family = GaugeMetricFamily(
                f"license_proxy_{name}_timestamp_seconds", f"{text}; absent where it is not known."
            )
            if when is not None:
                family.add_metric([], when)
            yield family
        if isinstance(proxy.licensing, Connected):
            checks = CounterMetricFamily(
                "license_proxy_checks",
                "Checks with the license endpoint by result: confirmed, refused, unreachable.",
                labels=["result"],
            )
            for result, count in proxy.licensing.checks.items():
                checks.add_metric([result], count)
            yield checks
        usage = CounterMetricFamily(
            "license_proxy_usage",
            "What was used since the installation: requests, characters, seconds of audio.",
            labels=["operation", "unit"],
        )
        for operation, amount in proxy.books.totals.items():
            for unit, value in amount.model_dump().items():
                usage.add_metric([operation, unit], value)
        yield usage
        yield GaugeMetricFamily(
            "license_proxy_audit_records", "Records in the audit log.",
            value=proxy.audit.head.records,
        )  # fmt: skip
        yield GaugeMetricFamily(
            "license_proxy_audit_gaps",
            "Times that the audit log was found cut or changed, the last 20 at the most.",
            value=len(proxy.audit.problems),
        )
        now = proxy.clock()
        yield GaugeMetricFamily(
            "license_proxy_clock_behind_seconds",
            "Seconds by which the host's clock is behind the latest time that was seen.",
            value=max(0.0, proxy.audit.mark.latest_of(now) - now),
        )


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


async def _asked(request: Request) -> tuple[str, str]:
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


def create_app(proxy: Proxy) -> Starlette:
    """Return the application on port 8080."""
    metrics = Metrics(proxy)
    authority, licensing = proxy.authority, proxy.licensing

    async def authorize(request: Request) -> Response:
        key, operation = await _asked(request)
        decision = authority.decide(key, operation)
        metrics.decisions[str(decision.status)] += 1
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
        if not authority.knows(_bearer(request)):
            raise LicenceError(401, "invalid_api_key", "usage is told with the site's key only")
        try:
            report = Report.model_validate_json(await _body(request))
        except ValidationError:
            message = "this is not a report of usage"
            raise LicenceError(400, "invalid_request", message) from None
        proxy.books.report(report)
        return Response(status_code=204)

    async def license_(request: Request) -> Response:
        body = await _body(request)
        if not isinstance(licensing, AirGapped):
            message = "this site is in connected mode: the license endpoint confirms its licence"
            raise LicenceError(409, "license_mode", message)
        terms = licensing.accept(body, proxy.clock())
        if terms:
            log.info("licence %s handed in", terms.id)
        return JSONResponse({"changed": terms is not None} | _status())

    async def audit(_request: Request) -> Response:
        proxy.books.close(proxy.clock())
        # A log that was cut is recorded as such before it goes out.
        proxy.audit.check()
        content = proxy.audit.stream(proxy.clock(), proxy.books.installation)
        named = {"Content-Disposition": 'attachment; filename="audits.tar"'}
        # Its pieces are read in threads.
        return StreamingResponse(content, media_type="application/x-tar", headers=named)

    def _status() -> dict[str, object]:
        verdict = authority.verdict()
        terms = licensing.terms if isinstance(licensing, AirGapped) else None
        return {
            "ok": verdict.state != EXPIRED,
            "mode": authority.mode,
            "state": verdict.state,
            "reason": verdict.reason,
            "until": verdict.until and stamp(verdict.until),
            "license": terms and terms.as_json(),
            "warnings": proxy.warnings(),
        }

    async def status(_request: Request) -> Response:
        return JSONResponse(_status())

    async def metrics_(_request: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, LicenceError)
        return JSONResponse({"error_code": error.code, "message": str(error)}, error.status)

    async def not_kept(_request: Request, error: Exception) -> Response:
        log.error("%s", error)
        message = "the volume of the license proxy cannot be used; its log says why"
        return JSONResponse({"error_code": "storage", "message": message}, 507)

    return Starlette(
        routes=service.exact(
            Route("/authorize", authorize, methods=["POST"]),
            Route("/usage", usage, methods=["POST"]),
            Route("/license", license_, methods=["POST"]),
            Route("/audit", audit),
            Route("/status", status),
            Route("/metrics", metrics_),
        ),
        exception_handlers={LicenceError: refused, OSError: not_kept},
    )
