# SPDX-License-Identifier: Apache-2.0
"""Metrics of an API pod or a worker about its artifacts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class FollowerMetrics:
    """All series of one follower."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.generation = Gauge(
            "artifacts_generation_info",
            "Always 1; its label is the generation that this pod works with.",
            ["generation"],
            registry=registry,
        )
        self.failures = Counter(
            "artifacts_failures",
            "Times that the artifact sync could not be reached or its files not be used.",
            registry=registry,
        )

    def shows(self, generation: str) -> None:
        """Show this generation only."""
        self.generation.clear()
        self.generation.labels(generation).set(1)
