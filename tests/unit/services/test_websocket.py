# SPDX-License-Identifier: Apache-2.0
"""WebSockets as a client sees them that is no SDK: odd input, and what happens when a part goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sonic_reference.sentences import complete
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from lab.processes import KEY, Stack, until

TEXT = "The quick brown fox jumps over the lazy dog."
DEADLINE_S = 60
HEARD = "model=ink-2&encoding=pcm_s16le&sample_rate=16000"


def message(
    context: str = "one", transcript: str = TEXT, *, more: bool = False, **fields: Any
) -> dict[str, Any]:
    return {
        "context_id": context,
        "model_id": "sonic-3",
        "transcript": transcript,
        "voice": {"mode": "id", "id": "v"},
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16000},
        "continue": more,
    } | fields


@contextmanager
def opened(
    stack: Stack, path: str = "/tts/websocket", key: str | None = KEY
) -> Iterator[ClientConnection]:
    headers = {"X-API-Key": key} if key else {}
    url = stack.url.replace("http", "ws") + path
    with connect(url, additional_headers=headers, proxy=None) as socket:
        assert isinstance(socket, ClientConnection)
        yield socket


def tell(socket: ClientConnection, fields: dict[str, Any]) -> None:
    socket.send(json.dumps(fields))


def hear(socket: ClientConnection) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(socket.recv(timeout=DEADLINE_S))
    return event


def until_type(socket: ClientConnection, *types: str) -> list[dict[str, Any]]:
    """Return the events up to the first of these types; any other error fails."""
    events = [hear(socket)]
    while events[-1]["type"] not in types:
        assert events[-1]["type"] != "error", events[-1]
        events.append(hear(socket))
    return events


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("", 0),
        ("The quick", 0),
        ("It ends. And", 8),
        ("Hello!", 6),
        ('He said "no." And', 13),
        ("It is 3.", 0),
        ("It is 3.5 now", 0),
        ("A line\nanother", 7),
        ("你好。世界", 3),
    ],
)
def test_sentences_of_a_growing_text(text: str, whole: int) -> None:
    assert complete(text) == whole


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("[" * 5000, "invalid_json"),
        ("null", "invalid_request"),
        ("[]", "invalid_request"),
        ('"text"', "invalid_request"),
        ("{}", "invalid_request"),
        (b"\x00\xff", "invalid_request"),
        (json.dumps({"cancel": True}), "invalid_request"),
        (json.dumps({"cancel": "yes", "context_id": "c"}), "invalid_request"),
        (json.dumps(message(context="")), "invalid_request"),
        (json.dumps(message(transcript="")), "invalid_request"),
        (json.dumps(message(transcript="\ud800")), "invalid_request"),
        (json.dumps(message(max_buffer_delay_ms=5001)), "invalid_request"),
        (json.dumps(message(output_format={"container": "wav"})), "invalid_request"),
        (json.dumps(message(model_id="whisper")), "model_not_found"),
        (json.dumps(message(pronunciation_dict_id="none")), "invalid_request"),
    ],
)
def test_what_cannot_be_read_is_answered_and_the_socket_lives(
    quiet_stack: Stack, sent: str | bytes, code: str
) -> None:
    with opened(quiet_stack) as socket:
        socket.send(sent)
        error = hear(socket)
        assert (error["type"], error["error_code"]) == ("error", code)
        assert error["done"] is True
        assert error["status_code"] in (400, 404)
        assert error["title"]
        assert error["message"]
        assert error["request_id"]
        tell(socket, message(transcript="Yes."))
        assert until_type(socket, "done")[-1]["context_id"] == "one"


def test_who_may_not_is_refused_before_the_socket_opens(quiet_stack: Stack) -> None:
    for path, key, status in (
        ("/tts/websocket", None, 401),
        ("/tts/websocket", "wrong", 401),
        ("/tts/websocket?access_token=a.b.c", None, 401),
        ("/tts/websocket?cartesia_version=yesterday", KEY, 400),
        ("/stt/websocket", KEY, 400),
        ("/stt/websocket?model=whisper&encoding=pcm_s16le&sample_rate=16000", KEY, 404),
        ("/nothing", KEY, 403),
    ):
        with pytest.raises(InvalidStatus) as caught, opened(quiet_stack, path, key):
            pass
        assert caught.value.response.status_code == status


@pytest.mark.parametrize(
    "path", ["/tts/websocket", f"/stt/websocket?{HEARD}", f"/stt/turns/websocket?{HEARD}"]
)
def test_a_handshake_names_the_request(quiet_stack: Stack, path: str) -> None:
    """Plugins write the header into their logs, where it leads to the site's."""
    with opened(quiet_stack, path) as socket:
        assert socket.response
        named = socket.response.headers["x-request-id"]
        socket.send("{" if path.startswith("/tts") else "what?")
        actual = [hear(socket)]
        if actual[0]["type"] == "connected":
            actual.append(hear(socket))
        assert [event["request_id"] for event in actual] == [named] * len(actual)
    with pytest.raises(InvalidStatus) as refusal, opened(quiet_stack, path, key="wrong"):
        pass
    answer = refusal.value.response
    assert answer.headers["x-request-id"] == json.loads(answer.body or b"")["request_id"]


