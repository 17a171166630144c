# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._speech.client import (
    Speech,
    SpeechError,
    SpeechRequest,
)
from ansible_collections.baremetal.sonic.plugins.modules import tts_benchmark

from tests.unit.plugins.modules.running import Modules

GIVEN = {"url": "https://speech.example.com", "api_key": "secret", "model_id": "sonic-3"}
HEARD = Speech(
    audio=b"", status=200, duration_s=1.0, rms=0.1, ttfb_ms=50, connect_ms=0, total_ms=100,
    tls_version="TLSv1.3",
)  # fmt: skip


def site(monkeypatch: pytest.MonkeyPatch, *refused: SpeechError) -> list[SpeechRequest]:
    """A site that refuses the first requests with these; returns all that it is asked."""
    asked: list[SpeechRequest] = []
    left = list(refused)

    def speak(request: SpeechRequest) -> Speech:
        asked.append(request)
        if left:
            raise left.pop(0)
        return HEARD

    monkeypatch.setattr(tts_benchmark, "speak", speak)
    return asked


def call(modules: Modules, **options: Any) -> dict[str, Any]:
    return modules.call(tts_benchmark.main, **GIVEN | options)


def test_a_row_for_each_number_of_listeners(
    modules: Modules, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = site(monkeypatch)
    result = call(modules, concurrency=[1, 3], rounds=2, address="192.0.2.1")
    assert [row["heard"] for row in result["rows"]] == [2, 6]
    assert len(asked) == 8
    assert {request.address for request in asked} == {"192.0.2.1"}
    assert len(result["table"]) == 3
    assert (result["changed"], result["errors"]) == (False, [])


def test_failures_are_reported_once(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> None:
    site(monkeypatch, SpeechError("broke off"), SpeechError("broke off"))
    result = call(modules, concurrency=[4], rounds=1)
    assert result["rows"][0]["failed"] == 2
    assert result["errors"] == ["broke off"]


def test_a_site_that_says_nothing_fails_at_once(
    modules: Modules, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = site(monkeypatch, *(SpeechError("HTTP 402: no licence", 402) for _each in range(9)))
    result = call(modules, concurrency=[1, 16], rounds=2)
    assert "spoke to none of 1 listeners: HTTP 402: no licence" in result["msg"]
    assert len(asked) == 2


@pytest.mark.parametrize("bad", [{"concurrency": []}, {"concurrency": [4, 0]}, {"rounds": 0}])
def test_nothing_to_measure_is_refused(
    modules: Modules, monkeypatch: pytest.MonkeyPatch, bad: dict[str, Any]
) -> None:
    asked = site(monkeypatch)
    assert "give numbers of at least 1" in call(modules, **bad)["msg"]
    assert asked == []


def test_check_mode_asks_for_nothing(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = site(monkeypatch)
    assert not call(modules, check=True)["changed"]
    assert asked == []
