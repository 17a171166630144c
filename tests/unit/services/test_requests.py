# SPDX-License-Identifier: Apache-2.0
"""Requests as people and programs write them: those of public reports, each with its answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from lab.processes import KEY, Stack
from tests.unit.services.test_recordings import wav

RATE = 24000


def body(**fields: Any) -> dict[str, Any]:
    return {
        "model_id": "sonic-3",
        "transcript": "Hello there.",
        "voice": {"mode": "id", "id": "a0e99841-438c-4a64-b679-ae501e7d6091"},
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": RATE},
    } | fields


@pytest.fixture
def client(quiet_stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=quiet_stack.url, headers={"X-API-Key": KEY}, timeout=120, trust_env=False
    ) as made:
        yield made


def listed(client: httpx.Client) -> list[dict[str, Any]]:
    """All voices that the API lists."""
    voices: list[dict[str, Any]] = []
    more = True
    while more:
        after = {"starting_after": voices[-1]["id"]} if voices else {}
        page = client.get("/voices", params={"limit": "100", **after}).json()
        voices += page["data"]
        more = page["has_more"]
    return voices


def test_every_locale_and_language_that_is_listed_is_spoken(client: httpx.Client) -> None:
    voices = listed(client)
    tags = {one["locale"] for voice in voices for one in voice["locales"]}
    tags |= {voice["language"] for voice in voices}
    assert {"de-DE", "zh-CN", "ja-JP", "en"} < tags
    one_of_each = {voice["language"]: voice["id"] for voice in voices}
    for tag in sorted(tags):
        voice = {"mode": "id", "id": one_of_each[tag.partition("-")[0]]}
        for written in ({"locale": tag}, {"language": tag.upper().replace("-", "_")}):
            answer = client.post("/tts/bytes", json=body(transcript="1 2", voice=voice, **written))
            assert answer.status_code == 200, (tag, answer.text)
            assert len(answer.content) > 0.2 * RATE * 2, tag


@pytest.mark.parametrize(
    ("version", "fields", "status", "least_s"),
    [
        ("2026-03-01", {"language": "he", "transcript": "שלום"}, 200, 0.3),
        ("2026-03-01", {"language": "th", "transcript": "สวัสดี"}, 200, 0.3),
        ("2026-03-01", {"locale": "en-AU"}, 200, 0.5),
        ("2026-03-01", {"locale": "es-MX"}, 200, 0.5),
        ("2026-03-01", {"transcript": "We are 👨\u200d👩\u200d👧 three."}, 200, 0.5),
        ("2026-03-01", {"transcript": "😀"}, 200, 0.3),
        ("2026-03-01", {"transcript": "..."}, 400, 0),
        ("2026-03-01", {"transcript": "Every word counts. " * 1000}, 200, 900),
        ("2026-03-01", {"transcript": "a" * 20_001}, 400, 0),
        ("2026-03-01", {"language": "xx"}, 400, 0),
        ("2026-03-01", {"model_id": "Whisper-3"}, 404, 0),
        ("2025-04-16", {"speed": 0.3}, 400, 0),
        ("2024-06-10", {"voice": {"mode": "embedding", "embedding": [0.01] * 192}}, 400, 0),
        (
            "2024-11-13",
            {
                "voice": {
                    "mode": "id",
                    "id": "v",
                    "__experimental_controls": {"speed": "fast", "emotion": ["positivity:high"]},
                }
            },
            200,
            0.4,
        ),
    ],
)
def test_requests_as_other_clients_write_them(
    client: httpx.Client, version: str, fields: dict[str, Any], status: int, least_s: float
) -> None:
    headers = {"Cartesia-Version": version}
    answer = client.post("/tts/bytes", json=body(**fields), headers=headers)
    assert answer.status_code == status, answer.text[:300]
    if status == 200:
        assert len(answer.content) / RATE / 2 > least_s


def test_a_byte_order_mark_before_json_is_no_part_of_it(client: httpx.Client) -> None:
    content = b"\xef\xbb\xbf" + json.dumps(body()).encode()
    assert client.post("/tts/bytes", content=content).status_code == 200


def test_a_language_that_this_engine_does_not_understand_is_refused(client: httpx.Client) -> None:
    files = {"file": ("recording", wav(0))}
    answer = client.post("/stt", params={"model": "ink-whisper", "language": "multi"}, files=files)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("language: ")
    files = {"file": ("recording", wav(0))}
    answer = client.post("/stt", params={"model": "ink-whisper", "language": "de"}, files=files)
    assert answer.status_code == 400
    assert "understands English only" in answer.json()["message"]
    files = {"file": ("recording", wav(0))}
    answer = client.post("/stt", params={"model": "ink-whisper", "language": "en-AU"}, files=files)
    assert (answer.status_code, answer.json()["duration"]) == (200, 1.0)
