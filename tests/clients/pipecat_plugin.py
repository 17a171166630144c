# SPDX-License-Identifier: Apache-2.0
"""Pipecat's Cartesia services against a site: python -m tests.clients.pipecat_plugin SCENARIO."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pipecat.frames import frames
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.services.cartesia.stt import CartesiaSTTService
from pipecat.services.cartesia.tts import CartesiaTTSService
from pipecat.services.cartesia.turns.stt import CartesiaTurnsSTTService
from pipecat.workers.runner import WorkerRunner
from websockets.asyncio.client import ClientConnection

from tests.clients.reaching import (
    KEY,
    LONG,
    PIECES,
    RATE,
    SOUND_RATE,
    TEXT,
    URL,
    VOICE,
    encoded,
    main,
    sound_parts,
)

SOCKETS = URL.replace("http", "ws", 1)


class Running:
    """A pipeline of one service: what came out of it, and what the site sent."""

    def __init__(self, worker: PipelineWorker) -> None:
        self._worker = worker
        self._changed = asyncio.Condition()
        self.frames: list[Any] = []
        self.errors: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self.sent: list[dict[str, Any]] = []

    async def take(self, frame: Any) -> None:
        """Keep a frame that came out at either end."""
        async with self._changed:
            (self.errors if isinstance(frame, frames.ErrorFrame) else self.frames).append(
                str(frame.error) if isinstance(frame, frames.ErrorFrame) else frame
            )
            self._changed.notify_all()

    async def message(self, text: str) -> None:
        """Keep a message of the site."""
        async with self._changed:
            self.messages.append(json.loads(text))
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, looked at when something came."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.errors or condition())

    async def push(self, *many: Any) -> None:
        """Put frames into the pipeline."""
        for frame in many:
            await self._worker.queue_frame(frame)

    def of(self, kind: Any, context: str | None = None) -> list[Any]:
        """Return the frames of a kind, of one context where it is named."""
        return [
            frame
            for frame in self.frames
            if isinstance(frame, kind) and context in (None, getattr(frame, "context_id", None))
        ]


@asynccontextmanager
async def running(service: Any) -> AsyncIterator[Running]:
    """Run a pipeline of one service, and end it in order."""
    worker = PipelineWorker(
        Pipeline([service]),
        params=PipelineParams(audio_in_sample_rate=SOUND_RATE, audio_out_sample_rate=RATE),
        cancel_on_idle_timeout=False,
    )
    it, started = Running(worker), asyncio.Event()
    receive, send = ClientConnection.recv, ClientConnection.send

    async def tapped(connection: ClientConnection, *rest: Any, **more: Any) -> Any:
        message = await receive(connection, *rest, **more)
        if isinstance(message, str):
            await it.message(message)
        return message

    async def sends(connection: ClientConnection, message: Any, *rest: Any, **more: Any) -> None:
        if isinstance(message, str) and message.startswith("{"):
            it.sent.append(json.loads(message))
        await send(connection, message, *rest, **more)

    async def take(_worker: Any, frame: Any) -> None:
        await it.take(frame)

    async def on_start(_worker: Any, _frame: Any) -> None:
        started.set()

    worker.set_reached_downstream_filter((frames.Frame,))
    worker.set_reached_upstream_filter((frames.ErrorFrame,))
    worker.add_event_handler("on_frame_reached_downstream", take)
    worker.add_event_handler("on_frame_reached_upstream", take)
    worker.add_event_handler("on_pipeline_started", on_start)
    ClientConnection.recv = tapped  # type: ignore[assignment, method-assign]
    ClientConnection.send = sends  # type: ignore[assignment, method-assign]
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    run = asyncio.create_task(runner.run())
    try:
        await started.wait()
        yield it
        await worker.queue_frame(frames.EndFrame())
        await run
    finally:
        run.cancel()
        ClientConnection.recv = receive  # type: ignore[method-assign]
        ClientConnection.send = send  # type: ignore[method-assign]


def mouth() -> Any:
    """Return the speech service, with the site in place of the public one."""
    return CartesiaTTSService(
        api_key=KEY,
        url=f"{SOCKETS}/tts/websocket",
        settings=CartesiaTTSService.Settings(voice=VOICE),
    )


def response(*pieces: str) -> list[Any]:
    """Return what a language model's answer looks like in a pipeline."""
    texts = [frames.LLMTextFrame(piece) for piece in pieces]
    return [frames.LLMFullResponseStartFrame(), *texts, frames.LLMFullResponseEndFrame()]


