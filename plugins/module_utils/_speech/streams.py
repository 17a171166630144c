# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The streaming calls of the public API, as a client makes them: SSE, WebSocket, transcription."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .client import (
    SILENCE_RMS,
    SpeechError,
    SpeechRequest,
    connect,
    headers_of,
    host_and_port,
    plain_socket,
    post,
    rms_of,
    speech_fields,
    tls_context,
)

try:
    from websockets.asyncio.client import connect as open_websocket
    from websockets.exceptions import WebSocketException

    HAS_WEBSOCKETS = True
except ImportError:
    HAS_WEBSOCKETS = False

# Seconds by which the time of the last word may pass the end of the audio: workers round both.
SLACK_S = 0.25


@dataclass(frozen=True)
class Word:
    """A word and its times in the audio, in seconds."""

    text: str
    start: float
    end: float


@dataclass
class Streamed:
    """Speech that comes in events. audio: 16-bit PCM. ttfb_ms: to the first event with audio.

    began: when it was asked for, in seconds of the monotonic clock.
    """

    began: float = 0.0
    audio: bytes = field(default=b"", repr=False)
    words: list[Word] = field(default_factory=list)
    ttfb_ms: float = 0.0
    done: bool = False

    def take(self, event: Mapping[str, Any]) -> None:
        """Add an event of one context.

        Raises:
            SpeechError: an error event, or an event without the fields of its type.
        """
        kind = event.get("type")
        try:
            if kind == "chunk":
                if not self.audio:
                    self.ttfb_ms = round((time.monotonic() - self.began) * 1000, 1)
                self.audio += base64.b64decode(event["data"], validate=True)
            elif kind == "timestamps":
                times = event["word_timestamps"]
                self.words += map(Word, times["words"], times["start"], times["end"])
            elif kind == "error":
                reason = event.get("message") or event.get("error") or event.get("title")
                raise SpeechError(
                    f"the stream ended with an error: {reason}", int(event.get("status_code") or 0)
                )
        except (KeyError, TypeError, binascii.Error) as error:
            raise SpeechError(f"an event of type {kind} is not valid: {error!r}") from error
        self.done = kind == "done"


def validate(streamed: Streamed, sample_rate: int, min_duration_s: float) -> float:
    """Return the seconds of audio of a stream that is complete.

    Raises:
        SpeechError: no done event; audio too short or silent; no word has times; times that run
            backwards or pass the audio's end.
    """
    duration = len(streamed.audio) / 2 / sample_rate
    if not streamed.done:
        raise SpeechError("the stream ended without its done event")
    if duration < min_duration_s:
        raise SpeechError(f"{duration:.2f} s of audio came, {min_duration_s:g} s are wanted")
    if rms_of(streamed.audio) < SILENCE_RMS:
        raise SpeechError("the audio is silent: see the worker's log")
    if not streamed.words:
        raise SpeechError("no word has times, though they were asked for")
    before = 0.0
    for word in streamed.words:
        sound = all(math.isfinite(value) for value in (word.start, word.end))
        if not sound or not before - 0.001 <= word.start <= word.end <= duration + SLACK_S:
            raise SpeechError(
                f"the times of the word {word.text!r} ({word.start} to {word.end} s) do not fit"
                f" {duration:.2f} s of audio"
            )
        before = word.start
    return duration


def sse(request: SpeechRequest) -> Streamed:
    """Speak over POST /tts/sse with times of words. Raises SpeechError."""
    fields = {**speech_fields(request, "raw"), "add_timestamps": True}
    with post(request, "/tts/sse", json.dumps(fields).encode()) as answer:
        streamed = Streamed(answer.connected)
        for event in _events(answer.response):
            streamed.take(event)
            if streamed.done:
                break
        return streamed


def _events(lines: Iterable[bytes]) -> Iterator[Mapping[str, Any]]:
    """Yield the data of each event (WHATWG HTML, 9.2.6). An event's data is in one line here."""
    for line in lines:
        name, colon, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
        if colon and name == "data":
            yield _event(value)


def _event(text: str | bytes) -> Mapping[str, Any]:
    try:
        event = json.loads(text)
    except ValueError as error:
        raise SpeechError(f"an event is not JSON: {text[:80]!r}") from error
    if not isinstance(event, dict):
        raise SpeechError(f"an event is not an object: {text[:80]!r}")
    return event


def websocket(request: SpeechRequest) -> Streamed:
    """Speak over WS /tts/websocket: one context whose text comes in two messages.

    Raises:
        SpeechError: as speak does, or when the package websockets is missing.
    """
    if not HAS_WEBSOCKETS:
        raise SpeechError(
            "the Python package websockets is missing on site_client: pip install websockets"
        )
    # Diagnose name, address and certificate as for the other calls. A WebSocket needs its own.
    connect(request).close()
    try:
        # Not the client for threads: it reads and writes one TLS connection from two threads, and
        # OpenSSL's connections are not safe for that.
        return asyncio.run(_websocket(request))
    except (asyncio.TimeoutError, TimeoutError) as error:
        raise SpeechError(f"{request.url}: no event within {request.timeout_s:g} s") from error
    except (OSError, WebSocketException) as error:
        raise SpeechError(f"{request.url}: the WebSocket failed: {error}") from error


async def _websocket(request: SpeechRequest) -> Streamed:
    parts = urlsplit(request.url)
    half = len(request.transcript) // 2
    base = {
        **speech_fields(request, "raw"),
        "context_id": f"verify-{secrets.token_hex(6)}",
        "add_timestamps": True,
    }
    host, _port = host_and_port(request.url)
    async with open_websocket(
        f"wss://{parts.netloc}{parts.path.rstrip('/')}/tts/websocket",
        sock=plain_socket(request),
        ssl=tls_context(request),
        server_hostname=host,
        additional_headers=headers_of(request),
        user_agent_header=None,
        open_timeout=request.timeout_s,
        close_timeout=5,
    ) as socket:
        streamed = Streamed(time.monotonic())
        for text, more in ((request.transcript[:half], True), (request.transcript[half:], False)):
            await socket.send(json.dumps({**base, "transcript": text, "continue": more}))
        while not streamed.done:
            message = await asyncio.wait_for(socket.recv(), request.timeout_s)
            streamed.take(_event(message))
        return streamed


def transcribe(request: SpeechRequest, wav: bytes, model_id: str) -> str:
    """Return the text of a WAV recording, by POST /stt. Raises SpeechError."""
    boundary = f"verify-{secrets.token_hex(12)}"
    fields = {"model": model_id, "language": "en"}
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="speech.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    )
    body = b"".join([*parts, head.encode(), wav, f"\r\n--{boundary}--\r\n".encode()])
    with post(request, "/stt", body, f"multipart/form-data; boundary={boundary}") as answer:
        content = answer.response.read()
    text = _event(content).get("text")
    if not isinstance(text, str):
        raise SpeechError("the answer of /stt has no text", 200)
    return text
