# SPDX-License-Identifier: Apache-2.0
"""Usage by month, from totals."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.baremetal.sonic.plugins.module_utils._license.usage import months


def usage(time: str, **totals: tuple[int, int, float]) -> bytes:
    amounts = {
        name: {"requests": requests, "characters": characters, "seconds": seconds}
        for name, (requests, characters, seconds) in totals.items()
    }
    record: dict[str, Any] = {"event": "usage", "time": time, "details": {"totals": amounts}}
    return json.dumps(record).encode()


def test_a_month_has_what_its_records_add() -> None:
    rows, gaps = months(
        [
            b'{"event": "start", "time": "2026-10-01T00:00:00Z"}',
            usage("2026-10-01T00:05:00Z", tts=(2, 80, 0)),
            usage("2026-10-31T23:55:00Z", tts=(3, 100, 0), stt=(1, 0, 2.5)),
            usage("2026-11-01T00:00:00Z", tts=(10, 400, 0)),
            usage("2026-11-02T00:00:00Z", stt=(4, 0, 9.75)),
        ]
    )
    assert gaps == []
    assert [tuple(row.values()) for row in rows] == [
        ("2026-10", "stt", 1, 0, 2.5),
        ("2026-10", "tts", 3, 100, 0.0),
        ("2026-11", "stt", 3, 0, 7.25),
        ("2026-11", "tts", 7, 300, 0.0),
    ]


def test_totals_that_begin_again_are_a_gap_and_not_negative() -> None:
    rows, gaps = months(
        [
            usage("2026-10-01T00:00:00Z", tts=(9, 90, 0)),
            usage("2026-10-02T00:00:00Z", tts=(2, 20, 0)),
        ]
    )
    assert [(row["requests"], row["characters"]) for row in rows] == [(11, 110)]
    assert len(gaps) == 1
    assert gaps[0].startswith("record 2: the totals of tts began again")


def test_records_without_usage_that_can_be_read() -> None:
    rows, gaps = months(
        [
            b"{",
            b"[]",
            b'{"event": "usage", "time": "2026-10-01T00:00:00Z", "details": null}',
            b'{"event": "usage", "details": {"totals": {}}}',
            usage("2026-10-02T00:00:00Z", tts=(1, 1, 0)),
        ]
    )
    assert len(rows) == 1
    assert [gap.split(" has ")[0] for gap in gaps] == [
        "record 1",
        "record 2",
        "record 3",
        "record 4",
    ]
