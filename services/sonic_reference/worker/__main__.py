# SPDX-License-Identifier: Apache-2.0
"""Run the worker: ``python3 -m sonic_reference.worker``; README.md lists its environment."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time

from nats.aio.client import Client

from sonic_reference import messaging, sealing, service
from sonic_reference.artifacts.follower import Follower
from sonic_reference.artifacts.metrics import FollowerMetrics
from sonic_reference.voices import Voices
from sonic_reference.worker import gpu
from sonic_reference.worker.batcher import Batcher
from sonic_reference.worker.engine import Engine, EngineError, Stream, Utterance
from sonic_reference.worker.espeak import EspeakEngine, EspeakStream
from sonic_reference.worker.metrics import WorkerMetrics
from sonic_reference.worker.recognition import RecognitionOperation
from sonic_reference.worker.service import Worker
from sonic_reference.worker.settings import WorkerSettings
from sonic_reference.worker.speech import SpeechOperation
from sonic_reference.worker.sphinx import SphinxRecognizer

log = logging.getLogger(__name__)


async def main(settings: WorkerSettings, stop: asyncio.Event) -> None:
    """Serve until stopped, then drain."""
    log.info("%s", gpu.describe(os.environ))
    pod = Pod(settings)
    stopping = asyncio.create_task(stop.wait())
    try:
        await pod.listener.start()
        await pod.serve(stopping)
    except EngineError as error:
        raise OSError(f"cannot load the model: {error}") from error
    finally:
        stopping.cancel()
        await pod.close()


class Pod:
    """The parts of a worker."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._metrics = WorkerMetrics()
        self._voices = Voices()
        self._follower = self._follow()
        self._engine: EspeakEngine | SphinxRecognizer
        self._operation: SpeechOperation[EspeakStream] | RecognitionOperation
        self._batcher: Batcher[EspeakStream] | None = None
        self._worker: Worker | None = None
        if settings.operation == "tts":
            engine = EspeakEngine(settings.capacity, self._voices, settings.use_lora)
            self._engine = engine
            self._batcher = Batcher(
                engine,
                batch_size=settings.batch_size,
                continuous=settings.continuous,
                pace=settings.pace,
            )
            self._operation = SpeechOperation(engine, self._batcher, self._metrics)
        else:
            self._engine = SphinxRecognizer(settings.capacity)
            self._operation = RecognitionOperation(self._engine)
        self.listener = service.Listener(
            service.metrics_app(self._metrics.registry, lambda: self.ready),
            settings.host,
            settings.metrics_port,
        )

    @property
    def ready(self) -> bool:
        """Whether jobs can come."""
        return self._worker is not None and self._worker.ready

    async def serve(self, stopping: asyncio.Task[bool]) -> None:
        """Take jobs until stopped, and finish those in progress.

        Raises EngineError when the model cannot be loaded.
        """
        settings = self._settings
        identity = sealing.Identity(socket.gethostname())
        client = await self._prepare(identity.name, stopping)
        if client is None:
            return
        if self._batcher:
            self._batcher.start()
        self._worker = Worker(
            client,
            self._operation,
            self._metrics,
            identity=identity,
            model=settings.model,
            capacity=settings.capacity,
            offering_key=settings.offering_key,
        )
        await self._worker.start()
        log.info(
            "worker %s takes %d streams of %s/%s, %d at a time, %s batching",
            identity.name,
            settings.capacity,
            settings.operation,
            settings.model,
            settings.batch_size,
            "continuous" if settings.continuous else "static",
        )
        await stopping
        await self._worker.drain(settings.drain_timeout_s)
        await messaging.close(client)
        log.info("drained")

    async def _prepare(self, name: str, stopping: asyncio.Task[bool]) -> Client | None:
        """Load the model and the artifacts, and connect; returns None when stopped before that.

        Raises EngineError when the model cannot be loaded.
        """
        loading = asyncio.create_task(load(self._engine))
        following = asyncio.create_task(self._follower.start()) if self._follower else None
        connecting = asyncio.create_task(
            messaging.connect(self._settings.nats_url, f"worker {name}")
        )
        try:
            for step in (loading, connecting):
                await asyncio.wait({step, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    return None
                await step
            if following:
                await following
            return connecting.result()
        finally:
            for task in (loading, connecting, following):
                if task:
                    task.cancel()

    async def close(self) -> None:
        """Release everything."""
        if self._follower:
            await self._follower.stop()
        if self._batcher:
            await self._batcher.stop()
        await self._engine.close()
        await self.listener.stop(1)

    def _follow(self) -> Follower | None:
        artifacts = self._settings.artifacts
        if not artifacts.url:
            return None
        return Follower(
            artifacts.url,
            artifacts.folder,
            f"worker/{socket.gethostname()}",
            lambda catalogue: self._voices.deliver(catalogue.voices, catalogue.presets),
            FollowerMetrics(self._metrics.registry),
        )


async def prove(engine: Engine[Stream]) -> None:
    """Load the engine and test it by an utterance. Raises EngineError."""
    await engine.load()
    stream = await engine.begin(Utterance("Ready.", voice_id=""))
    size = 0
    while True:
        (block,) = await engine.step([stream])
        if isinstance(block, EngineError):
            raise block
        size += len(block.pcm)
        if block.last:
            break
    if size == 0:
        raise EngineError("the engine spoke without a sound")


async def load(engine: EspeakEngine | SphinxRecognizer) -> None:
    """Load the model. Raises EngineError."""
    began = time.monotonic()
    if isinstance(engine, EspeakEngine):
        await prove(engine)
    else:
        await engine.load()
    log.info("model loaded in %.3f s", time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(service.run("worker", WorkerSettings, main))