def test_a_token_opens_a_socket_and_is_not_logged(quiet_stack: Stack) -> None:
    answer = httpx.post(
        f"{quiet_stack.url}/access-token",
        headers={"X-API-Key": KEY},
        json={"grants": {"tts": True}},
        trust_env=False,
    )
    token = answer.json()["token"]
    with opened(quiet_stack, f"/tts/websocket?access_token={token}", None) as socket:
        tell(socket, message(transcript="Yes."))
        until_type(socket, "done")
    assert token not in quiet_stack.log("api")


def test_older_versions_get_their_errors(quiet_stack: Stack) -> None:
    with opened(quiet_stack, "/tts/websocket?cartesia_version=2025-04-16") as socket:
        socket.send("{")
        assert hear(socket) == {
            "type": "error", "done": True, "status_code": 400,
            "error": "Invalid JSON: This is not valid JSON",
        }  # fmt: skip


def test_text_waits_for_a_sentence_or_the_delay(quiet_stack: Stack) -> None:
    with opened(quiet_stack) as socket:
        began = time.monotonic()
        tell(socket, message(transcript="The quick brown", max_buffer_delay_ms=700, more=True))
        assert hear(socket)["type"] == "chunk"
        assert time.monotonic() - began > 0.65
        tell(socket, message(transcript="", more=False))
        until_type(socket, "done")
        for context, text, delay_ms in (("two", "It ends. And", 5000), ("three", "The", 0)):
            began = time.monotonic()
            tell(socket, message(context, text, max_buffer_delay_ms=delay_ms, more=True))
            assert hear(socket)["type"] == "chunk"
            assert time.monotonic() - began < 4
            tell(socket, {"context_id": context, "cancel": True})
            until_type(socket, "done")


def test_a_context_that_is_over_can_begin_anew(quiet_stack: Stack) -> None:
    with opened(quiet_stack) as socket:
        tell(socket, message())
        tell(socket, message())
        assert until_type(socket, "error")[-1]["error_code"] == "context_closed"
        until_type(socket, "done")
        tell(socket, message(transcript="Again."))
        assert until_type(socket, "done")[0]["type"] == "chunk"


def test_punctuation_alone_is_passed_over(quiet_stack: Stack) -> None:
    with opened(quiet_stack) as socket:
        for text in ("Yes. ", "... ", "- ", "No."):
            tell(socket, message(transcript=text, more=True))
        tell(socket, message(transcript="", more=False))
        assert until_type(socket, "done", "error")[-1]["type"] == "done"


def test_leaving_frees_the_worker(stack: Stack) -> None:
    stack.start_worker(SONIC_PACE="1")
    stack.wait_worker()
    with opened(stack) as socket:
        tell(socket, message("one", TEXT * 20))
        tell(socket, message("two", TEXT * 20))
        until_type(socket, "chunk")
        until(lambda: stack.worker_metric("inferno_worker_load") == 2, "both are spoken")
        tell(socket, message("three"))
        refused = until_type(socket, "error")[-1]
        assert (refused["context_id"], refused["error_code"]) == ("three", "concurrency_limited")
        assert refused["status_code"] == 429
        tell(socket, {"context_id": "one", "cancel": True})
        until(lambda: stack.worker_metric("inferno_worker_load") == 1, "one was cancelled")
    until(lambda: stack.worker_metric("inferno_worker_load") == 0, "the client left")
    assert stack.api_metric("api_websockets") == 0


@pytest.fixture
def patient(bare_stack: Stack) -> Stack:
    """NATS, license proxy and an API where requests wait long for a worker."""
    bare_stack.start_nats()
    bare_stack.start_proxy()
    bare_stack.start_api(SONIC_QUEUE_TIMEOUT="30")
    bare_stack.wait_api()
    return bare_stack


def test_a_worker_lost_before_it_spoke_is_replaced(patient: Stack) -> None:
    stack = patient
    # It needs a second for its first audio, and the stack counts silence of two as a loss.
    stack.start_worker("slow", SONIC_PACE="10")
    stack.wait_worker("slow")
    with opened(stack) as socket:
        tell(socket, message(transcript="Yes."))
        until(lambda: stack.worker_metric("inferno_worker_load", "slow") == 1, "it has the job")
        stack.start_worker("other")
        stack.signal("slow", signal.SIGKILL)
        assert until_type(socket, "done", "error")[-1]["type"] == "done"