async def reply(it: Running, *pieces: str) -> dict[str, Any]:
    """Speak one response, and return all of it."""
    before = len(it.of(frames.TTSStoppedFrame))
    await it.push(*response(*pieces))
    await it.until(lambda: len(it.of(frames.TTSStoppedFrame)) > before)
    context = it.of(frames.TTSStoppedFrame)[-1].context_id
    words = it.of(frames.TTSTextFrame, context)
    return {
        "audio": encoded(
            b"".join(frame.audio for frame in it.of(frames.TTSAudioRawFrame, context))
        ),
        "rate": it.of(frames.TTSAudioRawFrame, context)[0].sample_rate,
        "words": [frame.text for frame in words],
        "starts": [frame.pts / 1e9 for frame in words],
        "context": context,
    }


async def speaks() -> dict[str, Any]:
    """Return several responses, one after the other; the first has two sentences in one context."""
    async with running(mouth()) as it:
        replies = [await reply(it, *PIECES), await reply(it, TEXT)]
    return {"replies": replies, "errors": it.errors, "kinds": list(kinds(it).values())}


def kinds(it: Running) -> dict[str, list[str]]:
    """Return the kinds of the site's messages, by their context."""
    by_context: dict[str, list[str]] = {}
    for message in it.messages:
        by_context.setdefault(message.get("context_id") or "", []).append(message["type"])
    return by_context


async def interrupts() -> dict[str, Any]:
    """Interrupt a response while it is spoken; a flush and an end of it cross the cancel."""
    service = mouth()
    async with running(service) as it:
        await it.push(*response(LONG)[:-1])
        await it.until(lambda: bool(it.of(frames.TTSAudioRawFrame)))
        context = it.of(frames.TTSAudioRawFrame)[0].context_id
        await it.push(frames.InterruptionFrame())
        await it.until(lambda: bool(it.of(frames.InterruptionFrame)))
        await service.flush_audio(context)
        await it.push(frames.LLMFullResponseEndFrame())
        after = await reply(it, TEXT)
    return {
        "cut": kinds(it)[context],
        "sent": [message for message in it.sent if message["context_id"] == context],
        "reply": after,
        "of_reply": kinds(it)[after["context"]],
        "errors": it.errors,
    }


async def hear(service: Any, stopped: bool) -> dict[str, Any]:
    """Return what is heard of the recording, which one second of silence follows."""
    async with running(service) as it:
        parts = [*sound_parts(), *[bytes(3200)] * 10]
        await it.push(*(frames.InputAudioRawFrame(part, SOUND_RATE, 1) for part in parts))
        if stopped:
            await it.push(frames.VADUserStoppedSpeakingFrame())
        await it.until(lambda: bool(it.of(frames.TranscriptionFrame)))
    texts = [frame.text for frame in it.of(frames.TranscriptionFrame)]
    return {
        "text": " ".join(texts),
        "kinds": [message["type"] for message in it.messages],
        "errors": it.errors,
    }


async def turns() -> dict[str, Any]:
    """Return what the service hears that leaves turns to the site."""
    service = CartesiaTurnsSTTService(api_key=KEY, url=f"{SOCKETS}/stt/turns/websocket")
    return await hear(service, stopped=False)


async def finalizes() -> dict[str, Any]:
    """Return what the older service hears, where the client says when to transcribe."""
    return await hear(CartesiaSTTService(api_key=KEY, base_url=SOCKETS), stopped=True)


if __name__ == "__main__":
    main({run.__name__: run for run in (speaks, interrupts, turns, finalizes)})
