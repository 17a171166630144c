# SPDX-License-Identifier: Apache-2.0
"""Sessions of the listening sockets, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sonic_reference.api import listening
from sonic_reference.api.dispatch import Event, WorkerLostError
from sonic_reference.api.limits import Limits
from sonic_reference.api.listening import MAX_FINALIZES, Listening
from sonic_reference.api.sessions import Sessions
from sonic_reference.api.transcription import Manual, Turns
from sonic_reference.errors import ApiError
from sonic_reference.protocol import Transcript, TranscriptionJob

from tests.unit.services.sockets import (
    DEADLINE_S,
    PERMIT,
    Permits,
    Socket,
    sessions_of,
    settle,
    until,
)

JOB = TranscriptionJob(
    request_id="request", model_id="ink-2", encoding="pcm_s16le", sample_rate=8000
)
SECOND = bytes(16000)
# No time passes by itself; what is idle is so at once.
# Shorter and longer than the settings may be.
HASTY = Limits.model_construct(stt_release_s=0.01, stt_idle_s=0.05)
PATIENT = Limits.model_construct(stt_release_s=3600, stt_idle_s=7200)


class Ear:
    """One job of a worker: each piece of audio is a word."""

    worker = "listener"
    second_bytes = 16000

    def __init__(self) -> None:
        self.sent = 0
        self.finished = False
        self.closed = False
        self.finalizes = 0
        self.deaf = False
        self._events: asyncio.Queue[Event | Exception | None] = asyncio.Queue()

    async def audio(self, audio: bytes) -> None:
        self.sent += len(audio)
        end_s = self.sent / self.second_bytes
        actual = Transcript(
            text="word", is_final=True, duration=1.0, words=[("word", end_s - 1, end_s)]
        )
        self._events.put_nowait(Event("transcript", actual.model_dump_json().encode()))

    async def finalize(self) -> None:
        self.finalizes += 1
        if not self.deaf:
            self.flushed()

    def flushed(self) -> None:
        self._events.put_nowait(Event("flush_done", b""))

    async def finish(self) -> None:
        assert not self.finished
        self.finished = True
        if not self.deaf:
            self._events.put_nowait(None)

    def lose(self) -> None:
        self._events.put_nowait(WorkerLostError("silent"))

    async def next(self) -> Event | None:
        event = await self._events.get()
        if isinstance(event, Exception):
            raise event
        return event

    async def close(self) -> None:
        self.closed = True


class Listeners:
    """A dispatcher whose workers hear."""

    def __init__(self) -> None:
        self.ears: list[Ear] = []
        self.refusals: list[ApiError] = []

    async def connect(self, _job: TranscriptionJob) -> Ear:
        if self.refusals:
            raise self.refusals.pop(0)
        self.ears.append(Ear())
        return self.ears[-1]


class Room:
    """One listening socket."""

    def __init__(self, limits: Limits, shape: Manual | Turns) -> None:
        self.permits = Permits()
        self.workers = Listeners()
        self.sessions: Sessions = sessions_of(self.permits, limits)
        self.socket = Socket()
        socket: Any = self.socket
        dispatcher: Any = self.workers
        self.serving = asyncio.create_task(
            Listening(
                socket, shape, JOB,
                dispatcher=dispatcher, sessions=self.sessions, permit=PERMIT, version="2026-03-01",
            ).serve()
        )  # fmt: skip


def check(
    body: Callable[[Room], Awaitable[None]],
    limits: Limits = PATIENT,
    shape: Callable[[], Manual | Turns] = lambda: Manual("en"),
) -> None:
    async def run() -> None:
        async with asyncio.timeout(DEADLINE_S):
            room = Room(limits, shape())
            await body(room)
            await room.serving
            assert room.sessions.work == 0
            assert all(ear.closed for ear in room.workers.ears)

    asyncio.run(run())


def test_a_stream_is_taken_when_audio_comes() -> None:
    async def body(room: Room) -> None:
        room.socket.tell("finalize")
        await room.socket.hear("flush_done")
        assert not room.workers.ears
        room.socket.tell(SECOND)
        await room.socket.hear("transcript")
        assert (len(room.workers.ears), room.sessions.work) == (1, 1)
        room.socket.tell("done")
        await room.socket.hear("done")
        await room.serving
        assert room.socket.closed == 1000

    check(body)


def test_a_socket_that_never_spoke_is_closed_in_order() -> None:
    async def body(room: Room) -> None:
        await room.serving
        assert [event["type"] for event in room.socket.events] == ["connected"]
        assert room.socket.closed == 1000
        assert not room.workers.ears

    check(body, HASTY, Turns)


def test_an_idle_stream_is_given_back_and_taken_again() -> None:
    async def body(room: Room) -> None:
        room.socket.tell(SECOND)
        await until(lambda: bool(room.workers.ears) and room.workers.ears[0].closed)
        assert room.sessions.work == 0
        assert room.socket.closed is None
        room.socket.tell(SECOND)
        first = await room.socket.hear("transcript")
        second = await room.socket.hear("transcript")
        assert first["words"] == [{"word": "word", "start": 0, "end": 1}]
        # Times count from the socket's first audio, and texts join as if it were one stream.
        assert second["words"] == [{"word": "word", "start": 1, "end": 2}]
        assert (first["text"], second["text"]) == ("word", " word")
        room.socket.tell("close")
        assert (await room.socket.hear("done"))["type"] == "done"

    check(body, Limits.model_construct(stt_release_s=0.01, stt_idle_s=3600))


def test_a_socket_that_falls_silent_is_closed_after_its_last_transcript() -> None:
    async def body(room: Room) -> None:
        room.socket.tell(SECOND)
        await room.serving
        assert [event["type"] for event in room.socket.events] == ["transcript", "done"]
        assert room.socket.closed == 1000

    check(body, HASTY)


def test_full_workers_are_an_error() -> None:
    async def body(room: Room) -> None:
        room.workers.refusals = [ApiError(429, "concurrency_limited", "Too many", "Busy")]
        room.socket.tell(SECOND)
        error = await room.socket.hear("error")
        assert (error["status_code"], error["error_code"]) == (429, "concurrency_limited")
        await room.serving
        assert room.socket.closed == 1000

    check(body)


def test_an_ended_permit_ends_the_session() -> None:
    async def body(room: Room) -> None:
        room.socket.tell(SECOND)
        await room.socket.hear("transcript")
        room.permits.end.set()
        await settle()
        room.socket.tell(SECOND)
        error = await room.socket.hear("error")
        assert (error["status_code"], error["error_code"]) == (401, "token_expired")
        await room.serving
        assert room.socket.closed == 1008
        assert [ear.sent for ear in room.workers.ears] == [len(SECOND)]

    check(body)


def test_a_worker_that_hangs_does_not_prolong_an_ended_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "FINISH_S", 0.02)

    async def body(room: Room) -> None:
        room.socket.tell(SECOND)
        await room.socket.hear("transcript")
        room.workers.ears[0].deaf = True
        room.permits.end.set()
        await room.serving
        assert room.socket.closed == 1008

    check(body)


def test_an_idle_session_ends_with_its_permit() -> None:
    async def body(room: Room) -> None:
        await settle()
        room.permits.end.set()
        await room.serving
        assert [event["type"] for event in room.socket.events] == ["error"]
        assert room.socket.closed == 1008

    check(body)


def test_a_lost_worker_is_an_error() -> None:
    async def body(room: Room) -> None:
        room.socket.tell(SECOND)
        await room.socket.hear("transcript")
        room.workers.ears[0].lose()
        assert (await room.socket.hear("error"))["error_code"] == "worker_lost"
        await room.serving
        assert room.socket.closed == 1000

    check(body)


def test_wishes_to_finalize_are_bounded() -> None:
    async def body(room: Room) -> None:
        room.socket.tell(SECOND)
        await room.socket.hear("transcript")
        ear = room.workers.ears[0]
        ear.deaf = True
        for _unused in range(10 * MAX_FINALIZES):
            room.socket.tell("finalize")
        await settle()
        assert ear.finalizes == MAX_FINALIZES
        assert room.socket.unread > 8 * MAX_FINALIZES
        ear.flushed()
        await until(lambda: ear.finalizes == MAX_FINALIZES + 1)
        room.permits.end.set()
        ear._events.put_nowait(None)
        await room.serving

    check(body)


def test_a_client_that_leaves_frees_its_stream() -> None:
    async def body(room: Room) -> None:
        room.socket.tell(SECOND)
        await room.socket.hear("transcript")
        room.socket.leave()
        await room.serving
        assert not room.socket.events

    check(body)
