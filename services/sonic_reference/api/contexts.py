# SPDX-License-Identifier: Apache-2.0
"""WS /tts/websocket: many contexts on one socket, each a text that grows and its speech.

A context's text is held back until there is a sentence of it, or max_buffer_delay_ms have passed,
or the client asks for it (flush, or the last text). Each such piece is one job, so that a context
whose client still thinks takes no worker's stream.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from sonic_reference.api.dispatch import Dispatcher, NothingToSayError
from sonic_reference.api.events import Fields, Speaker, error_event
from sonic_reference.api.library import Library
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.api.schema import (
    MAX_TRANSCRIPT,
    CancelRequest,
    ContextRequest,
    parse,
)
from sonic_reference.api.sessions import SEND_TIMEOUT_S, Sessions
from sonic_reference.errors import ApiError
from sonic_reference.voices import Voices

log = logging.getLogger(__name__)

DEFAULT_DELAY_MS = 3000
# A context that nobody adds to for that long is over.
IDLE_S = 60.0
MAX_CONTEXTS = 256
# The end of a sentence: a mark with what closes it, then space or the text's end; a figure before a
# full stop at the end may go on.
STOPS = "\u3002\uff01\uff1f"  # the marks of Chinese and Japanese, which need no space after them
SENTENCE_END = re.compile(rf"[.!?\u2026{STOPS}]+[\"'\u201d\u2019)\]]*(?=\s|$)|\n+|[{STOPS}]")
UNSURE_END = re.compile(r"\d\.$")


def complete(text: str) -> int:
    """Return how much of a growing text is whole sentences, in characters."""
    ends = [found.end() for found in SENTENCE_END.finditer(text)]
    if ends and ends[-1] == len(text) and UNSURE_END.search(text):
        ends.pop()
    return ends[-1] if ends else 0


class Context:
    """One context, from its first text to its done event."""

    def __init__(self, session: Session, request: ContextRequest) -> None:
        self._session = session
        self._request = request
        self._text = ""
        self._first_at = 0.0
        self._delay: asyncio.TimerHandle | None = None
        # Text to speak with when it was asked for; a flush's number; None at the end.
        self._work: asyncio.Queue[tuple[str, float] | int | None] = asyncio.Queue()
        self._flushes = 0
        self._closed = False
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: session.forget(request.context_id, self))

    @property
    def closed(self) -> bool:
        """Whether it takes no more text."""
        return self._closed

    def add(self, request: ContextRequest) -> None:
        """Take in more text. Raises ApiError 400 when too much of it waits."""
        if len(self._text) + len(request.transcript) > MAX_TRANSCRIPT:
            message = f"More than {MAX_TRANSCRIPT} characters of this context wait to be spoken"
            raise ApiError(400, "invalid_request", "Invalid request", message)
        if request.transcript and not self._text.strip():
            self._first_at = time.monotonic()
        self._text += request.transcript
        delay_ms = self._request.max_buffer_delay_ms
        delay_ms = DEFAULT_DELAY_MS if delay_ms is None else delay_ms
        if not request.more or request.flush or delay_ms == 0:
            self._speak(len(self._text))
        else:
            self._speak(complete(self._text))
        if request.flush:
            self._flushes += 1
            self._work.put_nowait(self._flushes)
        if not request.more:
            self._closed = True
            self._work.put_nowait(None)
        elif self._text.strip() and self._delay is None:
            loop = asyncio.get_running_loop()
            self._delay = loop.call_later(delay_ms / 1000, lambda: self._speak(len(self._text)))

    async def cancel(self) -> None:
        """Stop at once; nothing more is said of it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _speak(self, size: int) -> None:
        """Send the first so many characters to be spoken."""
        if not size:
            return
        if self._delay:
            self._delay.cancel()
            self._delay = None
        ready, self._text = self._text[:size], self._text[size:]
        if ready.strip():
            self._work.put_nowait((ready, self._first_at))
            self._first_at = time.monotonic()

    async def _run(self) -> None:
        speaker = Speaker(self._session.dispatcher, self._session.metrics)
        flush_id = 1
        try:
            while True:
                match await self._next():
                    case None:
                        self._closed = True
                        return await self._tell({"type": "done", "done": True, "status_code": 200})
                    case int(number):
                        flush_id = number + 1
                        await self._tell(
                            {"type": "flush_done", "flush_done": True, "flush_id": number,
                             "done": False, "status_code": 206}
                        )  # fmt: skip
                    case text, asked:
                        async with aclosing(self._spoken(speaker, text, asked)) as events:
                            async for event in events:
                                await self._tell(event | {"flush_id": flush_id})
        except ApiError as error:
            self._closed = True
            await self._tell(self._session.error(error))
        finally:
            self._closed = True
            if self._delay:
                self._delay.cancel()

    async def _next(self) -> tuple[str, float] | int | None:
        try:
            async with asyncio.timeout(IDLE_S):
                return await self._work.get()
        except TimeoutError:
            return None

    async def _spoken(
        self, speaker: Speaker, text: str, asked: float
    ) -> AsyncGenerator[Fields, None]:
        said = self._session.library.apply(self._request.pronunciation_dict_id, text)
        job = self._request.job(self._session.request_id, self._session.voices, said)
        try:
            async with aclosing(speaker.speak(job, asked)) as events:
                async for event in events:
                    yield event
        except NothingToSayError:
            # A piece of a text may be nothing but punctuation.
            return

    async def _tell(self, event: Fields) -> None:
        await self._session.tell(event | {"context_id": self._request.context_id})


