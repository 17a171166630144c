# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Usage by month and operation, from the totals in an audit log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

UNITS = ("requests", "characters", "seconds")
Totals = dict[str, dict[str, float]]


def months(lines: Iterable[bytes]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the usage of each month and operation, and what is missing or cannot be trusted.

    A record has the totals since the installation's start. Its difference to the record before it
    counts for the month, in UTC, in which it was written.

    Args:
        lines: the lines of the log, in their order.
    """
    sums: dict[tuple[str, str], dict[str, float]] = {}
    before: Totals = {}
    gaps: list[str] = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if record.get("event") != "usage":
                continue
            month, totals = str(record["time"])[:7], _totals(record["details"]["totals"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            gaps.append(f"record {number} has no usage that can be read: {error}")
            continue
        for operation, total in totals.items():
            last = before.get(operation, dict.fromkeys(UNITS, 0.0))
            lost = [unit for unit in UNITS if total[unit] < last[unit]]
            if lost:
                gaps.append(
                    f"record {number}: the totals of {operation} began again: what was used"
                    " between the last record and the loss is not known"
                )
                last = dict.fromkeys(UNITS, 0.0)
            amounts = sums.setdefault((month, operation), dict.fromkeys(UNITS, 0.0))
            for unit in UNITS:
                amounts[unit] += total[unit] - last[unit]
        before = {**before, **totals}
    rows = [
        {"month": month, "operation": operation, **_plain(amounts)}
        for (month, operation), amounts in sorted(sums.items())
    ]
    return rows, gaps


def _totals(given: Mapping[str, Mapping[str, Any]]) -> Totals:
    return {
        str(name): {unit: float(amount.get(unit, 0)) for unit in UNITS}
        for name, amount in given.items()
    }


def _plain(amounts: Mapping[str, float]) -> dict[str, float | int]:
    return {
        "requests": round(amounts["requests"]),
        "characters": round(amounts["characters"]),
        "seconds": round(amounts["seconds"], 3),
    }
