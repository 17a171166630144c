# SPDX-License-Identifier: Apache-2.0
"""WS /stt/websocket and WS /stt/turns/websocket: text of audio while it comes.

A socket takes a worker's stream when audio comes, and gives it back when none came for a while, so
that a muted caller does not keep a stream from others.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, Literal

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from sonic_reference import protocol
from sonic_reference.api.credentials import Permit
from sonic_reference.api.dispatch import Dispatcher, Stream, WorkerLostError, lost
from sonic_reference.api.events import Fields, error_event
from sonic_reference.api.limits import FINISH_S
from sonic_reference.api.sessions import NORMAL, POLICY, SEND_TIMEOUT_S, Sessions, stopped
from sonic_reference.api.transcription import Manual, Turns
from sonic_reference.errors import ApiError
from sonic_reference.protocol import TranscriptionJob

log = logging.getLogger(__name__)

# Most finalize commands that wait; at this number the socket is not read.
MAX_FINALIZES = 16

# How the client's side ends: it left, it sent close, or it was idle for long.
Farewell = Literal["left", "closed", "idle"]


class Stretch:
    """A worker's stream, from the first audio to the transcript of the last."""

    def __init__(self, stream: Stream, offset_s: float) -> None:
        self.stream = stream
        # Seconds of audio of the socket that came before this stream's.
        self.offset_s = offset_s
        self.finalizes = asyncio.Semaphore(MAX_FINALIZES)
        self.finished = False
        self.task: asyncio.Task[None] | None = None