def test_a_worker_lost_in_the_middle_is_an_error_and_the_socket_lives(patient: Stack) -> None:
    stack = patient
    stack.start_worker("first", SONIC_PACE="1")
    stack.wait_worker("first")
    with opened(stack) as socket:
        tell(socket, message(transcript=TEXT * 20))
        until_type(socket, "chunk")
        stack.signal("first", signal.SIGKILL)
        error = until_type(socket, "error", "done")[-1]
        assert (error["error_code"], error["status_code"]) == ("worker_lost", 503)
        assert error["context_id"] == "one"
        stack.start_worker("second")
        stack.wait_worker("second")
        tell(socket, message(transcript="Yes."))
        assert until_type(socket, "error", "done")[-1]["type"] == "done"


def test_jobs_go_where_most_streams_are_free(patient: Stack) -> None:
    stack = patient
    stack.start_worker("small", SONIC_BATCH_SIZE="1", SONIC_PACE="1")
    stack.start_worker("large", SONIC_BATCH_SIZE="4", SONIC_PACE="1")
    stack.wait_worker("small")
    stack.wait_worker("large")
    # Its announcement follows within the second.
    time.sleep(1.2)
    with opened(stack) as socket:
        for number in range(3):
            tell(socket, message(str(number), TEXT * 20))
        until(lambda: stack.worker_metric("inferno_worker_load", "large") == 3, "it has all")
        assert stack.worker_metric("inferno_worker_load", "small") == 0
        for number in range(3, 5):
            tell(socket, message(str(number), TEXT * 20))
        until(lambda: stack.worker_metric("inferno_worker_load", "large") == 4, "it is full")
        until(lambda: stack.worker_metric("inferno_worker_load", "small") == 1, "so is this")


def test_a_drained_api_finishes_its_contexts_and_takes_no_new_ones(patient: Stack) -> None:
    stack = patient
    stack.start_worker(SONIC_PACE="0.5")
    stack.wait_worker()
    with opened(stack) as socket:
        tell(socket, message(transcript=TEXT))
        until_type(socket, "chunk")
        stack.signal("api", signal.SIGTERM)
        until(lambda: stack.status(f"{stack.url}/status") == 0, "it listens no more")
        tell(socket, message("late"))
        refused = until_type(socket, "error")[-1]
        assert (refused["context_id"], refused["error_code"]) == ("late", "draining")
        assert until_type(socket, "done")[-1]["context_id"] == "one"
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(timeout=DEADLINE_S)
        assert caught.value.rcvd
        assert caught.value.rcvd.code == 1012
    assert stack.ended("api") == 0


def test_a_listening_worker_that_is_lost_is_an_error(patient: Stack) -> None:
    stack = patient
    stack.start_listener()
    stack.wait_worker("listener")
    query = "?model=ink-2&encoding=pcm_s16le&sample_rate=16000"
    with opened(stack, f"/stt/websocket{query}") as socket:
        socket.send(bytes(3200))
        until(lambda: stack.worker_metric("inferno_worker_load", "listener") == 1, "it listens")
        stack.signal("listener", signal.SIGKILL)
        error = until_type(socket, "error", "done")[-1]
        assert (error["error_code"], error["status_code"]) == ("worker_lost", 503)
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=DEADLINE_S)


@pytest.mark.parametrize("sent", ["sing", "{", '{"type": 5}', ""])
def test_unknown_commands_end_the_listening(quiet_stack: Stack, sent: str) -> None:
    query = "?model=ink-2&encoding=pcm_mulaw&sample_rate=8000"
    with opened(quiet_stack, f"/stt/websocket{query}") as socket:
        # Half a sample of what is no sound does no harm.
        socket.send(b"\xff")
        socket.send(sent)
        error = until_type(socket, "error", "done")[-1]
        assert (error["type"], error["error_code"]) == ("error", "invalid_request")


@pytest.mark.parametrize(
    "path",
    [
        "/tts/websocket?",
        "/stt/websocket?model=ink-2&encoding=pcm_s16le&sample_rate=16000&",
        "/stt/turns/websocket?model=ink-2&encoding=pcm_s16le&sample_rate=16000&",
    ],
)
def test_a_key_in_the_query_opens_a_socket_and_is_not_logged(quiet_stack: Stack, path: str) -> None:
    # As the vendor's JavaScript client writes it where it cannot set headers.
    query = f"cartesia_version=2026-08-14&api_key={KEY}&cartesia_client=js%2F4.2.0"
    with opened(quiet_stack, path + query, None):
        pass
    for wrong in ("sk_wrong", "%0A", "%00", "%20", f"{KEY}%0A", "%C3%A9"):
        with (
            pytest.raises(InvalidStatus) as caught,
            opened(quiet_stack, f"{path}api_key={wrong}", None),
        ):
            pass
        assert caught.value.response.status_code == 401
    assert KEY not in quiet_stack.log("api")
    assert "Traceback" not in quiet_stack.log("api")


