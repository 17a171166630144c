# SPDX-License-Identifier: Apache-2.0
"""Report usage to the license proxy."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import defaultdict
from typing import Any

import httpx

from sonic_reference.api.metrics import ApiMetrics

log = logging.getLogger(__name__)

REPORT_S = 10.0


class UsageReporter:
    """Reports this pod's totals, with the site's key; without a key it reports nothing.

    Reports hold totals. So a report that is lost costs nothing, and one that comes twice counts
    once.
    """

    def __init__(self, client: httpx.AsyncClient, metrics: ApiMetrics, pod: str, key: str) -> None:
        self._client = client
        self._metrics = metrics
        # Totals start from zero with each process.
        self._reporter = f"{pod}/{uuid.uuid4()}"
        self._key = key
        self._reported: dict[str, Any] = {}

    async def run(self) -> None:
        """Report for ever."""
        while True:
            await asyncio.sleep(REPORT_S)
            await self.report()

    async def report(self) -> None:
        """Report once, if there is anything new; the next report makes up for one that fails."""
        usage = self._totals()
        if not self._key or usage == self._reported:
            return
        try:
            response = await self._client.post(
                "/usage",
                headers={"Authorization": f"Bearer {self._key}"},
                json={"reporter": self._reporter, "usage": usage},
            )
            response.raise_for_status()
        except httpx.HTTPError as error:
            log.warning("usage could not be reported: %s", type(error).__name__)
            return
        self._reported = usage

    def _totals(self) -> dict[str, dict[str, float]]:
        totals: dict[str, dict[str, float]] = defaultdict(dict)
        for family in self._metrics.usage.collect():
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    totals[sample.labels["operation"]][sample.labels["unit"]] = sample.value
        return dict(totals)
