# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._speech.client import (
    Speech,
    SpeechError,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._speech.load import (
    Row,
    measure,
    percentile,
    table,
)


def speech(ttfb_ms: float = 80.0, total_ms: float = 500.0, connect_ms: float = 100.0) -> Speech:
    return Speech(
        audio=b"", status=200, duration_s=2.0, rms=0.1, ttfb_ms=ttfb_ms, connect_ms=connect_ms,
        total_ms=total_ms, tls_version="TLSv1.3",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.5, 2), (0.51, 3), (0.75, 3), (0.95, 4), (1.0, 4)]
)
def test_percentile_is_one_of_the_values(share: float, value: int) -> None:
    assert percentile([4, 1, 3, 2], share) == value


def test_all_listeners_listen_at_once() -> None:
    together = threading.Barrier(3, timeout=10)

    def ask() -> Speech:
        together.wait()
        return speech()

    row = measure(ask, characters=40, concurrency=3, rounds=2)
    assert (row.characters, len(row.ttfa_ms), row.errors) == (240, 6, [])
    # Of the way only, without the handshake: 0.4 s for 2 s of audio.
    assert row.rtf == [pytest.approx(0.2)] * 6
    assert row.figures()["heard"] == 6


def test_what_is_not_heard_counts_in_nothing_else() -> None:
    refusals = [None, SpeechError("full", 429), SpeechError("broke off", 200)]

    def ask() -> Speech:
        if refusal := refusals.pop(0):
            raise refusal
        return speech()

    row = measure(ask, characters=10, concurrency=1, rounds=3)
    assert (row.characters, row.busy, row.errors) == (10, 1, ["broke off"])
    assert len(row.ttfa_ms) == len(row.rtf) == 1


def test_table_has_the_figures_under_their_heads() -> None:
    row = Row(4, 100, 2.0, [50.0, 70.0], [0.1, 0.3], 1, [])
    head, line = table([row.figures()])
    assert len(head) == len(line)
    assert line.split() == ["4", "50.0", "70.0", "50.0", "0.3", "2", "1", "0"]
    assert table([Row(8, busy=3).figures()])[1].split() == ["8", *"----", "0", "3", "0"]