class Listening:
    """One accepted socket that is listened to, for as long as its permit holds."""

    def __init__(
        self,
        socket: WebSocket,
        shape: Manual | Turns,
        job: TranscriptionJob,
        *,
        dispatcher: Dispatcher,
        sessions: Sessions,
        permit: Permit,
        version: str,
    ) -> None:
        self._socket = socket
        self._shape = shape
        self._job = job
        self._dispatcher = dispatcher
        self._sessions = sessions
        self._permit = permit
        self._version = version
        self._stretch: Stretch | None = None
        self._heard_s = 0.0
        self._broken: asyncio.Future[ApiError | Exception] = (
            asyncio.get_running_loop().create_future()
        )

    async def serve(self) -> None:
        """Serve until the client is done, has left or is idle for long; then close the socket."""
        reading = asyncio.create_task(self._read())
        ending = asyncio.create_task(self._sessions.ended(self._permit))
        try:
            for fields in self._shape.hello():
                await self._send(fields)
            await _any(reading, ending, self._broken)
            if not reading.done():
                await stopped(reading)
                await self._break_off(ending)
            elif reading.result() != "left":
                await self._say_goodbye(ending)
        except ApiError as error:
            await self._refuse(error, NORMAL)
        except (WebSocketDisconnect, TimeoutError):
            pass
        finally:
            await stopped(reading, ending)
            if self._stretch and self._stretch.task:
                await stopped(self._stretch.task)
            self._broken.cancel()

    async def _say_goodbye(self, ending: asyncio.Task[ApiError]) -> None:
        """Send the last transcripts and the end, and close the socket."""
        if answering := await self._finish():
            await _any(answering, self._broken, ending)
        if self._broken.done() or ending.done():
            await self._break_off(ending)
            return
        for fields in self._shape.goodbye():
            await self._send(fields)
        await self._close(NORMAL)

    async def _break_off(self, ending: asyncio.Task[ApiError]) -> None:
        """End a session whose worker or permit ended. Raises ApiError, WebSocketDisconnect."""
        if self._broken.done():
            raise self._broken.result()
        error = ending.result()
        log.info("request %s: the session ends: %s", self._job.request_id, error.code)
        if answering := await self._finish():
            await asyncio.wait({answering}, timeout=FINISH_S)
        await self._refuse(error, POLICY)

    async def _refuse(self, error: ApiError, code: int) -> None:
        """Send an error and close the socket; a client that does not read it has left."""
        try:
            async with asyncio.timeout(FINISH_S):
                await self._send(error_event(error, self._job.request_id, self._version))
                await self._close(code)
        except (WebSocketDisconnect, TimeoutError):
            pass

    # What the client sends

    async def _read(self) -> Farewell:
        """Pass on what the client sends, until it ends."""
        while True:
            message = await self._next()
            if message is None:
                return "idle"
            if message["type"] == "websocket.disconnect":
                return "left"
            if self._permit.over:
                # The session ends now, and the client gets the reason.
                continue
            if audio := message.get("bytes"):
                stretch = await self._listen()
                await stretch.stream.audio(audio)
                continue
            match _command(message.get("text") or ""):
                case "finalize":
                    await self._finalize()
                case "close" | "done":
                    return "closed"
                case "config":
                    pass
                case other:
                    problem = f"{other[:40]!r} is no command: finalize, close or done"
                    raise ApiError(400, "invalid_request", "Invalid request", problem)

    async def _next(self) -> Any:
        """Return the next message, None after the idle limit; give the stream back before that."""
        limits = self._sessions.limits
        release_s = min(limits.stt_release_s, limits.stt_idle_s)
        for pause_s in (release_s, limits.stt_idle_s - release_s):
            try:
                async with asyncio.timeout(pause_s):
                    return await self._socket.receive()
            except TimeoutError:
                await self._finish()
        return None

    async def _listen(self) -> Stretch:
        """Return the stream for audio. Raises ApiError when none is free."""
        if self._stretch and not self._stretch.finished:
            return self._stretch
        await self._settled()
        await self._sessions.admit(self._permit)
        stream = await self._dispatcher.connect(self._job)
        self._sessions.work += 1
        stretch = self._stretch = Stretch(stream, self._heard_s)
        stretch.task = asyncio.create_task(self._answer(stretch))
        stretch.task.add_done_callback(self._note)
        return stretch

    async def _finalize(self) -> None:
        if self._stretch and not self._stretch.finished:
            await self._stretch.finalizes.acquire()
            await self._stretch.stream.finalize()
            return
        # Nothing waits for a transcript.
        await self._settled()
        for fields in self._shape.flushed():
            await self._send(fields)

    async def _finish(self) -> asyncio.Task[None] | None:
        """Send no more audio on the stream; returns the task that has its last transcripts."""
        stretch = self._stretch
        if stretch is None or stretch.task is None:
            return None
        if not stretch.finished:
            stretch.finished = True
            await stretch.stream.finish()
        return None if stretch.task.done() else stretch.task

    async def _settled(self) -> None:
        """Wait for the last transcripts of a stream that gets no more audio."""
        if self._stretch and self._stretch.task:
            await asyncio.wait({self._stretch.task})

    # What the worker sends

    async def _answer(self, stretch: Stretch) -> None:
        try:
            while event := await stretch.stream.next():
                if event.kind == "transcript":
                    transcript = protocol.Transcript.model_validate_json(event.content)
                    for fields in self._shape.transcript(_moved(transcript, stretch.offset_s)):
                        await self._send(fields)
                elif event.kind == "flush_done":
                    stretch.finalizes.release()
                    for fields in self._shape.flushed():
                        await self._send(fields)
        except WorkerLostError as error:
            raise lost(f"The worker was lost while it listened: {error}") from None
        finally:
            self._heard_s = stretch.offset_s + stretch.stream.sent / stretch.stream.second_bytes
            self._sessions.work -= 1
            await asyncio.shield(stretch.stream.close())

    def _note(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) and not self._broken.done():
            self._broken.set_result(error if isinstance(error, Exception) else Exception())

    async def _send(self, fields: Fields) -> None:
        if self._socket.application_state != WebSocketState.CONNECTED:
            raise WebSocketDisconnect(1006)
        async with asyncio.timeout(SEND_TIMEOUT_S):
            fields = fields | {"request_id": self._job.request_id}
            await self._socket.send_text(json.dumps(fields))

    async def _close(self, code: int) -> None:
        if self._socket.application_state == WebSocketState.CONNECTED:
            await self._socket.close(code)


async def _any(*futures: asyncio.Future[Any]) -> None:
    """Wait for the first of these to be done."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _moved(transcript: protocol.Transcript, seconds: float) -> protocol.Transcript:
    """Return a transcript with its words' times moved by so many seconds."""
    if not seconds:
        return transcript
    words = [
        (text, round(start + seconds, 3), round(end + seconds, 3))
        for text, start, end in transcript.words
    ]
    return transcript.model_copy(update={"words": words})


def _command(text: str) -> str:
    """Return a command's name: the bare word, or the type of a JSON object."""
    try:
        fields: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()
    kind = fields.get("type") if isinstance(fields, dict) else fields
    return kind if isinstance(kind, str) else text.strip()
