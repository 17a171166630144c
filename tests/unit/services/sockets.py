# SPDX-License-Identifier: Apache-2.0
"""A WebSocket and a dispatcher inside the test's own process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from sonic_reference import protocol
from sonic_reference.api.credentials import Permit
from sonic_reference.api.dispatch import Event
from sonic_reference.api.limits import Limits
from sonic_reference.api.sessions import Sessions
from sonic_reference.errors import ApiError
from starlette.websockets import WebSocketState

PERMIT = Permit("tts", "sk_client", b"holder", "client")
EXPIRED = ApiError(401, "token_expired", "Unauthorized", "The access token has expired")
# Only failures take that long.
DEADLINE_S = 30.0


class Socket:
    """The server's end of an accepted WebSocket; the test is its client."""

    def __init__(self) -> None:
        self.state = SimpleNamespace(request_id="request")
        self.application_state = WebSocketState.CONNECTED
        self.events: list[dict[str, Any]] = []
        self.closed: int | None = None
        self._news = asyncio.Event()
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    @property
    def unread(self) -> int:
        """How many messages the server has not read."""
        return self._inbox.qsize()

    def tell(self, fields: dict[str, Any] | str | bytes) -> None:
        """Send a message to the server."""
        if isinstance(fields, bytes):
            self._inbox.put_nowait({"type": "websocket.receive", "bytes": fields})
            return
        text = fields if isinstance(fields, str) else json.dumps(fields)
        self._inbox.put_nowait({"type": "websocket.receive", "text": text})

    def leave(self) -> None:
        """Close the client's end."""
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def receive(self) -> dict[str, Any]:
        """Return the next message, for the server."""
        return await self._inbox.get()

    async def send_text(self, text: str) -> None:
        """Take an event from the server."""
        self.events.append(json.loads(text))
        self._news.set()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Take the server's close."""
        self.application_state = WebSocketState.DISCONNECTED
        self.closed = code
        self._news.set()

    async def hear(self, *types: str) -> dict[str, Any]:
        """Wait for the next event of these types that was not heard before, and forget up to it."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for number, event in enumerate(self.events):
                    if event["type"] in types:
                        del self.events[: number + 1]
                        return event
                self._news.clear()
                await self._news.wait()


class Spoken:
    """One job of a worker: some audio, when the test lets it go."""

    offering = "tts/sonic-reference"
    worker = "worker"

    def __init__(self, gate: asyncio.Event) -> None:
        self._gate = gate
        self._left = 1

    async def next(self) -> Event | None:
        """Return the audio, then the end."""
        await self._gate.wait()
        if not self._left:
            return None
        self._left -= 1
        return Event("audio", bytes(320))

    async def close(self) -> None:
        """Forget the job."""


class Workers:
    """A dispatcher whose workers speak when the test lets them."""

    def __init__(self) -> None:
        self.roster = SimpleNamespace(resolve=lambda _operation, model: model)
        self.gate = asyncio.Event()
        self.gate.set()
        self.texts: list[str] = []
        self.begun: list[str] = []
        # Raised for the next jobs, one each.
        self.refusals: list[ApiError] = []

    async def open(self, job: protocol.SpeechJob, *, begun: str = "") -> tuple[Spoken, list[Event]]:
        """Take a job."""
        if self.refusals:
            raise self.refusals.pop(0)
        self.texts.append(job.transcript)
        self.begun.append(begun)
        return Spoken(self.gate), []


class Permits:
    """Credentials whose permit ends when the test says so."""

    def __init__(self) -> None:
        self.end = asyncio.Event()

    async def confirm(self, _permit: Permit) -> None:
        """Raise the end's error after it."""
        if self.end.is_set():
            raise EXPIRED

    async def ended(self, _permit: Permit) -> ApiError:
        """Wait for the end."""
        await self.end.wait()
        return EXPIRED


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; the test's deadline bounds it."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def settle() -> None:
    """Let all that can go on without new input do so."""
    for _unused in range(50):
        await asyncio.sleep(0)


def sessions_of(permits: Any, limits: Limits | None = None) -> Sessions:
    """What the sockets of a pod share."""
    return Sessions(permits, limits or Limits())