class Session:
    """One socket with its contexts."""

    def __init__(
        self,
        socket: WebSocket,
        dispatcher: Dispatcher,
        library: Library,
        metrics: ApiMetrics,
        *,
        voices: Voices,
        version: str,
        sessions: Sessions,
    ) -> None:
        self._socket = socket
        self._version = version
        self._sessions = sessions
        self._contexts: dict[str, Context] = {}
        self.dispatcher = dispatcher
        self.library = library
        self.voices = voices
        self.metrics = metrics
        self.request_id: str = socket.state.request_id

    async def serve(self) -> None:
        """Serve an accepted socket until the client leaves."""
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                context_id: str | None = None
                try:
                    fields = _fields(message.get("text"))
                    given = fields.get("context_id") if isinstance(fields, dict) else None
                    context_id = given if isinstance(given, str) else None
                    await self._take(fields)
                except ApiError as error:
                    about = {} if context_id is None else {"context_id": context_id}
                    await self.tell(self.error(error) | about)
        except (WebSocketDisconnect, TimeoutError):
            pass
        finally:
            for context in list(self._contexts.values()):
                await context.cancel()

    async def tell(self, event: Fields) -> None:
        """Send an event. Raises WebSocketDisconnect when the client has left."""
        if self._socket.application_state != WebSocketState.CONNECTED:
            raise WebSocketDisconnect(1006)
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await self._socket.send_text(json.dumps(event))

    def error(self, error: ApiError) -> Fields:
        """Return the event for an error."""
        return error_event(error, self.request_id, self._version)

    def forget(self, context_id: str, context: Context) -> None:
        """Drop a context that is over."""
        if self._contexts.get(context_id) is context:
            del self._contexts[context_id]
            self._sessions.work -= 1

    async def _take(self, fields: object) -> None:
        if isinstance(fields, dict) and fields.get("cancel"):
            request = parse(CancelRequest, fields)
            if context := self._contexts.get(request.context_id):
                await context.cancel()
                await self.tell(
                    {"type": "done", "done": True, "status_code": 200,
                     "context_id": request.context_id}
                )  # fmt: skip
            return
        wanted = parse(ContextRequest, fields)
        known = self._contexts.get(wanted.context_id)
        if known is None:
            if not wanted.transcript.strip() and not wanted.more:
                message = "transcript: transcript is empty, and no context of this id is open"
                raise ApiError(400, "invalid_request", "Invalid request", message)
            await self._sessions.admit(self._socket, "tts")
            if len(self._contexts) >= MAX_CONTEXTS:
                message = f"This socket has {MAX_CONTEXTS} contexts already"
                raise ApiError(429, "concurrency_limited", "Too many concurrent requests", message)
            self.dispatcher.roster.resolve("tts", wanted.model_id)
            await self.library.hear(wanted.pronunciation_dict_id)
            self.library.apply(wanted.pronunciation_dict_id, "")
            known = self._contexts[wanted.context_id] = Context(self, wanted)
            self._sessions.work += 1
        elif known.closed:
            message = "This context has had its last text; wait for its end or use another id"
            raise ApiError(400, "context_closed", "Context closed", message)
        known.add(wanted)


def _fields(text: str | None) -> object:
    if text is None:
        raise ApiError(
            400, "invalid_request", "Invalid request", "Messages must be text, not bytes"
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ApiError(400, "invalid_json", "Invalid JSON", "This is not valid JSON") from None
