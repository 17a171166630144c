# SPDX-License-Identifier: Apache-2.0
"""The checks of a client, with a site's answers in place of requests."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._speech import client as speech
from ansible_collections.baremetal.sonic.plugins.module_utils._speech import streams
from ansible_collections.baremetal.sonic.plugins.module_utils._verify import speech as checks
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import Check

NOW = 1_800_000_000.0
DAY = 86400
REQUEST = speech.SpeechRequest(
    url="https://speech.example.com", api_key="sk_1", transcript="One two three four."
)
HEARD = speech.Speech(
    audio=b"wav", status=200, duration_s=1.0, rms=0.1, ttfb_ms=50, connect_ms=1, total_ms=100,
    tls_version="TLSv1.3",
)  # fmt: skip
LATE = speech.Speech(
    audio=b"", status=200, duration_s=1, rms=0.1, ttfb_ms=6000, connect_ms=1, total_ms=6100,
    tls_version="",
)  # fmt: skip
SPOKEN = streams.Streamed(0.0, b"\x00\x40" * 24000, [streams.Word("one", 0.0, 0.5)], 40.0, True)


class Line:
    """A connection that has seen a certificate."""

    tls_version = "TLSv1.3"

    def __init__(self, days: float) -> None:
        end = time.strftime("%b %d %H:%M:%S %Y GMT", time.gmtime(NOW + days * DAY))
        self.certificate = {"notAfter": end, "subjectAltName": (("DNS", "speech.example.com"),)}

    def close(self) -> None:
        pass


class Answers:
    """What the site answers. A SpeechError is raised."""

    def __init__(self) -> None:
        self.days = 90.0
        self.speak: list[Any] = []
        self.wrong: Any = speech.SpeechError("refused", 401)
        self.sse: Any = SPOKEN
        self.websocket: Any = SPOKEN
        self.text: Any = "one two three four"
        self.requests = 0

    def spoken(self, request: speech.SpeechRequest) -> speech.Speech:
        if request.api_key == checks.WRONG_KEY:
            answer = self.given(self.wrong)
        else:
            self.requests += 1
            answer = self.given(self.speak.pop(0) if self.speak else HEARD)
        assert isinstance(answer, speech.Speech)
        return answer

    @staticmethod
    def given(answer: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    made = Answers()
    monkeypatch.setattr(checks, "connect", lambda _request: Line(made.days))
    monkeypatch.setattr(checks, "speak", made.spoken)
    monkeypatch.setattr(checks, "PAUSE", 0.01)
    monkeypatch.setattr(streams, "transcribe", lambda _request, _wav, _model: made.given(made.text))
    monkeypatch.setattr(streams, "sse", lambda _request: made.given(made.sse))
    monkeypatch.setattr(streams, "websocket", lambda _request: made.given(made.websocket))
    return made


def run(
    *,
    requests: int = 3,
    stt_model: str = "ink",
    patience_s: float = 0.0,
    hosts: Sequence[str] = (),
    limits: Mapping[str, float] | None = None,
    failed: Sequence[str] = (),
    skip: Sequence[str] = (),
) -> dict[str, Check]:
    client = checks.Client(REQUEST, stt_model, requests, 0.5, patience_s, hosts, NOW)
    return {check.id: check for check in checks.run(client, limits or {}, failed, skip)}


def others(results: dict[str, Check], *names: str) -> set[str]:
    return {check.verdict for name, check in results.items() if name not in names}


def test_a_site_that_speaks(answers: Answers) -> None:
    results = run()
    assert {name: check.verdict for name, check in results.items()} == {
        **dict.fromkeys((item.id for item in checks.DEFINITIONS), "pass"),
        "closed-ports": "skipped",
    }
    assert results["speech-first-audio"].figures[0].points == (50, 50, 50)
    assert answers.requests == 3
    [end] = results["speech-certificate"].ends
    assert (end.kind, end.what) == ("certificate", "certificate of speech.example.com")
    assert "100% of those spoken" in results["speech-transcription"].evidence


MUTATIONS: list[tuple[str, str, Callable[[Answers], Any], str]] = [
    ("speech-certificate", "warn", lambda a: setattr(a, "days", 5), "ends in 5 days"),
    ("speech-sse", "fail", lambda a: setattr(a, "sse", speech.SpeechError("no")), "no"),
    (
        "speech-websocket", "fail",
        lambda a: setattr(a, "websocket", streams.Streamed()), "without its done event",
    ),
    ("speech-transcription", "fail", lambda a: setattr(a, "text", ""), "no word came back"),
    ("speech-key", "fail", lambda a: setattr(a, "wrong", HEARD), "a wrong key gets speech"),
    (
        "speech-key", "fail",
        lambda a: setattr(a, "wrong", speech.SpeechError("HTTP 500", 500)), "HTTP 500",
    ),
    (
        "speech-first-audio", "fail",
        lambda a: setattr(a, "speak", [HEARD, LATE]), "p95 6000 ms",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "verdict", "change", "evidence"), MUTATIONS)
def test_each_fault_has_its_line(
    answers: Answers, name: str, verdict: str, change: Callable[[Answers], Any], evidence: str
) -> None:
    change(answers)
    results = run()
    assert results[name].verdict == verdict
    assert evidence in results[name].evidence
    assert results[name].remedy
    assert others(results, name) == {"pass", "skipped"}


@pytest.mark.parametrize(
    ("heard", "evidence"),
    [
        (speech.Speech(b"", 200, 0.1, 0.1, 1, 1, 1, ""), "at least 0.5 s"),
        (speech.Speech(b"", 200, 1.0, 0.0, 1, 1, 1, ""), "the audio is silent"),
        (speech.SpeechError("HTTP 402", 402), "HTTP 402"),
    ],
)
def test_no_speech_explains_all_other_lines(answers: Answers, heard: Any, evidence: str) -> None:
    answers.speak = [heard]
    answers.sse = answers.websocket = answers.text = speech.SpeechError("nothing")
    results = run()
    assert results["speech"].verdict == "fail"
    assert evidence in results["speech"].evidence
    assert others(results, "speech") == {"pass", "skipped"}
    assert "speech failed: repair that first" in results["speech-sse"].evidence


def test_a_cause_in_the_cluster_explains_the_silence(answers: Answers) -> None:
    answers.speak = [speech.SpeechError("HTTP 503", 503)] * 9
    results = run(failed=["workers"])
    assert results["speech"].verdict == "skipped"
    assert "workers failed: repair that first" in results["speech"].evidence


def test_patience_outlasts_503_only(answers: Answers) -> None:
    answers.speak = [speech.SpeechError("HTTP 503", 503)] * 3
    assert run(patience_s=5.0)["speech"].verdict == "pass"
    answers.speak = [speech.SpeechError("HTTP 429", 429)]
    before = answers.requests
    assert run(patience_s=5.0, requests=1)["speech"].verdict == "fail"
    # One for the failed check, one for the next that speaks, one to transcribe.
    assert answers.requests - before <= 3


def test_limits_and_skip(answers: Answers) -> None:
    results = run(limits={"speech-first-audio": 10.0}, skip=["speech-key"])
    assert results["speech-first-audio"].verdict == "fail"
    assert results["speech-key"].verdict == "skipped"
    answers.text = "one"
    assert run()["speech-transcription"].verdict == "pass"
    share = run(limits={"speech-transcription": 0.5})["speech-transcription"]
    assert (share.verdict, "one" in share.evidence) == ("fail", False)
    assert "25% of those spoken; 50% are wanted" in share.evidence


def test_a_site_without_transcription(answers: Answers) -> None:
    assert run(stt_model="")["speech-transcription"].verdict == "skipped"


def test_an_open_port_is_named(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(checks, "CLOSED_PORTS", {port: "a database", 1: "nothing"})
        results = run(hosts=["127.0.0.1"])
    assert results["closed-ports"].verdict == "fail"
    assert results["closed-ports"].evidence == f"127.0.0.1:{port} is open (a database)"
    monkeypatch.setattr(checks, "CLOSED_PORTS", {1: "nothing"})
    assert run(hosts=["127.0.0.1"])["closed-ports"].verdict == "pass"


def test_each_check_has_what_a_report_needs() -> None:
    ids = [item.id for item in checks.DEFINITIONS]
    assert len(ids) == len(set(ids))
    for item in checks.DEFINITIONS:
        assert item.title
        assert item.remedy
        before = {*checks.CAUSES, *ids[: ids.index(item.id)]}
        assert set(item.after) <= before
