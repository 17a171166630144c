# SPDX-License-Identifier: Apache-2.0
"""Sessions of WS /tts/websocket, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sonic_reference.api import contexts
from sonic_reference.api.contexts import Session
from sonic_reference.api.library import Library
from sonic_reference.api.limits import Limits
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.api.sessions import Sessions
from sonic_reference.errors import ApiError
from sonic_reference.voices import Voices

from tests.unit.services.sockets import (
    DEADLINE_S,
    PERMIT,
    Permits,
    Socket,
    Workers,
    sessions_of,
    settle,
    until,
)

FULL = ApiError(429, "concurrency_limited", "Too many concurrent requests", "All workers are busy")
SMALL = Limits(context_bytes=2000, socket_bytes=4000, key_bytes=5000, text_timeout_s=0.05)


def message(text: str, *, more: bool = True, context: str = "one", **fields: Any) -> dict[str, Any]:
    return {
        "context_id": context,
        "model_id": "sonic-3",
        "transcript": text,
        "voice": {"mode": "id", "id": "v"},
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 8000},
        "continue": more,
    } | fields


class Room:
    """An API pod's sockets."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.permits = Permits()
        self.workers = Workers()
        self.sessions: Sessions = sessions_of(self.permits, limits)

    def opened(self) -> tuple[Socket, asyncio.Task[None]]:
        """A socket with its session."""
        socket, workers = Socket(), self.workers
        anything: Any = socket
        dispatcher: Any = workers
        session = self.last = Session(
            anything, dispatcher, Library(1), ApiMetrics(),
            voices=Voices(), version="2026-03-01", sessions=self.sessions, permit=PERMIT,
        )  # fmt: skip
        return socket, asyncio.create_task(session.serve())


def check(body: Callable[[Room], Awaitable[None]], limits: Limits | None = None) -> None:
    async def run() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await body(Room(limits))

    asyncio.run(run())


def test_an_ended_permit_ends_the_session() -> None:
    async def body(room: Room) -> None:
        socket, serving = room.opened()
        socket.tell(message("One. "))
        await socket.hear("chunk")
        room.permits.end.set()
        error = await socket.hear("error")
        assert (error["status_code"], error["error_code"]) == (401, "token_expired")
        assert error["context_id"] == "one"
        await serving
        assert socket.closed == 1008
        assert room.workers.texts == ["One."]
        assert room.sessions.work == 0

    check(body)


def test_an_idle_session_ends_with_its_permit_too() -> None:
    async def body(room: Room) -> None:
        socket, serving = room.opened()
        await asyncio.sleep(0)
        room.permits.end.set()
        await serving
        assert [event["error_code"] for event in socket.events] == ["token_expired"]
        assert socket.closed == 1008

    check(body)


def test_no_text_is_spoken_after_the_end() -> None:
    async def body(room: Room) -> None:
        room.workers.gate.clear()
        socket, serving = room.opened()
        socket.tell(message("One. And half"))
        await until(lambda: room.workers.texts == ["One."])
        room.permits.end.set()
        await settle()
        socket.tell(message("Still here. "))
        socket.tell(message("Still here. ", context="two"))
        room.workers.gate.set()
        await serving
        assert room.workers.texts == ["One."]
        # What was being spoken is heard to its end.
        assert [event["type"] for event in socket.events] == ["chunk", "error"]

    check(body)


def test_what_is_spoken_at_the_end_is_cut_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "FINISH_S", 0.02)

    async def body(room: Room) -> None:
        room.workers.gate.clear()
        socket, serving = room.opened()
        socket.tell(message("A reply that goes on and on.", more=False))
        await until(lambda: bool(room.workers.texts))
        room.permits.end.set()
        await serving
        assert [event["error_code"] for event in socket.events] == ["token_expired"]
        assert socket.closed == 1008

    check(body)


def test_text_is_not_read_without_room_for_it() -> None:
    async def body(room: Room) -> None:
        room.workers.gate.clear()
        socket, serving = room.opened()
        for _unused in range(20):
            socket.tell(message("x" * 280 + ". "))
        await until(lambda: socket.unread < 16)
        await settle()
        assert socket.unread > 10
        assert not socket.events
        # Every piece that is spoken makes room for another.
        room.workers.gate.set()
        await until(lambda: len(room.workers.texts) == 20)
        socket.tell(message("", more=False))
        await socket.hear("done")
        socket.leave()
        await serving

    check(body, Limits(context_bytes=2000, text_timeout_s=15))


