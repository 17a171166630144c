# SPDX-License-Identifier: Apache-2.0
"""Give jobs to workers over NATS, and take their audio in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Generator

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.nuid import NUID
from pydantic import ValidationError

from sonic_reference import protocol
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.api.roster import Roster
from sonic_reference.errors import ApiError
from sonic_reference.protocol import SpeechJob

log = logging.getLogger(__name__)

# A worker says at once whether it takes a job. One that has not in this time is not there any more.
ACCEPT_TIMEOUT_S = 0.5
# Between two offers while nothing is heard of the workers.
OFFER_PAUSE_S = 0.1
TICK_S = 0.25


class WorkerLostError(Exception):
    """The worker of a stream fell silent, or bytes were lost on the way."""


class Speech:
    """One job that a worker took: its audio, piece by piece."""

    def __init__(self, dispatcher: Dispatcher, job: str, offering: str) -> None:
        self._dispatcher = dispatcher
        self._events: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._received = 0
        self.job = job
        self.offering = offering
        self.worker = ""
        self.consumed = 0
        self.credited = 0
        self.last_heard = time.monotonic()
        self.ended = False

    def put(self, event: str, content: bytes) -> None:
        """Take in what came from NATS."""
        self.last_heard = time.monotonic()
        if event == "audio":
            self._received += len(content)
        if event != "beat":
            self._events.put_nowait((event, content))

    async def answer(self) -> str:
        """Return what became of the offer: accepted, busy, nobody or silent."""
        try:
            async with asyncio.timeout(ACCEPT_TIMEOUT_S):
                event, content = await self._events.get()
        except TimeoutError:
            return "silent"
        if event == "accepted":
            self.worker = protocol.Accepted.model_validate_json(content).worker
        return event

    async def next(self) -> bytes | None:
        """Return the next audio, None after the last. Raises ApiError, WorkerLostError."""
        if self.consumed - self.credited > protocol.WINDOW_BYTES // 4:
            await self._dispatcher.credit(self)
        event, content = await self._events.get()
        match event:
            case "audio":
                self.consumed += len(content)
                return content
            case "end":
                self.ended = True
                sent = protocol.Finished.model_validate_json(content).sent
                if sent != self._received:
                    raise WorkerLostError(f"{self._received} of {sent} bytes arrived")
                return None
            case "error":
                self.ended = True
                raise ApiError.decode(content)
            case _:
                raise WorkerLostError(f"nothing heard of worker {self.worker}")

    async def close(self) -> None:
        """Forget the job, and tell its worker so if it is not done."""
        await self._dispatcher.drop(self)


class Dispatcher:
    """The API pod's side of the protocol in docs/nats-protocol.md.

    ``queue_timeout_s`` bounds how long a request waits for a worker, ``queue_limit`` how many may
    wait, ``stream_timeout_s`` how long a worker may be silent.
    """

    def __init__(
        self,
        metrics: ApiMetrics,
        *,
        pod: str,
        models: tuple[str, ...],
        queue_timeout_s: float,
        queue_limit: int,
        stream_timeout_s: float,
    ) -> None:
        self._metrics = metrics
        self._pod = protocol.token(pod)
        self._queue_timeout_s = queue_timeout_s
        self._queue_limit = queue_limit
        self._stream_timeout_s = stream_timeout_s
        self._client: Client | None = None
        self._speeches: dict[str, Speech] = {}
        self._waiting: Counter[str] = Counter()
        self._lines: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._ticker: asyncio.Task[None] | None = None
        self._nuid = NUID()
        self.roster = Roster(models)
        for model in models:
            self._show(f"tts/{model}")

    @property
    def connected(self) -> bool:
        """Whether jobs can be given out."""
        return self._client is not None and self._client.is_connected

    async def start(self, client: Client) -> None:
        """Use this connection."""
        await client.subscribe(f"{protocol.REPLIES}.{self._pod}.>", cb=self._on_reply)
        await client.subscribe(f"{protocol.WORKERS}.*", cb=self._on_announcement)
        await client.publish(protocol.ROLL_CALL)
        await client.flush()
        self._ticker = asyncio.create_task(self._tick())
        self._client = client

    async def stop(self) -> None:
        """End all streams that are left."""
        if self._ticker:
            self._ticker.cancel()
        for speech in list(self._speeches.values()):
            await speech.close()

    async def open(self, job: SpeechJob) -> tuple[Speech, bytes]:
        """Find a worker; returns the stream and its first audio.

        A worker that is lost before its first audio is replaced once. Raises ApiError 404 for an
        unknown model, 429 when all workers stay full, 503 when there are none, or what the worker
        says.
        """
        model = self.roster.resolve(job.operation, job.model_id)
        deadline = time.monotonic() + self._queue_timeout_s
        for attempt in (1, 2):
            speech = await self._place(job, model, deadline)
            try:
                first = await speech.next()
            except WorkerLostError as error:
                await speech.close()
                log.warning("request %s, attempt %d: %s", job.request_id, attempt, error)
                deadline = time.monotonic() + self._queue_timeout_s
                continue
            except BaseException:
                await asyncio.shield(speech.close())
                raise
            if first is None:
                await speech.close()
                raise ApiError(
                    400, "invalid_request", "Nothing to say", "The transcript has nothing to speak"
                )
            return speech, first
        raise ApiError(
            503,
            "worker_lost",
            "Service unavailable",
            "The worker was lost before it spoke",
            {"Retry-After": "1"},
        )

    async def credit(self, speech: Speech) -> None:
        """Tell a worker how far its audio got; also a sign of life."""
        speech.credited = speech.consumed
        await self._control(speech, "credit", str(speech.consumed).encode())

    async def drop(self, speech: Speech) -> None:
        """See :meth:`Speech.close`."""
        if self._speeches.pop(speech.job, None) and speech.worker and not speech.ended:
            await self._control(speech, "cancel")

    # Finding a worker

    async def _place(self, job: SpeechJob, model: str, deadline: float) -> Speech:
        """Offer a job until a worker takes it; one offering's requests go in their order."""
        offering = f"{job.operation}/{model}"
        line = self._lines[offering]
        if not line.locked() and (speech := await self._offer(job, model)):
            return speech
        with self._wait(offering, job.operation, model):
            try:
                async with asyncio.timeout_at(
                    asyncio.get_running_loop().time() + max(0.0, deadline - time.monotonic())
                ):
                    async with line:
                        while True:
                            if speech := await self._offer(job, model):
                                return speech
                            await self.roster.change(OFFER_PAUSE_S)
            except TimeoutError:
                raise self._no_worker(job.operation, model) from None

    def _no_worker(self, operation: str, model: str) -> ApiError:
        retry = {"Retry-After": "1"}
        if not self.connected:
            message = "The message bus cannot be reached"
            return ApiError(503, "bus_unavailable", "Service unavailable", message, retry)
        if not self.roster.served(operation, model):
            message = f"No worker of model {model!r} is running"
            return ApiError(503, "no_worker", "Service unavailable", message, retry)
        message = "All workers are busy; try again"
        return ApiError(429, "concurrency_limited", "Too many concurrent requests", message, retry)

    async def _offer(self, job: SpeechJob, model: str) -> Speech | None:
        """Offer a job once; returns the stream if a worker took it."""
        client = self._client
        if client is None or not client.is_connected:
            return None
        speech = Speech(self, self._nuid.next().decode(), f"{job.operation}/{model}")
        self._speeches[speech.job] = speech
        taken = False
        try:
            await client.publish(
                protocol.job_subject(job.operation, model),
                job.model_dump_json().encode(),
                reply=f"{protocol.REPLIES}.{self._pod}.{speech.job}",
            )
            answer = await speech.answer()
            taken = answer == "accepted"
            if answer == "silent":
                log.warning("request %s: an offer was not answered", job.request_id)
        except NatsError as error:
            log.warning("request %s: cannot offer: %s", job.request_id, error)
        finally:
            if not taken:
                # A worker that takes it after all is told to stop, see _on_reply.
                self._speeches.pop(speech.job, None)
        return speech if taken else None

    @contextlib.contextmanager
    def _wait(self, offering: str, operation: str, model: str) -> Generator[None, None, None]:
        """Count a request among those that wait. Raises ApiError 429 when too many do."""
        if self._waiting[offering] >= self._queue_limit:
            raise self._no_worker(operation, model)
        self._waiting[offering] += 1
        self._show(offering)
        try:
            yield
        finally:
            self._waiting[offering] -= 1

    def _show(self, offering: str) -> None:
        operation, _unused, model = offering.partition("/")
        self._metrics.queue.labels(offering).set_function(lambda: self._waiting[offering])
        self._metrics.unserviceable.labels(offering).set_function(
            lambda: 0 if self.roster.served(operation, model) else self._waiting[offering]
        )

    # What comes from NATS

    async def _on_reply(self, message: Msg) -> None:
        parts = message.subject.split(".")
        job = parts[4]
        # The server itself answers on the bare subject when nobody listens to an offer.
        event = parts[5] if len(parts) > 5 else "nobody"
        speech = self._speeches.get(job)
        if speech:
            speech.put(event, message.data)
        elif event == "accepted":
            late = Speech(self, job, "")
            with contextlib.suppress(ValidationError):
                late.worker = protocol.Accepted.model_validate_json(message.data).worker
                await self._control(late, "cancel")

    async def _on_announcement(self, message: Msg) -> None:
        try:
            self.roster.note(protocol.Announcement.model_validate_json(message.data))
        except ValidationError:
            log.warning("an announcement could not be read: %s", message.subject)

    async def _control(self, speech: Speech, verb: str, content: bytes = b"") -> None:
        if self._client is None or self._client.is_closed:
            return
        subject = f"{protocol.CONTROL}.{protocol.token(speech.worker)}.{speech.job}.{verb}"
        with contextlib.suppress(NatsError):
            await self._client.publish(subject, content)

    async def _tick(self) -> None:
        """Find workers that fell silent, and show them that this pod lives."""
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1
            now = time.monotonic()
            for speech in list(self._speeches.values()):
                if not speech.worker:
                    continue
                if now - speech.last_heard > self._stream_timeout_s:
                    speech.put("lost", b"")
                elif ticks % round(2 * protocol.BEAT_S / TICK_S) == 0:
                    await self.credit(speech)
