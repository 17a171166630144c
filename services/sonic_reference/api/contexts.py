# SPDX-License-Identifier: Apache-2.0
"""WS /tts/websocket: many contexts on one socket, each a text that grows and its speech.

A context holds its text back until there is a sentence, or max_buffer_delay_ms have passed, or the
client asks for speech (flush, or the last text). Each such piece is one job: a context takes no
worker's stream while its client produces the next text. The first piece may be refused while all
workers are full. The next ones go before new contexts, and wait.

The text that waits is limited. At the limit the socket is not read until there is room again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from sonic_reference import tags
from sonic_reference.api.credentials import Permit
from sonic_reference.api.dispatch import Dispatcher, NothingToSayError
from sonic_reference.api.ended import End, EndedContexts
from sonic_reference.api.events import Fields, Speaker, done_event, error_event
from sonic_reference.api.library import Library
from sonic_reference.api.limits import FINISH_S, MESSAGE_BYTES
from sonic_reference.api.meters import Meter
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.api.schema import (
    MAX_TRANSCRIPT,
    CancelRequest,
    ContextRequest,
    parse,
)
from sonic_reference.api.sessions import POLICY, SEND_TIMEOUT_S, Sessions, stopped
from sonic_reference.errors import ApiError
from sonic_reference.sentences import complete
from sonic_reference.voices import Voices

log = logging.getLogger(__name__)

DEFAULT_DELAY_MS = 3000
# A context ends when nothing is added to it for this long.
IDLE_S = 60.0
MAX_CONTEXTS = 256


class Context:
    """One context, from its first text to its done event."""

    def __init__(self, session: Session, request: ContextRequest) -> None:
        self._session = session
        # How to speak; the text comes by add().
        self._request = request.model_copy(update={"transcript": ""})
        self._text = ""
        # Tags of spoken text that also hold for later text.
        self._tags = ""
        self._first_at = 0.0
        self._delay: asyncio.TimerHandle | None = None
        self._meter = Meter(session.limits.context_bytes, session.meter)
        # Each item is a text with its time and its bytes, a flush's number, an error that ends the
        # context, or None at the end.
        self._work: asyncio.Queue[tuple[str, float, int] | int | ApiError | None] = asyncio.Queue()
        self._flushes = 0
        self._closed = False
        # Why it ended, and whether its client still had text to send.
        self.how: End = "failed"
        self.unfinished = True
        self.task = asyncio.create_task(self._run())
        self.task.add_done_callback(lambda _: self._over())

    @property
    def closed(self) -> bool:
        """Whether it takes no more text."""
        return self._closed

    async def add(self, request: ContextRequest) -> None:
        """Take in more text as soon as there is room for it. Raises ApiError 429 without room."""
        size = len(request.transcript.encode())
        if not await self._meter.room(size + MESSAGE_BYTES, self._session.limits.text_timeout_s):
            message = "Too much text waits to be spoken; send more when you have heard some of it"
            raise ApiError(429, "text_limited", "Too much text", message)
        if self._closed:
            # It ended while this text waited, and the client knows.
            return
        self._meter.take(size)
        if len(self._text) + len(request.transcript) > MAX_TRANSCRIPT:
            self._speak(len(self._text))
        if request.transcript and not self._text.strip():
            self._first_at = time.monotonic()
        self._text += request.transcript
        delay_ms = self._request.max_buffer_delay_ms
        delay_ms = DEFAULT_DELAY_MS if delay_ms is None else delay_ms
        if not request.more or request.flush:
            self._speak(len(self._text))
        elif delay_ms == 0:
            self._speak(tags.begun(self._text))
        else:
            language = self._request.spoken_language(self._session.voices)
            self._speak(complete(self._text, language))
        if request.flush:
            self._flushes += 1
            self._meter.take(MESSAGE_BYTES)
            self._work.put_nowait(self._flushes)
        if not request.more:
            self._closed = True
            self.unfinished = False
            self._work.put_nowait(None)
        elif self._text.strip() and self._delay is None:
            loop = asyncio.get_running_loop()
            self._delay = loop.call_later(delay_ms / 1000, self._waited)

    async def cancel(self) -> None:
        """Stop at once; no more events are sent for it."""
        self.how = "cancelled"
        await stopped(self.task)

    async def fail(self, unfinished: bool) -> None:
        """Stop at once, because its client got an error about it."""
        self.unfinished = unfinished
        await stopped(self.task)

    def finish(self, error: ApiError) -> bool:
        """Take no more text; speak what is ready, then end with this error.

        Returns whether it will send the error. A context that had its last text ends with done.
        """
        if self._closed:
            return False
        self._closed = True
        self._text = ""
        self._work.put_nowait(error)
        return True

    def _over(self) -> None:
        if self._delay:
            self._delay.cancel()
        self._meter.clear()
        if not self.task.cancelled() and (error := self.task.exception()):
            log.info("request %s: a context broke off: %s", self._session.request_id, type(error))
        self._session.forget(self._request.context_id, self)

    def _waited(self) -> None:
        """Speak the text that waited for max_buffer_delay_ms, except an unfinished tag."""
        self._delay = None
        self._speak(tags.begun(self._text))

    def _speak(self, size: int) -> None:
        """Give the first ``size`` characters to be spoken."""
        if not size:
            return
        if self._delay:
            self._delay.cancel()
            self._delay = None
        text, self._text = self._text[:size], self._text[size:]
        count = len(text.encode())
        ready = self._tags + text
        self._tags = tags.in_force(ready)
        if tags.says_something(ready):
            self._meter.take(MESSAGE_BYTES)
            self._work.put_nowait((ready, self._first_at, count + MESSAGE_BYTES))
            self._first_at = time.monotonic()
        else:
            self._meter.give(count)

    async def _run(self) -> None:
        speaker = Speaker(self._session.dispatcher, self._session.metrics)
        flush_id = 1
        try:
            while True:
                match await self._next():
                    case None:
                        self._closed = True
                        self.how = "done"
                        return await self._send(done_event())
                    case int(number):
                        flush_id = number + 1
                        self._meter.give(MESSAGE_BYTES)
                        await self._send(
                            {"type": "flush_done", "flush_done": True, "flush_id": number,
                             "done": False, "status_code": 206}
                        )  # fmt: skip
                    case ApiError() as error:
                        raise error
                    case text, asked_at, count:
                        async with aclosing(self._spoken(speaker, text, asked_at)) as events:
                            async for event in events:
                                await self._send(event | {"flush_id": flush_id})
                        self._meter.give(count)
        except ApiError as error:
            self._closed = True
            await self._send(self._session.error(error))
        finally:
            self._closed = True

    async def _next(self) -> tuple[str, float, int] | int | ApiError | None:
        try:
            async with asyncio.timeout(IDLE_S):
                return await self._work.get()
        except TimeoutError:
            return None

    async def _spoken(
        self, speaker: Speaker, text: str, asked_at: float
    ) -> AsyncGenerator[Fields, None]:
        text = await self._session.library.apply(self._request.pronunciation_dict_id, text)
        job = self._request.job(self._session.request_id, self._session.voices, text)
        try:
            async with aclosing(speaker.speak(job, asked_at)) as events:
                async for event in events:
                    yield event
        except NothingToSayError:
            # A piece of a text may be nothing but punctuation.
            return

    async def _send(self, event: Fields) -> None:
        await self._session.send(event | {"context_id": self._request.context_id})


class Session:
    """One socket with its contexts, for as long as its permit holds."""

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
        permit: Permit,
    ) -> None:
        self._socket = socket
        self._version = version
        self._sessions = sessions
        self._permit = permit
        self._contexts: dict[str, Context] = {}
        self._ended = EndedContexts()
        self.limits = sessions.limits
        self.meter = sessions.meter(permit)
        self.dispatcher = dispatcher
        self.library = library
        self.voices = voices
        self.metrics = metrics
        self.request_id: str = socket.state.request_id

    async def serve(self) -> None:
        """Serve an accepted socket until the client leaves or its permit ends."""
        reading = asyncio.create_task(self._read())
        ending = asyncio.create_task(self._sessions.ended(self._permit))
        try:
            await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            else:
                await stopped(reading)
                await self._finish(ending.result())
        except (WebSocketDisconnect, TimeoutError):
            pass
        finally:
            await stopped(reading, ending)
            for context in list(self._contexts.values()):
                await context.cancel()

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if self._permit.over:
                # The session ends now, and the client gets the reason.
                continue
            context_id: str | None = None
            try:
                fields = _fields(message.get("text"))
                given = fields.get("context_id") if isinstance(fields, dict) else None
                context_id = given if isinstance(given, str) else None
                await self._take(fields)
            except ApiError as error:
                about = {} if context_id is None else {"context_id": context_id}
                await self.send(self.error(error) | about)

    async def _finish(self, error: ApiError) -> None:
        """Finish what is ready for at most FINISH_S, send the reason, and close the socket."""
        log.info("request %s: the session ends: %s", self.request_id, error.code)
        contexts = list(self._contexts.values())
        sent = sum(context.finish(error) for context in contexts) > 0
        if contexts:
            await asyncio.wait({context.task for context in contexts}, timeout=FINISH_S)
        async with asyncio.timeout(FINISH_S):
            for context_id, context in list(self._contexts.items()):
                await context.cancel()
                await self.send(self.error(error) | {"context_id": context_id})
                sent = True
            if not sent:
                await self.send(self.error(error))
            await self._socket.close(POLICY, error.code or "")

    async def send(self, event: Fields) -> None:
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
            self._ended.note(context_id, context.how, unfinished=context.unfinished)

    async def _take(self, fields: object) -> None:
        if isinstance(fields, dict) and fields.get("cancel"):
            cancel = parse(CancelRequest, fields)
            if context := self._contexts.get(cancel.context_id):
                await context.cancel()
                await self.send(done_event() | {"context_id": cancel.context_id})
            return
        request = parse(ContextRequest, fields)
        known = self._contexts.get(request.context_id)
        if known is None:
            if self._ended.late(request):
                if request.closes:
                    # LiveKit's plugin waits for it: its context may have ended before it closed it.
                    await self.send(done_event() | {"context_id": request.context_id})
                return
            known = await self._begin(request)
        elif known.closed:
            if not request.transcript.strip():
                return
            message = "This context has had its last text; wait for its end or use another id"
            raise ApiError(400, "context_closed", "Context closed", message)
        try:
            await known.add(request)
        except ApiError:
            await known.fail(bool(request.more))
            raise

    async def _begin(self, request: ContextRequest) -> Context:
        """Return a new context. Raises ApiError when it cannot begin."""
        if request.closes:
            message = "transcript: transcript is empty, and no context of this id is open"
            raise ApiError(400, "invalid_request", "Invalid request", message)
        try:
            await self._sessions.admit(self._permit)
            if len(self._contexts) >= MAX_CONTEXTS:
                message = f"This socket has {MAX_CONTEXTS} contexts already"
                raise ApiError(429, "concurrency_limited", "Too many concurrent requests", message)
        except ApiError:
            self._ended.note(request.context_id, "failed", unfinished=bool(request.more))
            raise
        self.dispatcher.roster.resolve("tts", request.model_id)
        await self.library.fetch(request.pronunciation_dict_id)
        await self.library.apply(request.pronunciation_dict_id, "")
        context = self._contexts[request.context_id] = Context(self, request)
        self._sessions.work += 1
        return context


def _fields(text: str | None) -> object:
    if text is None:
        raise ApiError(
            400, "invalid_request", "Invalid request", "Messages must be text, not bytes"
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ApiError(400, "invalid_json", "Invalid JSON", "This is not valid JSON") from None
