# SPDX-License-Identifier: Apache-2.0
"""The API server's metrics, named as the vendor's where those are published."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class ApiMetrics:
    """All series of one API pod."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.queue = Gauge(
            "api_queue_size",
            "Requests that wait for a worker with a free stream.",
            ["offering"],
            registry=self.registry,
        )
        self.unserviceable = Gauge(
            "api_unserviceable_requests_size",
            "Requests that wait while no worker of their offering is there at all; normally 0.",
            ["offering"],
            registry=self.registry,
        )
        self.streams = Gauge(
            "api_streams", "Requests whose audio is on its way.", registry=self.registry
        )
        self.websockets = Gauge(
            "api_websockets", "Open WebSocket connections.", registry=self.registry
        )
        self.requests = Histogram(
            "api_request_seconds",
            "Seconds from a request's first byte to its answer's last, by route and status; "
            "status 499 means that the client left.",
            ["route", "status"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
            registry=self.registry,
        )
        self.ttfa = Histogram(
            "api_ttfa_seconds",
            "Seconds from a request's first byte to its first audio.",
            ["offering"],
            buckets=(0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.09, 0.15, 0.2, 0.3, 0.5, 1, 2.5),
            registry=self.registry,
        )
        self.broken = Counter(
            "api_broken_streams",
            "Answers cut after their audio had begun, by why.",
            ["reason"],
            registry=self.registry,
        )
        self.authorizations = Counter(
            "api_authorizations",
            "Authorizations by where the answer came from: proxy, cache, stale, unavailable.",
            ["source"],
            registry=self.registry,
        )
        self.usage = Counter(
            "api_usage",
            "Usage, as reported to the license proxy: requests that a worker took, characters "
            "to speak, seconds of audio that was listened to.",
            ["operation", "unit"],
            registry=self.registry,
        )
