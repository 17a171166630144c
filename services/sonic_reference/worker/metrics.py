# SPDX-License-Identifier: Apache-2.0
"""The worker's metrics, named as the vendor's."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class WorkerMetrics:
    """All series of one worker; without labels, since a worker serves one offering."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.load = Gauge("inferno_worker_load", "Streams in progress.", registry=self.registry)
        self.capacity = Gauge(
            "inferno_worker_capacity",
            "Parallel streams this worker takes: 0 until the model is loaded and jobs can come, "
            "and again while it drains.",
            registry=self.registry,
        )
        self.ttfa = Histogram(
            "inferno_worker_ttfa",
            "Seconds from taking a job to sending its first audio.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 5),
            registry=self.registry,
        )
        self.rtf = Histogram(
            "inferno_worker_rtf",
            "Real-time factor of a finished stream: seconds it took for each second of audio.",
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 3),
            registry=self.registry,
        )
        self.jobs = Counter(
            "inferno_worker_jobs",
            "Jobs by how they ended: done, failed, cancelled, orphaned, or refused because full.",
            ["outcome"],
            registry=self.registry,
        )
