# SPDX-License-Identifier: Apache-2.0
"""Streams over a real TLS connection: server-sent events, WebSocket messages, a recording."""

from __future__ import annotations

import base64
import dataclasses
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._speech import streams
from ansible_collections.baremetal.sonic.plugins.module_utils._speech.client import (
    SpeechError,
    SpeechRequest,
)
from websockets.sync.server import ServerConnection, serve

from tests.unit.plugins.module_utils._speech.ingress import HOST, Site, reply, wav

Fields = dict[str, Any]
PCM = wav(1.0)[44:]
CHUNK: Fields = {"type": "chunk", "data": base64.b64encode(PCM).decode()}
TIMES: Fields = {
    "type": "timestamps",
    "word_timestamps": {"words": ["one", "two"], "start": [0.0, 0.5], "end": [0.5, 1.0]},
}
DONE: Fields = {"type": "done", "done": True}
GOOD = [CHUNK, TIMES, DONE]


def sse(*events: Fields) -> bytes:
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events
    )


def test_events_over_http(site: Site, request_: SpeechRequest) -> None:
    site.answer = reply(200, sse(*GOOD))
    heard = streams.sse(request_)
    assert streams.validate(heard, 24000, 0.5) == pytest.approx(1.0)
    assert [word.text for word in heard.words] == ["one", "two"]
    path, headers, sent = site.seen[0]
    assert (path, headers["X-API-Key"]) == ("/tts/sse", "sk_1")
    assert sent["add_timestamps"] is True
    assert sent["output_format"]["container"] == "raw"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"data: {\n\n", "is not JSON"),
        (b"data: [1]\n\n", "is not an object"),
        (sse({"type": "chunk"}), "an event of type chunk is not valid"),
        (sse({"type": "chunk", "data": "%"}), "an event of type chunk is not valid"),
        (sse({"type": "timestamps"}), "an event of type timestamps is not valid"),
        (sse(CHUNK, {"type": "error", "message": "worker lost"}), "an error: worker lost"),
    ],
)
def test_events_that_are_wrong(
    site: Site, request_: SpeechRequest, body: bytes, reason: str
) -> None:
    site.answer = reply(200, body)
    with pytest.raises(SpeechError, match=reason):
        streams.sse(request_)


def _times(**given: list[float] | list[str]) -> Fields:
    return {"type": "timestamps", "word_timestamps": {**TIMES["word_timestamps"], **given}}


SILENT = {"type": "chunk", "data": base64.b64encode(bytes(len(PCM))).decode()}


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([CHUNK, TIMES], "without its done event"),
        ([TIMES, DONE], "0.00 s of audio came, 0.5 s are wanted"),
        ([SILENT, TIMES, DONE], "the audio is silent"),
        ([CHUNK, DONE], "no word has times"),
        ([CHUNK, _times(start=[0.5, 0.0]), DONE], "the times of the word 'two'"),
        ([CHUNK, _times(end=[0.5, 9.0]), DONE], "do not fit 1.00 s of audio"),
        ([CHUNK, _times(end=[0.5, float("nan")]), DONE], "the times of the word 'two'"),
        ([CHUNK, _times(start=[0.0, 0.9], end=[0.5, 0.8]), DONE], "the times of the word 'two'"),
    ],
)
def test_a_stream_that_is_wrong(events: list[Fields], reason: str) -> None:
    heard = streams.Streamed(time.monotonic())
    for event in events:
        heard.take(event)
    with pytest.raises(SpeechError, match=reason):
        streams.validate(heard, 24000, 0.5)


Talk = Callable[[ServerConnection], None]


@pytest.fixture
def talking(pair: tuple[Path, Path], request_: SpeechRequest) -> Iterator[Callable[[Talk], Any]]:
    """Starts a WebSocket server that behaves as a test says; returns a request to it."""
    servers = []

    def start(talk: Talk) -> SpeechRequest:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        server = serve(talk, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.socket.getsockname()[1]
        return dataclasses.replace(request_, url=f"https://{HOST}:{port}", timeout_s=2)

    yield start
    for server in servers:
        server.shutdown()


def test_a_context_over_a_websocket(talking: Callable[[Talk], SpeechRequest]) -> None:
    seen: list[Any] = []

    def talk(socket: ServerConnection) -> None:
        assert socket.request
        seen.append((socket.request.path, socket.request.headers["X-API-Key"]))
        for _piece in range(2):
            seen.append(json.loads(socket.recv()))
        for event in GOOD:
            socket.send(json.dumps(event))
        # Until the client leaves.
        socket.recv()

    heard = streams.websocket(talking(talk))
    assert streams.validate(heard, 24000, 0.5) == pytest.approx(1.0)
    (path, key), first, last = seen
    assert (path, key) == ("/tts/websocket", "sk_1")
    assert first["transcript"] + last["transcript"] == "Hello."
    assert (first["continue"], last["continue"]) == (True, False)
    assert first["context_id"] == last["context_id"]


def test_a_websocket_that_says_nothing(talking: Callable[[Talk], SpeechRequest]) -> None:
    request = talking(lambda socket: time.sleep(4))
    with pytest.raises(SpeechError, match=r"no event within 0\.5 s"):
        streams.websocket(dataclasses.replace(request, timeout_s=0.5))


def test_a_websocket_that_is_closed(talking: Callable[[Talk], SpeechRequest]) -> None:
    with pytest.raises(SpeechError, match="the WebSocket failed"):
        streams.websocket(talking(lambda socket: socket.close(1011, "bye")))


def test_no_websocket_at_all(site: Site, request_: SpeechRequest) -> None:
    with pytest.raises(SpeechError, match="the WebSocket failed"):
        streams.websocket(request_)


def test_without_the_library(request_: SpeechRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HAS_WEBSOCKETS", False)
    with pytest.raises(SpeechError, match="pip install websockets"):
        streams.websocket(request_)


def test_a_recording(site: Site, request_: SpeechRequest) -> None:
    site.answer = reply(200, b'{"text": "one two"}')
    recording = wav(0.2)
    assert streams.transcribe(request_, recording, "ink-whisper") == "one two"
    assert site.seen[0][0] == "/stt"
    assert site.seen[0][1]["Content-Type"].startswith("multipart/form-data; boundary=verify-")
    body = site.bodies[0]
    assert b'name="model"\r\n\r\nink-whisper\r\n' in body
    assert recording in body


@pytest.mark.parametrize("answer", [b"{}", b'{"text": 3}'])
def test_a_recording_without_text(site: Site, request_: SpeechRequest, answer: bytes) -> None:
    site.answer = reply(200, answer)
    with pytest.raises(SpeechError, match="the answer of /stt has no text"):
        streams.transcribe(request_, b"RIFF", "m")
