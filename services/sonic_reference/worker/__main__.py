# SPDX-License-Identifier: Apache-2.0
"""Run the worker: ``python3 -m sonic_reference.worker``; README.md lists its environment."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from sonic_reference import messaging, sealing, service
from sonic_reference.artifacts.follower import Follower
from sonic_reference.artifacts.metrics import FollowerMetrics
from sonic_reference.settings import Environment
from sonic_reference.voices import Voices
from sonic_reference.worker import gpu
from sonic_reference.worker.batcher import Batcher
from sonic_reference.worker.engine import Engine, EngineError, Stream, Utterance
from sonic_reference.worker.espeak import EspeakEngine, EspeakStream
from sonic_reference.worker.metrics import WorkerMetrics
from sonic_reference.worker.recognition import RecognitionOperation
from sonic_reference.worker.service import Worker
from sonic_reference.worker.speech import SpeechOperation
from sonic_reference.worker.sphinx import SphinxRecognizer

log = logging.getLogger(__name__)


async def prove(engine: Engine[Stream]) -> None:
    """Load a voice and prove it by an utterance. Raises EngineError."""
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


async def main(variables: Mapping[str, str], stop: asyncio.Event) -> None:
    """Serve until stopped, then drain."""
    environment = Environment(variables)
    host, metrics_port = service.common_settings(environment, 8080)
    nats_url = environment.url("NATS_URL", ("nats", "tls"))
    model = environment.text("SONIC_MODEL")
    operation = environment.text("SONIC_OPERATION", "TTS").lower()
    if operation not in ("tts", "stt"):
        environment.refuse(f"SONIC_OPERATION={operation!r} is neither TTS nor STT")
    batch_size = environment.integer("SONIC_BATCH_SIZE", 4, 1, 256)
    capacity = environment.integer("SONIC_CAPACITY", batch_size, 1, 1024)
    continuous = environment.switch("SONIC_USE_CB", True)
    pace = environment.number("SONIC_PACE", 0.0, 0.0, 10.0)
    drain_timeout_s = environment.number("SONIC_DRAIN_TIMEOUT", 600.0, 0.0, 86400.0)
    offering_key = environment.text("SONIC_OFFERING_KEY", "")
    use_lora = environment.switch("SONIC_USE_LORA", False)
    artifacts_url = environment.optional_url("SONIC_ARTIFACTS_URL", ("http", "https"))
    artifacts_folder = environment.text("SONIC_ARTIFACTS_FOLDER", "/tmp/artifacts")
    environment.check()

    log.info("%s", gpu.describe(variables))
    metrics = WorkerMetrics()
    engine: EspeakEngine | SphinxRecognizer
    serving: SpeechOperation[EspeakStream] | RecognitionOperation
    batcher: Batcher[EspeakStream] | None = None
    voices = Voices()
    follower = (
        Follower(
            artifacts_url, Path(artifacts_folder), f"worker/{socket.gethostname()}",
            lambda found: voices.deliver(found.voices, found.presets),
            FollowerMetrics(metrics.registry),
        ) if artifacts_url else None
    )  # fmt: skip
    if operation == "tts":
        engine = EspeakEngine(capacity, voices, use_lora)
        batcher = Batcher(engine, batch_size=batch_size, continuous=continuous, pace=pace)
        serving = SpeechOperation(engine, batcher, metrics)
    else:
        engine = SphinxRecognizer(capacity)
        serving = RecognitionOperation(engine)
    worker: Worker | None = None
    listener = service.Listener(
        service.metrics_app(metrics.registry, lambda: worker is not None and worker.ready),
        host,
        metrics_port,
    )
    await listener.start()
    stopping = asyncio.create_task(stop.wait())
    identity = sealing.Identity(socket.gethostname())
    loading = asyncio.create_task(load(engine))
    following = asyncio.create_task(follower.start()) if follower else None
    connecting = asyncio.create_task(messaging.connect(nats_url, f"worker {identity.name}"))
    try:
        for step in (loading, connecting):
            await asyncio.wait({step, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                return
            await step
        client = connecting.result()
        if following:
            await following
        if batcher:
            batcher.start()
        worker = Worker(
            client, serving, metrics, identity=identity, model=model, capacity=capacity,
            offering_key=offering_key,
        )  # fmt: skip
        await worker.start()
        log.info(
            "worker %s takes %d streams of %s/%s, %d at a time, %s batching",
            identity.name, capacity, operation, model, batch_size,
            "continuous" if continuous else "static",
        )  # fmt: skip
        await stopping
        await worker.drain(drain_timeout_s)
        await messaging.close(client)
        log.info("drained")
    except EngineError as error:
        raise OSError(f"cannot load the model: {error}") from error
    finally:
        for task in (loading, connecting, stopping, following):
            if task:
                task.cancel()
        if follower:
            await follower.stop()
        if batcher:
            await batcher.stop()
        await engine.close()
        await listener.stop(1)


if __name__ == "__main__":
    sys.exit(service.run("worker", main))
