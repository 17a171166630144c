# SPDX-License-Identifier: Apache-2.0
"""The whole way, over real processes: text in, speech out, and what happens when a part is away."""

from __future__ import annotations

import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab.processes import KEY, Stack, until

TEXT = "The quick brown fox jumps over the lazy dog. Then it sleeps for a while."
# Speaking this takes minutes of audio; a paced worker is busy with it for as long as a test needs.
LONG = TEXT * 40
VERSION = "2026-03-01"


def body(transcript: str = TEXT, **more: Any) -> dict[str, Any]:
    return {
        "model_id": "sonic-3",
        "transcript": transcript,
        "voice": {"mode": "id", "id": "694f9389-aac1-45b6-b726-9d9369183238"},
        "output_format": {"container": "wav", "encoding": "pcm_s16le", "sample_rate": 24000},
        "language": "en",
    } | more


def headers(key: str = KEY) -> dict[str, str]:
    return {"X-API-Key": key, "Cartesia-Version": VERSION}


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, headers=headers(), timeout=20, trust_env=False) as made:
        yield made


@pytest.fixture
def asker(quiet_stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=quiet_stack.url, headers=headers(), timeout=20, trust_env=False
    ) as made:
        yield made


@contextmanager
def speaking(client: httpx.Client) -> Iterator[Iterator[bytes]]:
    """A long answer of which the first audio has come."""
    with client.stream("POST", "/tts/bytes", json=body(LONG)) as response:
        assert response.status_code == 200
        parts = response.iter_raw()
        assert next(parts, None), "no audio at all"
        yield parts