def test_without_room_for_long_the_context_ends() -> None:
    async def body(room: Room) -> None:
        room.workers.gate.clear()
        socket, serving = room.opened()
        for _unused in range(8):
            socket.tell(message("x" * 280 + ". "))
        error = await socket.hear("error")
        assert (error["status_code"], error["error_code"]) == (429, "text_limited")
        assert error["context_id"] == "one"
        await until(lambda: socket.unread == 0)
        # The rest of it is passed over, and the socket serves on.
        assert not socket.events
        room.workers.gate.set()
        socket.tell(message("Another.", context="two", more=False))
        assert (await socket.hear("done"))["context_id"] == "two"
        socket.leave()
        await serving

    check(body, SMALL)


def test_a_socket_and_a_key_have_bounds_of_their_own() -> None:
    async def body(room: Room) -> None:
        room.workers.gate.clear()
        one, serving_one = room.opened()
        for number in range(3):
            one.tell(message("x" * 1500 + ". ", context=str(number)))
        error = await one.hear("error")
        assert (error["error_code"], error["context_id"]) == ("text_limited", "2")
        two, serving_two = room.opened()
        for number in range(2):
            two.tell(message("x" * 1500 + ". ", context=str(number)))
        assert (await two.hear("error"))["context_id"] == "1"
        one.leave()
        await serving_one
        # What the first socket held is free again.
        two.tell(message("x" * 1500 + ". ", context="3"))
        await until(lambda: sum(len(text) > 1500 for text in room.workers.texts) == 4)
        two.leave()
        await serving_two

    check(body, SMALL)


def test_messages_without_text_are_bounded_too() -> None:
    async def body(room: Room) -> None:
        room.workers.gate.clear()
        socket, serving = room.opened()
        socket.tell(message("One. "))
        await until(lambda: bool(room.workers.texts))
        for _unused in range(100):
            socket.tell(message("", flush=True))
        assert (await socket.hear("error"))["error_code"] == "text_limited"
        socket.leave()
        await serving

    check(body, SMALL)


def test_a_context_keeps_no_text_that_is_spoken() -> None:
    async def body(room: Room) -> None:
        socket, serving = room.opened()
        for number in range(5):
            socket.tell(message("x" * 1500 + ". ", context=str(number)))
            await socket.hear("chunk")
        await settle()
        assert len(room.last._contexts) == 5
        for context in room.last._contexts.values():
            assert "x" * 1500 not in repr(vars(context))
            # The space after the sentence.
            assert context._meter.used == 1
        socket.leave()
        await serving

    check(body)


def test_a_text_without_a_sentence_is_spoken_in_parts() -> None:
    async def body(room: Room) -> None:
        socket, serving = room.opened()
        for _unused in range(3):
            socket.tell(message("word " * 2500))
        socket.tell(message("", more=False))
        await socket.hear("done")
        assert sum(map(len, room.workers.texts)) == 37500
        assert max(map(len, room.workers.texts)) <= 20000
        socket.leave()
        await serving

    check(body)


def test_a_reply_that_has_begun_is_not_refused() -> None:
    """The first sentence may be; the others tell the dispatcher that their reply has begun."""

    async def body(room: Room) -> None:
        socket, serving = room.opened()
        for text in ("One. ", "Two. ", "Three. "):
            socket.tell(message(text))
        socket.tell(message("", more=False))
        await socket.hear("done")
        assert room.workers.begun == ["", "sonic-reference", "sonic-reference"]
        socket.leave()
        await serving

    check(body)


def test_a_refused_reply_is_refused_as_a_whole() -> None:
    async def body(room: Room) -> None:
        room.workers.refusals = [FULL]
        socket, serving = room.opened()
        socket.tell(message("One. "))
        assert (await socket.hear("error"))["error_code"] == "concurrency_limited"
        for text in ("Two. ", "Three. "):
            socket.tell(message(text))
        socket.tell(message("Four.", more=False))
        socket.tell(message("Another reply.", more=False))
        await socket.hear("done")
        assert room.workers.texts == ["Another reply."]
        socket.leave()
        await serving

    check(body)


