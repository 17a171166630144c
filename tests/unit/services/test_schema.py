# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from sonic_reference.api.schema import SpeechRequest, parse_json, parse_version
from sonic_reference.errors import ApiError
from sonic_reference.voices import Voices

GOOD: dict[str, Any] = {
    "model_id": "sonic-3.5",
    "transcript": "Hello.",
    "voice": {"mode": "id", "id": "v"},
    "output_format": {"container": "wav", "encoding": "pcm_f32le", "sample_rate": 44100},
}


def test_a_full_request_becomes_a_job() -> None:
    request = GOOD | {
        "language": "de",
        "generation_config": {"volume": 1.5, "speed": 0.8, "emotion": "calm"},
        "pronunciation_dict_id": "p",
        "save": False,
        "normalization": "auto",
    }
    job = parse_json(SpeechRequest, json.dumps(request).encode()).job("r", Voices())
    assert job.request_id == "r"
    assert (job.volume, job.speed, job.emotion, job.language) == (1.5, 0.8, "calm", "de")
    assert job.voice_id == "v"
    assert job.output_format.sample_rate == 44100


def test_newer_versions_name_the_voice_by_its_id_alone() -> None:
    assert parse_json(SpeechRequest, json.dumps(GOOD | {"voice": "v"}).encode()).voice.id == "v"


def test_null_stands_for_absent() -> None:
    request = GOOD | {"language": None, "generation_config": None, "pronunciation_dict_id": None}
    assert (
        parse_json(SpeechRequest, json.dumps(request).encode()).job("r", Voices()).language == "en"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transcript": "  "}, "transcript is empty"),
        ({"transcript": "a" * 20_001}, "transcript"),
        ({"transcript": None}, "transcript"),
        ({"voice": {"mode": "embedding", "embedding": [0.0]}}, "voice.mode"),
        ({"voice": {"mode": "id"}}, "voice.id"),
        ({"generation_config": {"speed": 2}}, "generation_config.speed"),
        ({"generation_config": {"volume": 0.1}}, "generation_config.volume"),
        # A context keeps what it was asked with for as long as it lives.
        ({"generation_config": {"emotion": "x" * 65}}, "generation_config.emotion"),
        ({"generation_config": {"emotion": ["calm"] * 17}}, "generation_config.emotion"),
        ({"language": "en'; --"}, "language"),
        ({"language": "en", "locale": "en-GB"}, "both"),
        ({"output_format": {"container": "ogg", "sample_rate": 8000}}, "output_format.container"),
        ({"output_format": {"container": "raw", "sample_rate": 8000}}, "encoding is required"),
        ({"output_format": {"container": "mp3", "sample_rate": 8001}}, "sample_rate for mp3"),
        (
            {"output_format": {"container": "mp3", "sample_rate": 8000, "bit_rate": 1}},
            "bit_rate must be",
        ),
        ({"model_id": ""}, "model_id"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_json(SpeechRequest, json.dumps(GOOD | change).encode())
    assert caught.value.status == 400
    assert caught.value.code == "invalid_request"
    assert message in caught.value.message


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'"text"', b"null", b"NaN"])
def test_bodies_that_are_no_request(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_json(SpeechRequest, body)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("given", "meant"),
    [(None, "2026-03-01"), ("2024-06-10", "2024-06-10"), ("2099-01-01", "2099-01-01")],
)
def test_versions(given: str | None, meant: str) -> None:
    assert parse_version(given) == meant


@pytest.mark.parametrize("given", ["latest", "2023-01-01", "2026-3-1", "2026-03-01T00:00"])
def test_versions_that_never_were(given: str) -> None:
    with pytest.raises(ApiError, match="Cartesia-Version"):
        parse_version(given)
