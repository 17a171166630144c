# SPDX-License-Identifier: Apache-2.0
"""The artifact sync's metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class SyncMetrics:
    """All series of the artifact sync."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.last_success = Gauge(
            "artifact_sync_last_success_timestamp_seconds",
            "When the source was last read in full and what it holds is served, changed or not; "
            "0 if never since the start.",
            registry=self.registry,
        )
        self.interval = Gauge(
            "artifact_sync_interval_seconds",
            "Seconds between two looks into the source.",
            registry=self.registry,
        )
        self.generation = Gauge(
            "artifact_sync_generation_info",
            "Always 1; its label is the generation that is served.",
            ["generation"],
            registry=self.registry,
        )
        self.files = Gauge(
            "artifact_sync_files",
            "Files of the generation that is served, by folder.",
            ["folder"],
            registry=self.registry,
        )
        self.ignored = Gauge(
            "artifact_sync_ignored_files",
            "Files of the source that are no artifacts of this stack.",
            registry=self.registry,
        )
        self.failures = Counter(
            "artifact_sync_failures",
            "Looks that failed: source (it cannot be read), mismatch (a sum is wrong), invalid "
            "(a file cannot be used), disk.",
            ["reason"],
            registry=self.registry,
        )
        self.downloaded = Counter(
            "artifact_sync_downloaded_bytes",
            "Bytes fetched from the source.",
            registry=self.registry,
        )
        self.followers = Gauge(
            "artifact_sync_followers",
            "API pods and workers that asked lately, by whether they have the generation that is "
            "served.",
            ["state"],
            registry=self.registry,
        )
