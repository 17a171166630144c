# SPDX-License-Identifier: Apache-2.0
"""Give jobs to workers over NATS, and receive their audio."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from pydantic import ValidationError

from sonic_reference import protocol, sealing
from sonic_reference.api.line import Line
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.api.roster import Roster
from sonic_reference.errors import ApiError
from sonic_reference.protocol import Job, SpeechJob

log = logging.getLogger(__name__)

# A worker answers an offer at once. One that has not answered in this time is gone.
ACCEPT_TIMEOUT_S = 0.5
# Pause between two offers while no worker announces itself.
OFFER_PAUSE_S = 0.1
TICK_S = 0.25
# Number of unanswered offers that are kept, to stop a worker that accepts one late.
VOID_OFFERS = 256
# A worker that keeps to the protocol never leaves this many events unread.
OVERRUN_EVENTS = 10_000
# A timer that is later than this (seconds) shows that this process stood still. Workers' messages
# waited in that time, so their silence does not count.
STALL_S = 0.2


def lost(message: str) -> ApiError:
    """Return the public error for a worker that went away."""
    return ApiError(503, "worker_lost", "Service unavailable", message, {"Retry-After": "1"})


class NothingToSayError(ApiError):
    """The text has no sound."""

    def __init__(self) -> None:
        super().__init__(
            400, "invalid_request", "Nothing to say", "The transcript has nothing to speak"
        )


class WorkerLostError(Exception):
    """The worker of a stream fell silent, or bytes were lost on the way."""


class Patience:
    """How long a request still waits."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self.renew()

    @property
    def left_s(self) -> float:
        """Seconds until it ends; 0 or less after that."""
        return self._ends - time.monotonic()

    def renew(self) -> None:
        """Start the time again."""
        self._ends = time.monotonic() + self._timeout_s


class Event(NamedTuple):
    """A worker's message about a job: audio, marks, transcript or flush_done."""

    kind: str
    content: bytes


