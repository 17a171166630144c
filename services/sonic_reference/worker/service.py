# SPDX-License-Identifier: Apache-2.0
"""Take jobs from NATS while streams are free, speak them, and stream the audio to who asked."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from pydantic import ValidationError

from sonic_reference import protocol
from sonic_reference.audio import Encoder
from sonic_reference.errors import ApiError
from sonic_reference.worker.engine import Engine, EngineError, Utterance
from sonic_reference.worker.metrics import WorkerMetrics

log = logging.getLogger(__name__)

# The server confirms at once; it may also have gone in this moment.
DOOR_TIMEOUT_S = 2.0


@dataclass
class Running:
    """A job in progress, as the worker sees it."""

    reply: str
    request_id: str
    task: asyncio.Task[None] | None = None
    sent: int = 0
    credited: int = 0
    credit: asyncio.Event = field(default_factory=asyncio.Event)
    last_sent: float = field(default_factory=time.monotonic)
    last_heard: float = field(default_factory=time.monotonic)
    ending: str = "done"


class Worker:
    """One worker of one offering: up to ``capacity`` streams at a time.

    ``pace`` is the least number of seconds that a second of audio takes: 0 speaks as fast as the
    engine can, 0.3 behaves like a GPU that is well loaded.
    """

    def __init__(
        self,
        client: Client,
        engine: Engine,
        metrics: WorkerMetrics,
        *,
        worker_id: str,
        operation: str,
        model: str,
        capacity: int,
        pace: float = 0.0,
    ) -> None:
        self._client = client
        self._engine = engine
        self._metrics = metrics
        self._id = worker_id
        self._operation = operation
        self._model = model
        self._capacity = capacity
        self._pace = pace
        self._running: dict[str, Running] = {}
        self._door: Subscription | None = None
        self._door_changes = asyncio.Lock()
        self._draining = False
        self._chores: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether jobs can come."""
        return not self._draining and self._door is not None and self._client.is_connected

    async def start(self) -> None:
        """Take jobs from now on."""
        control = f"{protocol.CONTROL}.{protocol.token(self._id)}.*.*"
        await self._client.subscribe(control, cb=self._on_control)
        await self._client.subscribe(protocol.ROLL_CALL, cb=self._on_roll_call)
        await self._adjust_door()
        await self._client.flush()
        self._metrics.capacity.set(self._capacity)
        self._chore(self._announce_forever())
        self._chore(self._beat_forever())

    async def drain(self, timeout_s: float) -> None:
        """Take no more jobs, and finish those in progress; after the timeout they get an error."""
        self._draining = True
        self._metrics.capacity.set(0)
        await self._adjust_door()
        await self._announce()
        tasks = {job.task for job in self._running.values() if job.task}
        if tasks:
            log.info("draining: %d streams in progress", len(tasks))
            _unused, late = await asyncio.wait(tasks, timeout=timeout_s)
            for job in list(self._running.values()):
                self._end(job, "failed")
            if late:
                await asyncio.wait(late)
        for chore in list(self._chores):
            chore.cancel()

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    # Jobs

    async def _on_job(self, message: Msg) -> None:
        if not message.reply:
            return
        if self._draining or len(self._running) >= self._capacity:
            # It was on its way when this worker became full.
            self._metrics.jobs.labels("refused").inc()
            await self._client.publish(f"{message.reply}.busy")
            return
        taken = time.monotonic()
        await self._client.publish(
            f"{message.reply}.accepted",
            protocol.Accepted(worker=self._id).model_dump_json().encode(),
        )
        try:
            job = protocol.SpeechJob.model_validate_json(message.data)
        except ValidationError:
            error = ApiError(400, "invalid_job", "Invalid job", "A worker could not read the job")
            await self._client.publish(f"{message.reply}.error", error.encode())
            return
        running = Running(message.reply, job.request_id)
        self._running[message.reply.rsplit(".", 1)[1]] = running
        self._metrics.load.set(len(self._running))
        running.task = asyncio.create_task(self._serve(job, running, taken))
        if len(self._running) >= self._capacity:
            self._chore(self._adjust_door())

    async def _serve(self, job: protocol.SpeechJob, running: Running, taken: float) -> None:
        """Speak one job to its end, whatever that is, and free its stream."""
        error: ApiError | None = None
        try:
            await self._speak(job, running, taken)
        except asyncio.CancelledError:
            if running.ending == "failed":
                error = ApiError(
                    503, "worker_stopped", "Service unavailable", "The worker was stopped"
                )
        except EngineError as failure:
            running.ending = "failed"
            status, code = (
                (400, "invalid_request") if failure.bad_request else (500, "engine_failed")
            )
            error = ApiError(status, code, "Speech failed", str(failure))
        except NatsError as failure:
            running.ending = "failed"
            log.error("request %s: cannot send audio: %s", running.request_id, failure)
        finally:
            self._running.pop(running.reply.rsplit(".", 1)[1], None)
            self._metrics.load.set(len(self._running))
            self._metrics.jobs.labels(running.ending).inc()
            if not self._draining:
                self._chore(self._adjust_door())
        if error:
            with contextlib.suppress(NatsError):
                await self._client.publish(f"{running.reply}.error", error.encode())
        log.info(
            "request %s %s: %d bytes in %.3f s",
            running.request_id, running.ending, running.sent, time.monotonic() - taken,
        )  # fmt: skip

    async def _speak(self, job: protocol.SpeechJob, running: Running, taken: float) -> None:
        encoder = Encoder(job.output_format, self._engine.sample_rate, job.volume)
        utterance = Utterance(job.transcript, job.voice_id, job.language, job.speed, job.emotion)
        seconds = 0.0
        async with contextlib.aclosing(self._engine.synthesize(utterance)) as blocks:
            async for block in blocks:
                seconds += len(block) / 2 / self._engine.sample_rate
                audio = encoder.feed(block)
                if audio and not running.sent:
                    self._metrics.ttfa.observe(time.monotonic() - taken)
                await self._send(running, audio)
                ahead = taken + seconds * self._pace - time.monotonic()
                if ahead > 0:
                    await asyncio.sleep(ahead)
        await self._send(running, encoder.finish())
        if seconds:
            self._metrics.rtf.observe((time.monotonic() - taken) / seconds)
        end = protocol.Finished(sent=running.sent).model_dump_json().encode()
        await self._client.publish(f"{running.reply}.end", end)

    async def _send(self, running: Running, audio: bytes) -> None:
        """Send audio as far as the asking side keeps up."""
        for start in range(0, len(audio), protocol.CHUNK_BYTES):
            while running.sent - running.credited > protocol.WINDOW_BYTES:
                running.credit.clear()
                await running.credit.wait()
            piece = audio[start : start + protocol.CHUNK_BYTES]
            await self._client.publish(f"{running.reply}.audio", piece)
            running.sent += len(piece)
            running.last_sent = time.monotonic()

    def _end(self, running: Running, ending: str) -> None:
        if running.task and not running.task.done():
            running.ending = ending
            running.task.cancel()

    async def _on_control(self, message: Msg) -> None:
        *_unused, job, verb = message.subject.split(".")
        running = self._running.get(job)
        if running is None:
            return
        running.last_heard = time.monotonic()
        if verb == "cancel":
            self._end(running, "cancelled")
        elif verb == "credit" and message.data.isdigit():
            running.credited = max(running.credited, int(message.data))
            running.credit.set()

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(protocol.BEAT_S / 2)
            now = time.monotonic()
            for running in list(self._running.values()):
                if now - running.last_heard > protocol.ORPHAN_S:
                    self._end(running, "orphaned")
                elif now - running.last_sent >= protocol.BEAT_S / 2:
                    with contextlib.suppress(NatsError):
                        await self._client.publish(f"{running.reply}.beat")

    # Presence

    async def _adjust_door(self) -> None:
        """Subscribe to jobs while a stream is free, and not while none is."""
        async with self._door_changes:
            wanted = not self._draining and len(self._running) < self._capacity
            if wanted == (self._door is not None):
                return
            with contextlib.suppress(NatsError, TimeoutError):
                if self._door is None:
                    self._door = await self._client.subscribe(
                        protocol.job_subject(self._operation, self._model),
                        queue=protocol.job_queue(self._operation, self._model),
                        cb=self._on_job,
                    )
                else:
                    door, self._door = self._door, None
                    if not self._client.is_connected:
                        await door.unsubscribe()
                        return
                    # What the server sent before it knew still comes, and is answered with "busy".
                    async with asyncio.timeout(DOOR_TIMEOUT_S):
                        await door.drain()  # type: ignore[no-untyped-call]
        await self._announce()

    async def _announce(self) -> None:
        said = protocol.Announcement(
            worker=self._id,
            operation=self._operation,
            model=self._model,
            capacity=self._capacity,
            load=len(self._running),
            draining=self._draining,
        )
        with contextlib.suppress(NatsError):
            await self._client.publish(
                f"{protocol.WORKERS}.{protocol.token(self._id)}", said.model_dump_json().encode()
            )

    async def _on_roll_call(self, _message: Msg) -> None:
        await self._announce()

    async def _announce_forever(self) -> None:
        while True:
            # Also heals a door that could not be opened or closed when it should have been.
            await self._adjust_door()
            await self._announce()
            await asyncio.sleep(protocol.ANNOUNCE_S)
