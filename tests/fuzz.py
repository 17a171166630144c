# SPDX-License-Identifier: Apache-2.0
"""Malformed input: made from the API's own description, and bytes on WebSockets.

The site is the reference services as processes (tests/unit/services) or the lab behind its ingress
(tests/testinfra): the fixture ``site``. SONIC_FUZZ_CASES says how many cases are tried in all.

The fixture ``peak`` tells the most memory that an API process has taken: each way in must leave it
below MEMORY_LIMIT, whatever came.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any

import httpx
import numpy as np
import schemathesis
import soundfile  # type: ignore[import-untyped,unused-ignore]
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    negative_data_rejection,
    positive_data_acceptance,
)
from sonic_reference.api import openapi
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedOK

from tests.sites import Site
from tests.sounds import sound

CASES = int(os.environ.get("SONIC_FUZZ_CASES", "300"))
OPERATIONS = 16
DEADLINE_S = 60
# Bytes that an API process may have resident. Idle it takes 90 MiB; one hostile recording took 300
# or more. Each recording is small here, so that the bound of recordings is not what counts.
MEMORY_LIMIT = 192 * 1024 * 1024
fuzz = settings(
    deadline=None,
    database=None,
    derandomize=CASES <= 1000,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
schema = schemathesis.openapi.from_dict(openapi.document())

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip
likely = st.fixed_dictionaries(
    {},
    optional={
        "context_id": st.sampled_from(["a", "b"]) | anything,
        "model_id": st.sampled_from(["sonic-3", "sonic"]) | anything,
        "transcript": st.text(max_size=30) | anything,
        "voice": st.just({"id": "v"}) | anything,
        "output_format": anything
        | st.fixed_dictionaries(
            {
                "container": st.just("raw"),
                "encoding": st.sampled_from(["pcm_f32le", "pcm_s16le", "pcm_mulaw", "pcm_alaw"]),
                "sample_rate": st.integers(8000, 48000),
            }
        ),
        "language": st.sampled_from(["en", "de", "xx"]) | anything,
        "continue": st.booleans() | anything,
        "flush": st.booleans() | anything,
        "cancel": st.booleans() | anything,
        "add_timestamps": st.booleans(),
        "max_buffer_delay_ms": st.integers(-1, 5001) | anything,
    },
)
messages = st.lists(
    st.binary(max_size=200) | st.text(max_size=200) | (likely | anything).map(json.dumps),
    min_size=1,
    max_size=6,
)

KINDS = (("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "libmp3lame"), ("ipod", "aac"),
         ("webm", "libopus"), ("ogg", "libopus"))  # fmt: skip


@cache
def seed(kind: tuple[str, str]) -> bytes:
    """A small recording that can be read."""
    return sound(*kind, seconds=1)


@st.composite
def recordings(draw: st.DrawFn) -> bytes:
    """A recording in which something was changed, cut off or put in."""
    content = bytearray(seed(draw(st.sampled_from(KINDS))))
    for _unused in range(draw(st.integers(0, 4))):
        # Headers, which need the most care, are at the beginning.
        at = draw(st.integers(0, 200) | st.integers(0, len(content)))
        new = draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 4, bytes(4)]))
        content[at : at + len(new) * draw(st.integers(0, 1))] = new
    return bytes(content[: draw(st.none() | st.integers(0, len(content)))])


def flac_that_says(rate: int, channels: int) -> bytes:
    """A FLAC file of ten seconds of silence, at a rate (Hz) that no recorder has: 56 KB."""
    held = io.BytesIO()
    with soundfile.SoundFile(
        held, "w", samplerate=rate, channels=channels, format="FLAC", subtype="PCM_16"
    ) as file:
        for _second in range(10):
            file.write(np.zeros((rate, channels), "int16"))
    return held.getvalue()


def wav_that_says(rate: int, frames: int) -> bytes:
    """A WAV file of 8-bit silence."""
    held = io.BytesIO()
    soundfile.write(held, np.zeros(frames), rate, format="WAV", subtype="PCM_U8")
    return held.getvalue()


# Texts that are alike for long, inside each other, or of characters that are rarely thought of.
texts = st.text(min_size=1, max_size=20) | st.builds(
    lambda one, size, tail: (one * size + tail)[:200],
    st.sampled_from([".", "a", "\u0301", "北", "\U0001f1e6", "<", "ア", " "]),
    st.integers(1, 200),
    st.text(max_size=3),
)
items = st.fixed_dictionaries(
    {"text": texts, "alias": texts | st.just("")},
    optional={"case_sensitive": st.booleans()},
)

LAST = {
    "context_id": "the last",
    "model_id": "sonic-3",
    "transcript": "Yes.",
    "voice": {"id": "v"},
    "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 8000},
}


class FuzzTests:
    """Each way in, with what a program or a person may get wrong."""

    @schema.parametrize()
    @settings(fuzz, max_examples=max(1, CASES * 2 // 3 // OPERATIONS))
    def test_requests(self, case: schemathesis.Case[Any], site: Site) -> None:
        answer = case.call(base_url=site.url, headers={"X-API-Key": site.key}, timeout=DEADLINE_S)
        assert answer.status_code < 500, answer.text
        # Answers and errors are as described. Who may ask, and rules between fields, which a schema
        # cannot say, are tested elsewhere.
        case.validate_response(
            answer,
            excluded_checks=[ignored_auth, positive_data_acceptance, negative_data_rejection],
        )

    @settings(fuzz, max_examples=max(1, CASES // 6))
    @given(sent=messages)
    def test_speech_sockets(
        self, site: Site, sent: list[str | bytes], peak: Callable[[], int]
    ) -> None:
        async def body() -> None:
            url = site.url.replace("http", "ws") + "/tts/websocket"
            async with opened(url, site.key) as socket:
                for message in sent:
                    await socket.send(message)
                # Whatever came before, the socket still serves.
                await socket.send(json.dumps(LAST))
                while True:
                    event = json.loads(await socket.recv())
                    assert event.get("status_code", 200) < 500, event
                    if event.get("context_id") == "the last" and event["done"]:
                        assert event["type"] == "done", event
                        break

        run(body())
        assert peak() < MEMORY_LIMIT

    @settings(fuzz, max_examples=max(1, CASES // 6))
    @given(
        sent=messages, encoding=st.sampled_from(["pcm_s16le", "pcm_f16le", "pcm_f32le", "pcm_alaw"])
    )
    def test_listening_sockets(
        self, site: Site, sent: list[str | bytes], encoding: str, peak: Callable[[], int]
    ) -> None:
        async def body() -> None:
            url = site.url.replace("http", "ws")
            url += f"/stt/websocket?model=ink-2&encoding={encoding}&sample_rate=16000"
            async with opened(url, site.key) as socket:
                # The first command that makes no sense ends it.
                with contextlib.suppress(ConnectionClosedOK):
                    for message in [*sent, "close"]:
                        await socket.send(message)
                # The server says how it ended and closes: the client is not left waiting.
                events: list[dict[str, Any]] = []
                with contextlib.suppress(ConnectionClosedOK):
                    while True:
                        events.append(json.loads(await socket.recv()))
                assert events[-1]["type"] in ("done", "error")
                assert events[-1].get("status_code", 200) < 500

        run(body())
        assert peak() < MEMORY_LIMIT

    @settings(fuzz, max_examples=max(1, CASES // 6))
    @given(content=recordings() | st.binary(max_size=2000))
    @example(content=flac_that_says(655_350, 8))
    @example(content=wav_that_says(1, 1200))
    def test_uploads(self, site: Site, content: bytes, peak: Callable[[], int]) -> None:
        answer = ask(site, "/stt?model=ink-2", files={"file": ("recording", content)})
        assert answer.status_code in (200, 400), answer.text
        assert peak() < MEMORY_LIMIT

    @settings(fuzz, max_examples=max(1, CASES // 12))
    @given(
        entries=st.lists(items, max_size=30),
        times=st.integers(1, 30),
        text=st.lists(texts, min_size=1, max_size=30).map(" ".join),
    )
    @example(
        entries=[{"text": "." * 196 + f"{number:04}", "alias": "x"} for number in range(1000)],
        times=1,
        text="." * 3000,
    )
    @example(entries=[{"text": "a", "alias": "b" * 400}], times=1, text="a " * 9000)
    def test_dictionaries(
        self, site: Site, entries: list[Any], times: int, text: str, peak: Callable[[], int]
    ) -> None:
        body = {"name": "fuzz", "items": (entries * times)[:1000]}
        made = ask(site, "/pronunciation-dicts", json=body)
        assert made.status_code == 200, made.text
        name = made.json()["id"]
        try:
            wanted = LAST | {"transcript": text[:20_000], "pronunciation_dict_id": name}
            answer = ask(site, "/tts/bytes", json=wanted)
            assert answer.status_code in (200, 400, 413), answer.text
        finally:
            gone = ask(site, f"/pronunciation-dicts/{name}", method="DELETE")
            assert gone.status_code == 204
        assert peak() < MEMORY_LIMIT


def ask(site: Site, path: str, method: str = "POST", **more: Any) -> httpx.Response:
    """Send one request with the site's key."""
    return httpx.request(
        method, site.url + path, headers={"X-API-Key": site.key}, timeout=DEADLINE_S, **more
    )


def opened(url: str, key: str) -> connect:
    """A WebSocket. Not the client with threads: two of them in one TLS connection have crashed."""
    return connect(url, additional_headers={"X-API-Key": key}, proxy=None)


def run(body: Coroutine[Any, Any, None]) -> None:
    """Run one case. Raises TimeoutError when it hangs."""

    async def timed() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await body

    asyncio.run(timed())


def complaints(log: str, key: str) -> list[str]:
    """Return the lines of an API's log that no input may cause, or that show secrets."""
    never = ("Traceback", "internal_error", key)
    return [line for line in log.splitlines() if any(word in line for word in never)]


def resident_peak(status: str) -> int:
    """Return the most memory (bytes) that a process has had resident, of its /proc/PID/status."""
    matches = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return max(int(size) for size in matches) * 1024
