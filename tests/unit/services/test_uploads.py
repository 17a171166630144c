# SPDX-License-Identifier: Apache-2.0
"""POST /stt when its caller's permit ends, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from sonic_reference import protocol
from sonic_reference.api import streaming
from sonic_reference.api.app import create_app
from sonic_reference.api.credentials import Permit
from sonic_reference.api.dispatch import Event
from sonic_reference.api.library import Library
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.api.settings import ApiSettings
from sonic_reference.api.site import Site
from sonic_reference.voices import Voices
from starlette.requests import HTTPConnection

from tests.unit.services.sockets import DEADLINE_S, PERMIT, Permits

SETTINGS = ApiSettings.read({"NATS_URL": "nats://n", "LICENSE_PROXY_URL": "http://p"})
QUERY = {"model": "ink-2", "encoding": "pcm_s16le", "sample_rate": "16000"}


class Callers(Permits):
    """Credentials that let each client in until the test ends the permit."""

    async def check(self, _connection: HTTPConnection, _operation: str) -> Permit:
        return PERMIT


class Ear:
    """A worker's stream that transcribes when the test lets it."""

    worker = "worker"

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self.gate = asyncio.Event()
        self.closed = False
        transcript = protocol.Transcript(text="hello", is_final=True, duration=1.0)
        self._events = [Event("transcript", transcript.model_dump_json().encode()), None]

    async def connect(self, _job: protocol.TranscriptionJob) -> Ear:
        return self

    async def audio(self, _audio: bytes) -> None:
        self.heard.set()

    async def finish(self) -> None:
        pass

    async def next(self) -> Event | None:
        await self.gate.wait()
        return self._events.pop(0)

    async def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "FINISH_S", 0.02)


def check(body: Callable[[httpx.AsyncClient, Callers, Ear], Awaitable[None]]) -> None:
    async def run() -> None:
        callers, ear = Callers(), Ear()
        anything: Any = (ear, callers)
        dispatcher, credentials = anything
        site = Site(SETTINGS, dispatcher, credentials, Library(1), Voices(), ApiMetrics())
        transport = httpx.ASGITransport(create_app(site))
        async with (
            asyncio.timeout(DEADLINE_S),
            httpx.AsyncClient(transport=transport, base_url="http://api") as client,
        ):
            await body(client, callers, ear)
        assert site.recordings.bodies.held == 0

    asyncio.run(run())


def upload() -> Any:
    return {"params": QUERY, "files": {"file": ("recording", bytes(32000))}}


def check_expired(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["error_code"]) == (401, "token_expired")
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


def test_a_transcription_ends_with_its_permit() -> None:
    async def body(client: httpx.AsyncClient, callers: Callers, ear: Ear) -> None:
        asking = asyncio.create_task(client.post("/stt", **upload()))
        await ear.heard.wait()
        callers.end.set()
        check_expired(await asking)
        assert ear.closed

    check(body)


def test_an_upload_ends_with_its_permit() -> None:
    async def body(client: httpx.AsyncClient, callers: Callers, ear: Ear) -> None:
        started = asyncio.Event()

        async def content() -> AsyncGenerator[bytes, None]:
            yield b"--x\r\n"
            started.set()
            await asyncio.Event().wait()

        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        asking = asyncio.create_task(
            client.post("/stt", params=QUERY, content=content(), headers=headers)
        )
        await started.wait()
        callers.end.set()
        check_expired(await asking)
        assert not ear.heard.is_set()

    check(body)


def test_a_transcription_that_is_nearly_done_may_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "FINISH_S", 3600)

    async def body(client: httpx.AsyncClient, callers: Callers, ear: Ear) -> None:
        asking = asyncio.create_task(client.post("/stt", **upload()))
        await ear.heard.wait()
        callers.end.set()
        await asyncio.sleep(0.01)
        ear.gate.set()
        answer = await asking
        assert (answer.status_code, answer.json()["text"]) == (200, "hello")

    check(body)
