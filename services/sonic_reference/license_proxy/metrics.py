# SPDX-License-Identifier: Apache-2.0
"""The license proxy's metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sonic_reference.license_proxy.endpoint import Connected
from sonic_reference.license_proxy.proxy import Proxy
from sonic_reference.license_proxy.states import STATES


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