# Messages that say a context gets no more text, as LiveKit and Pipecat send them.
CLOSINGS = [
    message("", more=False),
    message(" ", more=False),
    message("", more=False, flush=True),
]
FLUSHES = [message("", more=True), message("", more=True, flush=True)]


async def interrupt(room: Room) -> tuple[Socket, asyncio.Task[None]]:
    """A socket whose context "one" was cancelled while it was spoken."""
    room.workers.gate.clear()
    socket, serving = room.opened()
    socket.tell(message("A long sentence that is interrupted. "))
    await until(lambda: bool(room.workers.texts))
    socket.tell({"context_id": "one", "cancel": True})
    await socket.hear("done")
    room.workers.gate.set()
    return socket, serving


@pytest.mark.parametrize(
    "late",
    [*FLUSHES, message("and so on, ", more=True), {"context_id": "one", "cancel": True}],
)
def test_late_messages_after_a_cancel_are_ignored(late: dict[str, Any]) -> None:
    async def body(room: Room) -> None:
        socket, serving = await interrupt(room)
        socket.tell(late)
        socket.tell(message("The same name once more.", more=False))
        await socket.hear("done")
        assert [event["type"] for event in socket.events] == []
        assert room.workers.texts[1:] == ["The same name once more."]
        socket.leave()
        await serving

    check(body)


@pytest.mark.parametrize("late", CLOSINGS)
def test_a_late_closing_after_a_cancel_gets_one_done(late: dict[str, Any]) -> None:
    async def body(room: Room) -> None:
        socket, serving = await interrupt(room)
        socket.tell(late)
        done = {"type": "done", "done": True, "status_code": 200, "context_id": "one"}
        assert await socket.hear("done", "chunk", "error") == done
        await settle()
        assert socket.events == []
        socket.tell(message("The same name once more.", more=False))
        await until(lambda: len(socket.events) == 2)
        assert [event["type"] for event in socket.events] == ["chunk", "done"]
        assert room.workers.texts[1:] == ["The same name once more."]
        socket.leave()
        await serving

    check(body)


@pytest.mark.parametrize("late", FLUSHES)
def test_late_messages_after_the_end_are_ignored(late: dict[str, Any]) -> None:
    async def body(room: Room) -> None:
        socket, serving = room.opened()
        socket.tell(message("One.", more=False))
        # The first while the context has had its last text, the second after its end.
        socket.tell(late)
        await socket.hear("done")
        socket.tell(late)
        socket.tell(message("Again.", more=False))
        await until(lambda: len(room.workers.texts) == 2)
        await socket.hear("done")
        socket.leave()
        await serving
        assert socket.events == []

    check(body)


@pytest.mark.parametrize("late", CLOSINGS)
def test_a_late_closing_after_the_end_gets_one_done(late: dict[str, Any]) -> None:
    async def body(room: Room) -> None:
        socket, serving = room.opened()
        room.workers.gate.clear()
        socket.tell(message("One.", more=False))
        await until(lambda: bool(room.workers.texts))
        # It is still spoken: its own done is the answer.
        socket.tell(late)
        await settle()
        assert socket.events == []
        room.workers.gate.set()
        await socket.hear("done")
        socket.tell(late)
        assert (await socket.hear("done", "error"))["type"] == "done"
        socket.tell(message("Again.", more=False))
        await until(lambda: len(socket.events) == 2)
        assert [event["type"] for event in socket.events] == ["chunk", "done"]
        socket.leave()
        await serving

    check(body)


def test_a_late_closing_after_a_refusal_gets_one_done() -> None:
    async def body(room: Room) -> None:
        room.workers.refusals = [FULL]
        socket, serving = room.opened()
        socket.tell(message("One. "))
        await socket.hear("error")
        socket.tell(message("Two. "))
        socket.tell(message("", more=False))
        await socket.hear("done")
        await settle()
        assert socket.events == []
        assert room.workers.texts == []
        socket.leave()
        await serving

    check(body)