def test_a_session_ends_with_its_token(quiet_stack: Stack) -> None:
    answer = httpx.post(
        f"{quiet_stack.url}/access-token",
        headers={"X-API-Key": KEY},
        json={"grants": {"tts": True, "stt": True}, "expires_in": 4},
        trust_env=False,
    )
    token = answer.json()["token"]
    query = f"?model=ink-2&encoding=pcm_s16le&sample_rate=16000&access_token={token}"
    with (
        opened(quiet_stack, f"/tts/websocket?access_token={token}", None) as speaking,
        opened(quiet_stack, f"/stt/websocket{query}", None) as listening,
    ):
        tell(speaking, message(transcript="One. ", more=True))
        until_type(speaking, "chunk")
        for socket in (speaking, listening):
            error = until_type(socket, "error")[-1]
            assert (error["status_code"], error["error_code"]) == (401, "token_expired")
            with pytest.raises(ConnectionClosed) as caught:
                socket.recv(timeout=DEADLINE_S)
            assert caught.value.rcvd
            assert caught.value.rcvd.code == 1008


def test_idle_listening_sockets_keep_no_stream_from_others(quiet_stack: Stack) -> None:
    query = "?model=ink-2&encoding=pcm_s16le&sample_rate=16000"
    with contextlib.ExitStack() as stack:
        # The worker has two streams.
        held = [
            stack.enter_context(opened(quiet_stack, f"/stt/websocket{query}"))
            for _unused in range(4)
        ]
        assert quiet_stack.worker_metric("inferno_worker_load", "listener") == 0
        answer = httpx.post(
            f"{quiet_stack.url}/stt?encoding=pcm_s16le&sample_rate=16000",
            headers={"X-API-Key": KEY},
            data={"model": "ink-2"},
            files={"file": ("silence.pcm", bytes(32000))},
            timeout=DEADLINE_S,
            trust_env=False,
        )
        assert answer.status_code == 200
        for socket in held:
            socket.send("done")
            until_type(socket, "done")


def test_a_reply_over_capacity_is_spoken_as_a_whole_or_not_at_all(stack: Stack) -> None:
    stack.start_worker(SONIC_BATCH_SIZE="1", SONIC_PACE="0.1")
    stack.wait_worker()
    ends: dict[str, str] = {}
    heard: Counter[str] = Counter()
    with opened(stack) as socket:
        for text in ("One long sentence. ", "Then a second one. ", "And a third. ", "The end. "):
            for number in range(12):
                tell(socket, message(str(number), text, more=True))
        for number in range(12):
            tell(socket, message(str(number), "", more=False))
        while len(ends) < 12:
            event = hear(socket)
            context = event["context_id"]
            if event["type"] == "chunk":
                heard[context] += len(event["data"])
            elif event["type"] in ("done", "error"):
                assert context not in ends
                ends[context] = event["type"]
    refused = {context for context, end in ends.items() if end == "error"}
    # Some had to wait for longer than they may, and the others were heard to their ends.
    assert refused
    assert len(refused) < 12
    assert refused.isdisjoint(heard)
    sizes = {heard[context] for context in ends.keys() - refused}
    assert max(sizes) < 1.1 * min(sizes)


def test_a_text_that_is_not_utf_8_is_no_traceback(quiet_stack: Stack) -> None:
    with opened(quiet_stack) as socket:
        socket.send(b"\xff\xfe", text=True)
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(timeout=DEADLINE_S)
        assert caught.value.rcvd
        assert caught.value.rcvd.code == 1007
    assert "Traceback" not in quiet_stack.log("api")


def test_text_without_end_takes_no_memory(quiet_stack: Stack) -> None:
    """One context, 60 MB of text: the socket is not read while too much of it waits."""
    process = quiet_stack.processes["api"].pid

    def resident_mib() -> float:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    # Four bytes a character, in Python as on the wire.
    text = json.dumps(
        message(transcript="\U0001f600" * 19_990 + ". ", more=True), ensure_ascii=False
    )
    sent = 0

    async def flood() -> None:
        nonlocal sent
        url = quiet_stack.url.replace("http", "ws") + "/tts/websocket"
        async with connect_async(url, additional_headers={"X-API-Key": KEY}, proxy=None) as socket:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3):
                    for _unused in range(750):
                        await socket.send(text)
                        sent += 1

    before = resident_mib()
    asyncio.run(flood())
    assert sent < 200
    assert resident_mib() - before < 24
