# SPDX-License-Identifier: Apache-2.0
"""Tell the license proxy what was used."""

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
    """Tells the proxy this pod's totals, with the site's key; without one it tells nothing.

    Totals, not what came since the last report: one that is lost costs nothing, and one that
    comes twice counts once.
    """

    def __init__(self, client: httpx.AsyncClient, metrics: ApiMetrics, pod: str, key: str) -> None:
        self._client = client
        self._metrics = metrics
        # Totals begin anew when the process does.
        self._reporter = f"{pod}/{uuid.uuid4()}"
        self._key = key
        self._told: dict[str, Any] = {}

    async def run(self) -> None:
        """Report for ever."""
        while True:
            await asyncio.sleep(REPORT_S)
            await self.report()

    async def report(self) -> None:
        """Report once, if there is anything new; what fails is made up for by the next."""
        usage = self._totals()
        if not self._key or usage == self._told:
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
        self._told = usage

    def _totals(self) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = defaultdict(dict)
        for family in self._metrics.usage.collect():
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    found[sample.labels["operation"]][sample.labels["unit"]] = sample.value
        return dict(found)
