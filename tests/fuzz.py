# SPDX-License-Identifier: Apache-2.0
"""Input that nobody meant: made from the API's own description, and bytes on WebSockets.

The site is the reference services as processes (tests/unit/services) or the lab behind its ingress
(tests/testinfra): the fixture ``site``. SONIC_FUZZ_CASES says how many cases are tried in all.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Coroutine
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
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

CASES = int(os.environ.get("SONIC_FUZZ_CASES", "300"))
OPERATIONS = 16
DEADLINE_S = 60
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
    def test_speech_sockets(self, site: Site, sent: list[str | bytes]) -> None:
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

    @settings(fuzz, max_examples=max(1, CASES // 6))
    @given(
        sent=messages, encoding=st.sampled_from(["pcm_s16le", "pcm_f16le", "pcm_f32le", "pcm_alaw"])
    )
    def test_listening_sockets(self, site: Site, sent: list[str | bytes], encoding: str) -> None:
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
    """Return the lines of an API's log that no input may cause, or that nobody may read."""
    never = ("Traceback", "internal_error", key)
    return [line for line in log.splitlines() if any(word in line for word in never)]
