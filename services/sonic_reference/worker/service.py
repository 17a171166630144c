# SPDX-License-Identifier: Apache-2.0
"""Take jobs from NATS while streams are free, do them, and send their events to the API pods."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any, Protocol

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from pydantic import BaseModel, ValidationError

from sonic_reference import protocol, sealing
from sonic_reference.errors import ApiError
from sonic_reference.worker.engine import EngineError
from sonic_reference.worker.metrics import WorkerMetrics

log = logging.getLogger(__name__)


class LostError(Exception):
    """Bytes from the API pod did not arrive."""


class Link:
    """A job's connection to its API pod, in both directions."""

    def __init__(self, client: Client, reply: str, session: sealing.Session) -> None:
        self._client = client
        self._reply = reply
        self._session = session
        self._window = protocol.Window()
        self.inbox: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.taken = time.monotonic()
        self.last_sent = self.taken
        self.last_heard = self.taken
        self.request_id = ""
        self.ending = "done"
        self.task: asyncio.Task[None] | None = None

    @property
    def sent(self) -> int:
        """Bytes of audio that were sent."""
        return self._window.total

    @property
    def job(self) -> str:
        """The job's name, chosen by the API pod."""
        return self._reply.rpartition(".")[2]

    async def send(self, event: str, payload: BaseModel | bytes = b"") -> None:
        """Send an event. Raises nats.errors.Error."""
        content = payload.model_dump_json().encode() if isinstance(payload, BaseModel) else payload
        await self._client.publish(f"{self._reply}.{event}", self._session.seal(event, content))
        self.last_sent = time.monotonic()

    async def audio(self, audio: bytes) -> None:
        """Send audio as fast as the API pod hands it on."""
        await self._window.send(audio, partial(self.send, "audio"))

    def receive(self, verb: str, payload: bytes) -> None:
        """Take in what the API pod sent for this job. Raises SealError: another one sent it."""
        content = self._session.open(verb, payload)
        self.last_heard = time.monotonic()
        if verb == "cancel":
            self.end("cancelled")
        elif verb == "credit":
            self._window.confirm(content)
        else:
            self.inbox.put_nowait((verb, content))

    def end(self, ending: str) -> None:
        """Stop the job early."""
        if self.task and not self.task.done():
            self.ending = ending
            self.task.cancel()


class Operation(Protocol):
    """What a worker does with its jobs."""

    @property
    def name(self) -> str:
        """Its name in subjects: tts or stt."""

    async def serve(self, job: bytes, link: Link) -> None:
        """Do one job. Raises ValidationError for what is no job, EngineError, LostError."""


