# SPDX-License-Identifier: Apache-2.0
"""HTTP answers whose caller's permit ends while they grow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from sonic_reference.api import streaming
from sonic_reference.api.streaming import GrowingResponse
from sonic_reference.errors import ApiError

from tests.unit.services.sockets import DEADLINE_S, EXPIRED, Permits


class Answer:
    """One answer that says a part and then goes on for ever."""

    def __init__(self, *, says_errors: bool) -> None:
        self.permits = Permits()
        self.sent: list[dict[str, Any]] = []
        self.cleaned = False
        self.first = asyncio.Event()
        self.gone = asyncio.create_task(asyncio.Event().wait())
        farewell = (lambda error: str(error.code).encode()) if says_errors else None
        permit: Any = None
        gone: Any = self.gone
        self.response = GrowingResponse(
            self._parts(), "text/event-stream", gone=gone, close=self._close,
            ended=self.permits.ended(permit), farewell=farewell,
        )  # fmt: skip

    async def _parts(self) -> AsyncGenerator[bytes, None]:
        yield b"part"
        self.first.set()
        await asyncio.Event().wait()

    async def _close(self) -> None:
        self.cleaned = True

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def run(self) -> None:
        """Serve it, and end its permit after the first part."""
        scope: Any = {"type": "http", "state": {"request_id": "request"}}
        receive: Any = None
        serving = asyncio.create_task(self.response(scope, receive, self.send))
        await self.first.wait()
        self.permits.end.set()
        async with asyncio.timeout(DEADLINE_S):
            await serving
        assert self.cleaned
        assert "left" not in scope["state"]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "FINISH_S", 0.02)


def bodies(answer: Answer) -> list[bytes]:
    return [message["body"] for message in answer.sent if message["type"] == "http.response.body"]


def test_events_end_with_the_error_of_the_permit() -> None:
    async def body() -> None:
        answer = Answer(says_errors=True)
        await answer.run()
        assert bodies(answer) == [b"part", b"token_expired"]
        assert not answer.sent[-1].get("more_body", False)

    asyncio.run(body())


def test_audio_is_cut_without_the_end_that_http_asks_for() -> None:
    async def body() -> None:
        answer = Answer(says_errors=False)
        await answer.run()
        assert bodies(answer) == [b"part"]
        assert answer.sent[-1]["more_body"]

    asyncio.run(body())


def test_what_is_nearly_done_may_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "FINISH_S", 3600)

    async def body() -> None:
        async def parts() -> AsyncGenerator[bytes, None]:
            yield b"part"
            yield b"the rest"

        async def ended() -> ApiError:
            return EXPIRED

        async def close() -> None:
            return

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)
            await asyncio.sleep(0)

        gone: Any = asyncio.create_task(asyncio.Event().wait())
        response = GrowingResponse(parts(), "audio/wav", gone=gone, close=close, ended=ended())
        receive: Any = None
        await response({"type": "http", "state": {"request_id": "r"}}, receive, send)
        assert [message.get("body") for message in sent] == [None, b"part", b"the rest", b""]

    asyncio.run(body())