class Stream:
    """One job, offered to a worker that has the other end of its session."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        job: str,
        offering: str,
        offered: str,
        session: sealing.Session,
    ) -> None:
        self._dispatcher = dispatcher
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._flooded = False
        # Audio from the worker, and audio to it.
        self._incoming = protocol.Window()
        self._outgoing = protocol.Window()
        self.job = job
        # OPERATION/MODEL.
        self.offering = offering
        self.offered = offered
        self.session = session
        self.worker = ""
        # Bytes in a second of the audio that is sent to the worker; 0 where none is.
        self.second_bytes = 0
        self.last_heard = time.monotonic()
        self.ended = False

    @property
    def sent(self) -> int:
        """Bytes of audio that were sent to the worker."""
        return self._outgoing.total

    def put(self, kind: str, content: bytes) -> None:
        """Take in what came from NATS."""
        self.last_heard = time.monotonic()
        match kind:
            case "beat":
                return
            case "taken":
                self._outgoing.confirm(content)
            case "audio":
                self._incoming.total += len(content)
            case "end" | "error" | "lost":
                self._outgoing.release()
        if self._overrun():
            # The worker counts as lost; what it sends from now on is dropped.
            if not self._flooded:
                log.warning("worker %s sends more than it may", self.worker)
                self._events.put_nowait(Event("lost", b""))
            self._flooded = True
            self._outgoing.release()
            return
        if kind != "taken":
            self._events.put_nowait(Event(kind, content))

    def _overrun(self) -> bool:
        """Whether the worker sent more than it may, now or before."""
        return self._flooded or self._incoming.overrun or self._events.qsize() > OVERRUN_EVENTS

    async def answer(self) -> Event:
        """Return the answer to the offer: accepted, busy, unserved or silent."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(ACCEPT_TIMEOUT_S):
                event = await self._events.get()
        except TimeoutError:
            if time.monotonic() - began > ACCEPT_TIMEOUT_S + STALL_S:
                return await self.answer()
            return Event("silent", b"")
        if event.kind == "accepted":
            self.worker = self.offered
        return event

    async def next(self) -> Event | None:
        """Return the next event, None at the end. Raises ApiError, WorkerLostError."""
        if self._incoming.due:
            await self.credit()
        event = await self._events.get()
        match event.kind:
            case "audio":
                self._incoming.used += len(event.content)
            case "end":
                self.ended = True
                try:
                    sent = protocol.Finished.model_validate_json(event.content).sent
                except ValidationError:
                    raise WorkerLostError("the end cannot be read") from None
                if sent != self._incoming.total:
                    raise WorkerLostError(f"{self._incoming.total} of {sent} bytes arrived")
                return None
            case "error":
                self.ended = True
                raise ApiError.decode(event.content)
            case "lost":
                raise WorkerLostError(f"nothing heard of worker {self.worker}")
        return event

    async def audio(self, audio: bytes) -> None:
        """Send audio to the worker, as fast as it works through it."""
        await self._outgoing.send(audio, partial(self._dispatcher.control, self, "audio"))

    async def credit(self) -> None:
        """Confirm the audio that was handed on; this also shows that the pod lives."""
        await self._dispatcher.control(self, "credit", self._incoming.confirmation())

    async def finalize(self) -> None:
        """Ask for a transcript of what was sent so far."""
        await self._dispatcher.control(self, "finalize")

    async def finish(self) -> None:
        """Say that no more audio comes."""
        await self._dispatcher.control(self, "close", str(self.sent).encode())

    async def close(self) -> None:
        """Forget the job, and cancel it if it is not done."""
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
        models: Mapping[str, tuple[str, ...]],
        queue_timeout_s: float,
        queue_limit: int,
        stream_timeout_s: float,
        offerings_key: str = "",
    ) -> None:
        self._metrics = metrics
        self._pod = protocol.token(pod)
        self._queue_timeout_s = queue_timeout_s
        self._queue_limit = queue_limit
        self._stream_timeout_s = stream_timeout_s
        self._client: Client | None = None
        self._offerings_key = offerings_key
        self._streams: dict[str, Stream] = {}
        self._lines: defaultdict[str, Line] = defaultdict(Line)
        self._void: OrderedDict[str, Stream] = OrderedDict()
        self._offers = sealing.Offers()
        self._refused = ""
        self._ticker: asyncio.Task[None] | None = None
        self.roster = Roster(models)
        for operation, names in models.items():
            for name in names:
                self._show(f"{operation}/{name}")

    @property
    def connected(self) -> bool:
        """Whether jobs can be offered."""
        return self._client is not None and self._client.is_connected

    async def start(self, client: Client) -> None:
        """Use this connection."""
        await client.subscribe(f"{protocol.REPLIES}.{self._pod}.>", cb=self._on_reply)
        await client.subscribe(f"{protocol.WORKERS}.*.*", cb=self._on_announcement)
        await client.publish(protocol.ROLL_CALL)
        await client.flush()
        self._ticker = asyncio.create_task(self._tick())
        self._client = client

    async def stop(self) -> None:
        """End all streams that are left."""
        if self._ticker:
            self._ticker.cancel()
        for stream in list(self._streams.values()):
            await stream.close()

    async def open(self, job: SpeechJob, *, begun: str = "") -> tuple[Stream, list[Event]]:
        """Find a worker; returns the stream and its events up to the first audio.

        A worker that is lost before its first audio is replaced once. ``begun`` is the model that
        has spoken an earlier part of the same reply: the job then goes before new ones, and is not
        refused because workers are full. Raises ApiError 404 for an unknown model, 429 when all
        workers stay full, 503 without a worker, or the worker's own error.
        """
        for attempt in (1, 2):
            stream = await self.connect(job, begun=begun)
            try:
                head = await self._head(stream)
                self._count("tts", "characters", len(job.transcript))
                return stream, head
            except WorkerLostError as error:
                await stream.close()
                self.roster.forget(stream.worker)
                log.warning("request %s, attempt %d: %s", job.request_id, attempt, error)
            except BaseException:
                await asyncio.shield(stream.close())
                raise
        raise lost("The worker was lost before it spoke")

    async def connect(self, job: Job, *, begun: str = "") -> Stream:
        """Find a worker for a job. Raises ApiError 404, 429, 503 as :meth:`open`."""
        model = begun or self.roster.resolve(job.operation, job.model_id)
        stream = await self._place(job, model, bool(begun))
        if job.operation == "stt":
            stream.second_bytes = protocol.SAMPLE_BYTES[job.encoding] * job.sample_rate
        return stream

    async def _head(self, stream: Stream) -> list[Event]:
        head: list[Event] = []
        while event := await stream.next():
            head.append(event)
            if event.kind == "audio":
                return head
        raise NothingToSayError

    async def drop(self, stream: Stream) -> None:
        """See :meth:`Stream.close`."""
        if not self._streams.pop(stream.job, None):
            return
        if stream.second_bytes:
            self._count("stt", "seconds", stream.sent / stream.second_bytes)
        if stream.worker and not stream.ended:
            await self.control(stream, "cancel")

    def _count(self, operation: str, unit: str, amount: float) -> None:
        self._metrics.usage.labels(operation, "requests").inc()
        self._metrics.usage.labels(operation, unit).inc(amount)

    # Finding a worker

    async def _place(self, job: Job, model: str, begun: bool) -> Stream:
        """Offer a job until a worker takes it; one offering's requests go in their order."""
        offering = f"{job.operation}/{model}"
        line = self._lines[offering]
        if line.free(begun) and (stream := await self._offer(job, model)):
            return stream
        if not begun and line.new >= self._queue_limit:
            raise self._no_worker(job.operation, model)
        self._show(offering)
        patience = Patience(
            max(protocol.ROSTER_TTL_S, self._queue_timeout_s) if begun else self._queue_timeout_s
        )
        with line.join(begun) as ticket:
            while patience.left_s > 0:
                if ticket.first.is_set():
                    if stream := await self._offer(job, model):
                        return stream
                    await self.roster.change(min(OFFER_PAUSE_S, max(0.0, patience.left_s)))
                else:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(min(TICK_S, patience.left_s)):
                            await ticket.first.wait()
                if begun and self.connected and self.roster.served(job.operation, model):
                    # Workers are full, not gone: a reply is not cut for that.
                    patience.renew()
        raise self._no_worker(job.operation, model)

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

    async def _offer(self, job: Job, model: str) -> Stream | None:
        """Offer a job to the worker with most streams free; returns the stream if it takes it."""
        client = self._client
        worker = self.roster.freest(job.operation, model)
        if client is None or not client.is_connected or worker is None:
            return None
        name = sealing.new_job()
        try:
            content = job.model_dump_json().encode()
            session, payload = self._offers.seal(name, content, self.roster.key(worker))
        except sealing.SealError as error:
            log.warning("worker %s: %s", worker, error)
            self.roster.forget(worker)
            return None
        stream = Stream(self, name, f"{job.operation}/{model}", worker, session)
        self._streams[stream.job] = stream
        self.roster.reserve(worker)
        taken = False
        try:
            await client.publish(
                protocol.job_subject(job.operation, model, worker),
                payload,
                reply=f"{protocol.REPLIES}.{self._pod}.{stream.job}",
            )
            answer = await stream.answer()
            taken = answer.kind == "accepted"
            match answer.kind:
                case "busy":
                    self._note(job.operation, worker, answer.content)
                case "unserved" | "silent":
                    # It counts again when it announces itself.
                    log.warning("request %s: worker %s: %s", job.request_id, worker, answer.kind)
                    self.roster.forget(worker)
        except NatsError as error:
            log.warning("request %s: cannot offer: %s", job.request_id, error)
        finally:
            if not taken:
                # A worker that takes it after all gets a cancel, see _on_reply.
                self._streams.pop(stream.job, None)
                self._void[stream.job] = stream
                if len(self._void) > VOID_OFFERS:
                    self._void.popitem(last=False)
        return stream if taken else None

    def _show(self, offering: str) -> None:
        operation, _unused, model = offering.partition("/")
        line = self._lines[offering]
        self._metrics.queue.labels(offering).set_function(lambda: len(line))
        self._metrics.unserviceable.labels(offering).set_function(
            lambda: 0 if self.roster.served(operation, model) else len(line)
        )

    # What comes from NATS

    async def _on_reply(self, message: Msg) -> None:
        parts = message.subject.split(".")
        job = parts[4]
        # The server itself answers on the bare subject when no worker is subscribed to an offer.
        event = parts[5] if len(parts) > 5 else "unserved"
        stream = self._streams.get(job) or self._void.get(job)
        if stream is None:
            return
        content = b""
        if event != "unserved":
            try:
                # Only the worker that the job was sealed for can have sealed this.
                content = stream.session.open(event, message.data)
            except sealing.SealError as error:
                log.warning("job %s: %s refused: %s", job, event, error)
                return
        if job in self._streams:
            stream.put(event, content)
        elif event == "accepted":
            del self._void[job]
            stream.worker = stream.offered
            await self.control(stream, "cancel")

    async def _on_announcement(self, message: Msg) -> None:
        operation, worker = message.subject.split(".")[-2:]
        self._note(operation, worker, message.data)

    def _note(self, operation: str, worker: str, content: bytes) -> None:
        """Take in an announcement that a worker made for itself; refuse any other."""
        try:
            announcement = protocol.Announcement.model_validate_json(content)
        except ValidationError:
            self._refuse("an announcement could not be read")
            return
        if (protocol.token(announcement.operation), protocol.token(announcement.worker)) != (
            operation,
            worker,
        ):
            self._refuse(f"worker {worker} announced itself as another")
        elif not sealing.owns(announcement.worker, announcement.key):
            self._refuse(f"worker {worker} announced a key that is not its own")
        elif self._offerings_key and not sealing.proven(
            announcement.proof,
            self._offerings_key,
            announcement.operation,
            announcement.model,
            announcement.worker,
        ):
            self._refuse(
                f"worker {worker} lacks the key of {announcement.operation}/{announcement.model}"
            )
        else:
            self.roster.note(announcement)

    def _refuse(self, text: str) -> None:
        # A worker that is refused announces itself again each second.
        if text != self._refused:
            log.warning("%s", text)
        self._refused = text

    async def control(self, stream: Stream, verb: str, content: bytes = b"") -> None:
        """Send a message to a stream's worker."""
        if self._client is None or self._client.is_closed:
            return
        operation = stream.offering.partition("/")[0]
        subject = protocol.control_subject(operation, stream.worker, stream.job, verb)
        with contextlib.suppress(NatsError):
            await self._client.publish(subject, stream.session.seal(verb, content))

    async def _tick(self) -> None:
        """Give up silent workers, and show the others that this pod lives."""
        ticks = 0
        now = time.monotonic()
        while True:
            before = now
            await asyncio.sleep(TICK_S)
            ticks += 1
            now = time.monotonic()
            stood_s = now - before - TICK_S
            for stream in list(self._streams.values()):
                if not stream.worker:
                    continue
                if stood_s > STALL_S:
                    stream.last_heard += stood_s
                if now - stream.last_heard > self._stream_timeout_s:
                    stream.put("lost", b"")
                elif ticks % round(2 * protocol.BEAT_S / TICK_S) == 0:
                    await stream.credit()