class Worker:
    """One worker of one offering: up to ``capacity`` streams at a time."""

    def __init__(
        self,
        client: Client,
        operation: Operation,
        metrics: WorkerMetrics,
        *,
        identity: sealing.Identity,
        model: str,
        capacity: int,
        offering_key: str = "",
    ) -> None:
        self._client = client
        self._operation = operation
        self._metrics = metrics
        self._identity = identity
        self._id = identity.name
        self._proof = sealing.proof(offering_key, identity.name) if offering_key else ""
        self._model = model
        self._capacity = capacity
        self._links: dict[str, Link] = {}
        self._open = False
        self._draining = False
        self._chores: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether jobs can come."""
        return self._open and not self._draining and self._client.is_connected

    async def start(self) -> None:
        """Take jobs from now on."""
        control = protocol.control_subject(self._operation.name, self._id, "*", "*")
        jobs = protocol.job_subject(self._operation.name, self._model, self._id)
        await self._client.subscribe(control, cb=self._on_control)
        await self._client.subscribe(jobs, cb=self._on_job)
        await self._client.subscribe(protocol.ROLL_CALL, cb=self._on_roll_call)
        await self._client.flush()
        self._open = True
        self._metrics.capacity.set(self._capacity)
        self._chore(self._announce_forever())
        self._chore(self._beat_forever())

    async def drain(self, timeout_s: float) -> None:
        """Take no more jobs, and finish those in progress; after the timeout they get an error."""
        self._draining = True
        self._metrics.capacity.set(0)
        await self._announce()
        tasks = {link.task for link in self._links.values() if link.task}
        if tasks:
            log.info("draining: %d streams in progress", len(tasks))
            _unused, late = await asyncio.wait(tasks, timeout=timeout_s)
            for link in list(self._links.values()):
                link.end("failed")
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
        try:
            session, job = self._identity.open(message.reply.rpartition(".")[2], message.data)
        except sealing.SealError as error:
            self._metrics.jobs.labels("refused").inc()
            log.warning("a job was refused: %s", error)
            return
        link = Link(self._client, message.reply, session)
        if self._draining or len(self._links) >= self._capacity:
            # The offer was on its way when this worker became full.
            self._metrics.jobs.labels("refused").inc()
            await link.send("busy", self._announcement())
            return
        self._links[link.job] = link
        self._metrics.load.set(len(self._links))
        link.task = asyncio.create_task(self._serve(job, link))
        await link.send("accepted", protocol.Accepted(worker=self._id))
        await self._announce()

    async def _serve(self, job: bytes, link: Link) -> None:
        """Do one job until it ends in any way, and free its stream."""
        error: ApiError | None = None
        try:
            await self._operation.serve(job, link)
        except asyncio.CancelledError:
            if link.ending == "failed":
                error = ApiError(
                    503, "worker_stopped", "Service unavailable", "The worker was stopped"
                )
        except ValidationError:
            link.ending = "failed"
            error = ApiError(400, "invalid_job", "Invalid job", "A worker could not read the job")
        except LostError as failure:
            link.ending = "failed"
            error = ApiError(503, "audio_lost", "Service unavailable", str(failure))
        except EngineError as failure:
            link.ending = "failed"
            status, code = (
                (400, "invalid_request") if failure.bad_request else (500, "engine_failed")
            )
            error = ApiError(status, code, "Speech failed", str(failure))
        except NatsError as failure:
            link.ending = "failed"
            log.error("request %s: cannot answer: %s", link.request_id, failure)
        finally:
            self._links.pop(link.job, None)
            self._metrics.load.set(len(self._links))
            self._metrics.jobs.labels(link.ending).inc()
        with contextlib.suppress(NatsError):
            if error:
                await link.send("error", error.encode())
            elif link.ending == "done":
                await link.send("end", protocol.Finished(sent=link.sent))
        await self._announce()
        log.info(
            "request %s %s: %d bytes in %.3f s",
            link.request_id, link.ending, link.sent, time.monotonic() - link.taken,
        )  # fmt: skip

    async def _on_control(self, message: Msg) -> None:
        *_unused, job, verb = message.subject.split(".")
        if link := self._links.get(job):
            try:
                link.receive(verb, message.data)
            except sealing.SealError as error:
                log.warning("request %s: %s refused: %s", link.request_id, verb, error)

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(protocol.BEAT_S / 2)
            now = time.monotonic()
            for link in list(self._links.values()):
                if now - link.last_heard > protocol.ORPHAN_S:
                    link.end("orphaned")
                elif now - link.last_sent >= protocol.BEAT_S / 2:
                    with contextlib.suppress(NatsError):
                        await link.send("beat")

    # Presence

    def _announcement(self) -> protocol.Announcement:
        return protocol.Announcement(
            worker=self._id,
            operation=self._operation.name,
            model=self._model,
            capacity=self._capacity,
            load=len(self._links),
            draining=self._draining,
            key=self._identity.key,
            proof=self._proof,
        )

    async def _announce(self) -> None:
        with contextlib.suppress(NatsError):
            await self._client.publish(
                protocol.worker_subject(self._operation.name, self._id),
                self._announcement().model_dump_json().encode(),
            )

    async def _on_roll_call(self, _message: Msg) -> None:
        await self._announce()

    async def _announce_forever(self) -> None:
        while True:
            await self._announce()
            await asyncio.sleep(protocol.ANNOUNCE_S)
