# SPDX-License-Identifier: Apache-2.0
"""The first pod of a new revision must have spoken itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout import canary
from ansible_collections.baremetal.sonic.plugins.module_utils._speech.client import (
    Speech,
    SpeechError,
    SpeechRequest,
)

SPEECH = Speech(
    audio=b"", status=200, duration_s=2.0, rms=0.1, ttfb_ms=1.0, connect_ms=1.0, total_ms=2.0,
    tls_version="TLSv1.3",
)  # fmt: skip


class Site:
    """Answers requests with what is in a list; a number is a pod that counts the answer."""

    def __init__(self, *answers: Any, counts: bool = True) -> None:
        self.answers: Iterator[Any] = iter(answers)
        self.spoken = 3
        self.counts = counts
        self.slept = 0.0

    def text(self, path: str, **query: str) -> str:
        assert path == "/api/v1/namespaces/cartesia/pods/new:8080/proxy/metrics"
        if not self.counts:
            return "inferno_worker_capacity 4\n"
        return f"inferno_worker_ttfa_count {self.spoken}\n"

    def speak(self, request: SpeechRequest) -> Speech:
        answer = next(self.answers)
        if isinstance(answer, SpeechError):
            raise answer
        self.spoken += answer == "new"
        return SPEECH

    def sleep(self, seconds: float) -> None:
        self.slept += seconds

    def hear(self, tries: int = 5) -> int:
        request = SpeechRequest(url="https://speech.example.com", api_key="k")
        args: Any = (self, "cartesia", ["new"], request, tries, 8080, self.speak, self.sleep)
        return canary.wait_for_speech(*args)


def test_asks_until_the_new_pod_has_spoken() -> None:
    assert Site("old", "old", "new", "never asked for").hear() == 3


def test_busy_is_forgiven() -> None:
    site = Site(SpeechError("full", 429), SpeechError("full", 503), "new")
    assert site.hear() == 1
    assert site.slept == 2 * canary.PAUSE_S


def test_never_asked() -> None:
    with pytest.raises(canary.CanaryError, match="of 5 requests for speech it answered none"):
        Site(*["old"] * 5).hear()
    with pytest.raises(canary.CanaryError, match="the last answer was: full"):
        Site(*[SpeechError("full", 429)] * 5).hear()


def test_error_is_the_answer() -> None:
    with pytest.raises(canary.CanaryError, match="the audio is silent"):
        Site("old", SpeechError("the audio is silent", 200)).hear()


def test_worker_that_does_not_count() -> None:
    assert Site(*["old"] * 5, counts=False).hear() == 5


def test_metrics_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()

    def gone(path: str, **query: str) -> str:
        raise KubeError("no such pod", 404)

    monkeypatch.setattr(site, "text", gone)
    with pytest.raises(canary.CanaryError, match="no such pod"):
        site.hear()
