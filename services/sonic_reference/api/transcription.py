# SPDX-License-Identifier: Apache-2.0
"""Speech to text: POST /stt, WS /stt/websocket and WS /stt/turns/websocket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from sonic_reference import protocol
from sonic_reference.api.dispatch import Dispatcher, Stream, WorkerLostError, lost
from sonic_reference.api.events import Fields, error_event
from sonic_reference.api.sessions import SEND_TIMEOUT_S
from sonic_reference.errors import ApiError
from sonic_reference.protocol import TranscriptionJob


def _words(words: list[tuple[str, float, float]]) -> list[Fields]:
    return [{"word": text, "start": start, "end": end} for text, start, end in words]


async def transcribe(dispatcher: Dispatcher, job: TranscriptionJob, audio: bytes) -> Fields:
    """Return the transcript of a whole recording; a worker that is lost is replaced once."""
    for _attempt in (1, 2):
        stream = await dispatcher.connect(job)
        sending = asyncio.create_task(_send_all(stream, audio))
        text: list[str] = []
        words: list[Fields] = []
        try:
            while event := await stream.next():
                if event.kind == "transcript":
                    said = protocol.Transcript.model_validate_json(event.content)
                    if said.is_final:
                        text.append(said.text)
                        words += _words(said.words)
            return {"type": "transcript", "text": " ".join(text), "words": words}
        except WorkerLostError:
            dispatcher.roster.forget(stream.worker)
        finally:
            sending.cancel()
            await asyncio.shield(stream.close())
    raise lost("The worker was lost while it listened")


async def _send_all(stream: Stream, audio: bytes) -> None:
    await stream.audio(audio)
    await stream.finish()


class Manual:
    """What WS /stt/websocket says: transcripts, each the text since the last final one."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._said_something = False

    def hello(self) -> list[Fields]:
        """Return what is said first."""
        return []

    def transcript(self, said: protocol.Transcript) -> list[Fields]:
        """Return what is said of a transcript."""
        # Final texts are joined as they are, so the space between two belongs to the second.
        text = f" {said.text}" if self._said_something else said.text
        self._said_something |= said.is_final
        return [
            {"type": "transcript", "is_final": said.is_final, "text": text,
             "duration": said.duration, "language": self._language, "words": _words(said.words)}
        ]  # fmt: skip

    def flushed(self) -> list[Fields]:
        """Return what is said after a finalize."""
        return [{"type": "flush_done"}]

    def goodbye(self) -> list[Fields]:
        """Return what is said last."""
        return [{"type": "done"}]


class Turns:
    """What WS /stt/turns/websocket says: turns, which end where the speaker pauses."""

    def __init__(self) -> None:
        self._speaking = False

    def hello(self) -> list[Fields]:
        """Return what is said first."""
        return [{"type": "connected"}]

    def transcript(self, said: protocol.Transcript) -> list[Fields]:
        """Return what is said of a transcript."""
        start = [] if self._speaking else [{"type": "turn.start"}]
        self._speaking = not said.is_final
        kind = "turn.end" if said.is_final else "turn.update"
        return [*start, {"type": kind, "transcript": said.text}]

    def flushed(self) -> list[Fields]:
        """Return what is said after a finalize."""
        return []

    def goodbye(self) -> list[Fields]:
        """Return what is said last."""
        return []


class Listening:
    """One accepted socket that is listened to."""

    def __init__(self, socket: WebSocket, shape: Manual | Turns, version: str) -> None:
        self._socket = socket
        self._shape = shape
        self._version = version
        self._request_id: str = socket.state.request_id

    async def serve(self, stream: Stream) -> None:
        """Serve until the client is done or has left, then close the socket."""
        answering = asyncio.create_task(self._answer(stream))
        hearing = asyncio.create_task(self._hear(stream))
        try:
            await asyncio.wait({answering, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done() and not answering.done() and hearing.result():
                await answering
            if answering.done():
                answering.result()
                await self._close()
        except ApiError as error:
            await self._tell(error_event(error, self._request_id, self._version))
            await self._close()
        except (WebSocketDisconnect, TimeoutError):
            pass
        finally:
            answering.cancel()
            hearing.cancel()
            await asyncio.shield(stream.close())

    async def _hear(self, stream: Stream) -> bool:
        """Pass on what the client sends; returns False when it has left."""
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return False
            if audio := message.get("bytes"):
                await stream.audio(audio)
                continue
            match _command(message.get("text") or ""):
                case "finalize":
                    await stream.finalize()
                case "close" | "done":
                    await stream.finish()
                    return True
                case "config":
                    pass
                case other:
                    problem = f"{other[:40]!r} is no command: finalize, close or done"
                    raise ApiError(400, "invalid_request", "Invalid request", problem)

    async def _answer(self, stream: Stream) -> None:
        for fields in self._shape.hello():
            await self._tell(fields)
        try:
            while event := await stream.next():
                if event.kind == "transcript":
                    said = protocol.Transcript.model_validate_json(event.content)
                    for fields in self._shape.transcript(said):
                        await self._tell(fields)
                elif event.kind == "flush_done":
                    for fields in self._shape.flushed():
                        await self._tell(fields)
        except WorkerLostError as error:
            raise lost(f"The worker was lost while it listened: {error}") from None
        for fields in self._shape.goodbye():
            await self._tell(fields)

    async def _tell(self, fields: Fields) -> None:
        if self._socket.application_state != WebSocketState.CONNECTED:
            raise WebSocketDisconnect(1006)
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await self._socket.send_text(json.dumps(fields | {"request_id": self._request_id}))

    async def _close(self) -> None:
        if self._socket.application_state == WebSocketState.CONNECTED:
            await self._socket.close(1000)


def _command(text: str) -> str:
    """Return a command's name: the bare word, or the type of a JSON object."""
    try:
        fields: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()
    kind = fields.get("type") if isinstance(fields, dict) else fields
    return kind if isinstance(kind, str) else text.strip()