def test_text_comes_back_as_speech(stack: Stack, client: httpx.Client) -> None:
    stack.start_worker()
    stack.wait_worker()
    client.post("/tts/bytes", json=body())

    began = time.monotonic()
    with client.stream("POST", "/tts/bytes", json=body()) as response:
        parts = response.iter_raw()
        wav = next(parts)
        first_byte_s = time.monotonic() - began
        wav += b"".join(parts)

    assert response.status_code == 200
    assert response.headers["content-type"] == "audio/wav"
    assert response.headers["x-request-id"]
    assert wav[:4] == b"RIFF"
    assert wav[8:16] == b"WAVEfmt "
    assert struct.unpack("<HHI", wav[20:28]) == (1, 1, 24000)
    # About 15 words at 175 words a minute.
    assert 4.0 < (len(wav) - 44) / 2 / 24000 < 7.0
    loudest = max(abs(s) for (s,) in struct.iter_unpack("<h", wav[44 : len(wav) // 2 * 2]))
    assert loudest > 3000
    assert first_byte_s < 1.0
    assert stack.worker_metric("inferno_worker_ttfa_count") == 2
    assert stack.worker_metric("inferno_worker_rtf_count") == 2
    assert stack.api_metric("api_ttfa_seconds_count") == 2
    assert stack.api_metric("api_queue_size") == 0


@pytest.mark.parametrize(
    ("wanted", "media_type"),
    [
        ({"container": "raw", "encoding": "pcm_f32le", "sample_rate": 44100}, "audio/pcm"),
        ({"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000}, "audio/pcm"),
        ({"container": "mp3", "sample_rate": 44100, "bit_rate": 64000}, "audio/mpeg"),
    ],
)
def test_other_formats_last_as_long(
    asker: httpx.Client, wanted: dict[str, Any], media_type: str
) -> None:
    wav = asker.post("/tts/bytes", json=body()).content
    answer = asker.post("/tts/bytes", json=body(output_format=wanted))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    bytes_a_second = {
        "pcm_f32le": 44100 * 4,
        "pcm_mulaw": 8000,
        None: 64000 // 8,
    }[wanted.get("encoding")]
    assert len(answer.content) / bytes_a_second == pytest.approx((len(wav) - 44) / 48000, abs=0.2)


def test_keys(asker: httpx.Client) -> None:
    refused = asker.post("/tts/bytes", json=body(), headers=headers("wrong"))
    assert refused.status_code == 401
    error = refused.json()
    assert error["error_code"] == "invalid_api_key"
    assert set(error) == {"error_code", "title", "message", "request_id"}
    assert error["request_id"] == refused.headers["x-request-id"]
    old = asker.post(
        "/tts/bytes", json=body(), headers=headers("wrong") | {"Cartesia-Version": "2025-04-16"}
    )
    assert old.text == "Unauthorized: The API key is missing or invalid"
    bearer = httpx.post(
        asker.base_url.join("/tts/bytes"),
        json=body(),
        headers={"Authorization": f"Bearer {KEY}"},
        trust_env=False,
    )
    assert bearer.status_code == 200


def test_bad_requests_are_refused_before_a_worker_sees_them(
    quiet_stack: Stack, asker: httpx.Client
) -> None:
    before = quiet_stack.worker_metric("inferno_worker_jobs_total")
    formats = {"container": "wav", "encoding": "pcm_s16le", "sample_rate": 7999}
    answer = asker.post("/tts/bytes", json=body(output_format=formats))
    assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid_request")
    assert "output_format.sample_rate" in answer.json()["message"]
    assert asker.post("/tts/bytes", content=b"{").json()["error_code"] == "invalid_json"
    assert asker.post("/tts/bytes", content=b" " * 300_000).status_code == 413
    unknown = asker.post("/tts/bytes", json=body(model_id="whisper"))
    assert (unknown.status_code, unknown.json()["error_code"]) == (404, "model_not_found")
    assert asker.get("/tts/bytes").status_code == 405
    for path in ("/nothing", "/status%0A", "/voices/%0A"):
        assert asker.get(path).json()["error_code"] == "not_found", path
    assert quiet_stack.worker_metric("inferno_worker_jobs_total") == before
    # What only the engine can know comes back from the worker as it is.
    no_voice = asker.post("/tts/bytes", json=body(language="xx"))
    assert no_voice.status_code == 400
    assert "xx" in no_voice.json()["message"]


def test_full_workers_mean_429_and_leaving_frees_a_stream(
    stack: Stack, client: httpx.Client
) -> None:
    stack.start_worker(SONIC_PACE="1")
    stack.wait_worker()
    with speaking(client), speaking(client):
        until(lambda: stack.worker_metric("inferno_worker_load") == 2, "the worker is full")
        began = time.monotonic()
        answer = client.post("/tts/bytes", json=body())
        waited_s = time.monotonic() - began
        assert (answer.status_code, answer.json()["error_code"]) == (429, "concurrency_limited")
        assert answer.headers["retry-after"] == "1"
        assert 0.4 < waited_s < 2
    # Both clients left without reading to the end.
    until(lambda: stack.worker_metric("inferno_worker_load") == 0, "the streams are free", 3)
    assert client.post("/tts/bytes", json=body("Yes.")).status_code == 200


def test_a_request_in_line_gets_the_stream_that_becomes_free(bare_stack: Stack) -> None:
    stack = bare_stack
    stack.start_nats()
    stack.start_proxy()
    stack.start_api(SONIC_QUEUE_TIMEOUT="20")
    stack.start_worker(SONIC_PACE="1", SONIC_BATCH_SIZE="1")
    stack.wait_api()
    stack.wait_worker()
    answers: list[int] = []
    with httpx.Client(base_url=stack.url, headers=headers(), timeout=30, trust_env=False) as client:

        def ask() -> None:
            answers.append(client.post("/tts/bytes", json=body("Yes.")).status_code)

        with speaking(client):
            waiting = threading.Thread(target=ask)
            waiting.start()
            until(lambda: stack.api_metric("api_queue_size") == 1, "one request waits")
            assert stack.api_metric("api_unserviceable_requests_size") == 0
            assert not answers
        waiting.join(10)
    assert answers == [200]
    assert stack.api_metric("api_queue_size") == 0


def test_no_worker_means_503_and_shows_in_the_metric(bare_stack: Stack) -> None:
    stack = bare_stack
    stack.start_nats()
    stack.start_proxy()
    # Long enough to be seen on a busy machine.
    stack.start_api(SONIC_QUEUE_TIMEOUT="8")
    stack.wait_api()
    # Until then it refuses at once: it listens before it is on the bus.
    until(lambda: "nats: connected" in stack.log("api"), "the API is on the bus")
    answers: list[httpx.Response] = []

    def ask() -> None:
        url = f"{stack.url}/tts/bytes"
        answers.append(httpx.post(url, json=body(), headers=headers(), timeout=60, trust_env=False))

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: stack.api_metric("api_unserviceable_requests_size") == 1, "it shows")
    asking.join()
    assert (answers[0].status_code, answers[0].json()["error_code"]) == (503, "no_worker")
    assert stack.api_metric("api_unserviceable_requests_size") == 0


def test_a_killed_worker_cuts_the_answer_and_another_takes_over(
    stack: Stack, client: httpx.Client
) -> None:
    stack.start_worker("first", SONIC_PACE="1")
    stack.wait_worker("first")
    with speaking(client) as parts:
        stack.signal("first", signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(httpx.RemoteProtocolError):
            b"".join(parts)
        assert time.monotonic() - began < 6
    assert stack.api_metric("api_broken_streams_total") == 1
    stack.start_worker("second")
    stack.wait_worker("second")
    assert client.post("/tts/bytes", json=body()).status_code == 200


def test_a_job_of_a_frozen_worker_goes_to_another(bare_stack: Stack) -> None:
    stack = bare_stack
    stack.start_nats()
    stack.start_proxy()
    stack.start_api(SONIC_QUEUE_TIMEOUT="15")
    stack.start_worker("frozen")
    stack.wait_api()
    stack.wait_worker("frozen")
    stack.signal("frozen", signal.SIGSTOP)
    try:
        stack.start_worker("well")
        stack.wait_worker("well")
        with httpx.Client(
            base_url=stack.url, headers=headers(), timeout=30, trust_env=False
        ) as client:
            # The queue group may offer each to the frozen one first, more than once.
            statuses = [
                client.post("/tts/bytes", json=body("Yes.")).status_code for _unused in range(3)
            ]
    finally:
        stack.signal("frozen", signal.SIGCONT)
    assert statuses == [200, 200, 200]
    # The jobs that it finds when it thaws are already done elsewhere.
    until(lambda: stack.worker_metric("inferno_worker_load", "frozen") == 0, "it is idle", 15)


def test_a_slow_client_holds_the_worker_back(stack: Stack, client: httpx.Client) -> None:
    stack.start_worker()
    stack.wait_worker()
    wanted = {"container": "raw", "encoding": "pcm_f32le", "sample_rate": 48000}
    request = body(LONG, output_format=wanted)
    whole = len(client.post("/tts/bytes", json=request).content)
    # More than all buffers on the way hold.
    assert whole > 30_000_000
    with client.stream("POST", "/tts/bytes", json=request) as response:
        parts = response.iter_raw()
        size = len(next(parts))
        time.sleep(3)
        assert stack.worker_metric("inferno_worker_load") == 1
        size += sum(map(len, parts))
    assert size == pytest.approx(whole, rel=0.02)
    until(lambda: stack.worker_metric("inferno_worker_load") == 0, "the stream is free", 3)


def test_a_killed_api_leaves_no_stream_behind(stack: Stack, client: httpx.Client) -> None:
    stack.start_worker(SONIC_PACE="1")
    stack.wait_worker()
    with speaking(client) as parts:
        stack.signal("api", signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            b"".join(parts)
    until(lambda: stack.worker_metric("inferno_worker_load") == 0, "the stream is free", 15)
    assert "orphaned" in stack.log("worker")


def test_a_drained_worker_finishes_its_streams(stack: Stack, client: httpx.Client) -> None:
    stack.start_worker(SONIC_PACE="0.3")
    stack.wait_worker()
    with client.stream("POST", "/tts/bytes", json=body()) as response:
        parts = response.iter_raw()
        size = len(next(parts))
        stack.signal("worker", signal.SIGTERM)
        until(lambda: stack.worker_metric("inferno_worker_capacity") == 0, "the worker drains")
        assert client.post("/tts/bytes", json=body()).status_code == 503
        size += sum(map(len, parts))
    assert 4.0 < size / 48000 < 7.0
    assert stack.ended("worker") == 0
    assert "drained" in stack.log("worker")


def test_a_drained_api_finishes_its_streams(stack: Stack, client: httpx.Client) -> None:
    stack.start_worker(SONIC_PACE="0.3")
    stack.wait_worker()
    with client.stream("POST", "/tts/bytes", json=body()) as response:
        parts = response.iter_raw()
        size = len(next(parts))
        stack.signal("api", signal.SIGTERM)
        until(lambda: stack.status(f"{stack.url}/status") == 0, "the API listens no more")
        size += sum(map(len, parts))
    assert 4.0 < size / 48000 < 7.0
    assert stack.ended("api") == 0


def test_known_keys_work_while_the_license_proxy_is_away(bare_stack: Stack) -> None:
    stack = bare_stack
    stack.start_nats()
    stack.start_proxy()
    stack.start_api(SONIC_AUTHORIZATION_TTL="0")
    stack.start_worker()
    stack.wait_api()
    stack.wait_worker()
    with httpx.Client(base_url=stack.url, timeout=20, trust_env=False) as client:
        assert client.post("/tts/bytes", json=body(), headers=headers()).status_code == 200
        stack.signal("license_proxy", signal.SIGTERM)
        assert stack.ended("license_proxy") == 0
        assert client.post("/tts/bytes", json=body(), headers=headers()).status_code == 200
        unknown = client.post("/tts/bytes", json=body(), headers=headers("other"))
        assert (unknown.status_code, unknown.json()["error_code"]) == (503, "license_unavailable")


def test_nats_may_come_late_and_come_back(bare_stack: Stack) -> None:
    stack = bare_stack
    stack.start_proxy()
    stack.start_api()
    stack.start_worker()
    until(lambda: stack.status(f"{stack.url}/status") == 503, "the API answers without NATS")
    until(lambda: "model loaded" in stack.log("worker"), "the worker has loaded its model")
    assert stack.worker_metric("inferno_worker_capacity") == 0
    stack.start_nats()
    stack.wait_api()
    stack.wait_worker()
    with httpx.Client(base_url=stack.url, headers=headers(), timeout=20, trust_env=False) as client:
        assert client.post("/tts/bytes", json=body()).status_code == 200
        stack.signal("nats", signal.SIGKILL)
        stack.ended("nats")
        until(lambda: stack.status(f"{stack.url}/status") == 503, "the API notices")
        assert client.post("/tts/bytes", json=body()).json()["error_code"] == "bus_unavailable"
        stack.start_nats()
        stack.wait_api()
        until(lambda: client.post("/tts/bytes", json=body()).status_code == 200, "speech is back")


def test_bad_settings_are_named_all_at_once(bare_stack: Stack) -> None:
    bare_stack.start_worker(SONIC_BATCH_SIZE="many", SONIC_OPERATION="video", SONIC_MODEL="")
    assert bare_stack.ended("worker") == 2
    actual = bare_stack.log("worker")
    assert "SONIC_MODEL is not set" in actual
    assert "SONIC_BATCH_SIZE='many' is not a whole number from 1 to 256" in actual
    assert "SONIC_OPERATION='video' is neither TTS nor STT" in actual


def test_a_site_key_that_no_header_can_carry_is_refused_and_not_shown(bare_stack: Stack) -> None:
    bare_stack.start_api(CARTESIA_API_KEY="sk_sekr\u00e9t")
    assert bare_stack.ended("api") == 2
    actual = bare_stack.log("api")
    assert "CARTESIA_API_KEY must be printable ASCII" in actual
    assert "sekr" not in actual


def test_nothing_is_left_of_a_killed_worker(stack: Stack) -> None:
    stack.start_worker()
    stack.wait_worker()
    pid = stack.processes["worker"].pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    assert len(children) == 2
    stack.signal("worker", signal.SIGKILL)
    left = [Path(f"/proc/{child}/exe") for child in children]
    until(lambda: not any(one.exists() for one in left), "they are gone", 3)


def test_clients_that_vanish_are_noticed(stack: Stack) -> None:
    with socket.create_connection(("127.0.0.1", stack.api_port)) as client:
        client.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
        ends = (stack.api_port, client.getsockname()[1])
        lines = Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]
        timers = [
            timer
            for _number, local, remote, _state, _queues, timer, *_rest in map(str.split, lines)
            if (port(local), port(remote)) == ends
        ]
        # proc_net_tcp.txt: 2 is the timer that another one than retransmission left, keepalive's.
        assert [timer.partition(":")[0] for timer in timers] == ["02"]


def port(end: str) -> int:
    """The port of an end of a connection, as /proc/net/tcp writes it."""
    return int(end.partition(":")[2], 16)
