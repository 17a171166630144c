# SPDX-License-Identifier: Apache-2.0
"""Run the worker: ``python3 -m sonic_reference.worker``; README.md lists its environment."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import aclosing

from sonic_reference import messaging, service
from sonic_reference.settings import Environment
from sonic_reference.worker import gpu
from sonic_reference.worker.engine import Engine, EngineError, Utterance
from sonic_reference.worker.espeak import EspeakEngine
from sonic_reference.worker.metrics import WorkerMetrics
from sonic_reference.worker.service import Worker

log = logging.getLogger(__name__)


async def load(engine: Engine) -> None:
    """Load the model and prove it by an utterance. Raises EngineError."""
    began = time.monotonic()
    await engine.load()
    size = 0
    async with aclosing(engine.synthesize(Utterance("Ready.", voice_id=""))) as blocks:
        async for block in blocks:
            size += len(block)
    if size == 0:
        raise EngineError("the engine spoke without a sound")
    log.info("model loaded in %.3f s", time.monotonic() - began)


async def main(variables: Mapping[str, str], stop: asyncio.Event) -> None:
    """Serve until stopped, then drain."""
    environment = Environment(variables)
    host, metrics_port = service.common_settings(environment, 8080)
    nats_url = environment.url("NATS_URL", ("nats", "tls"))
    model = environment.text("SONIC_MODEL")
    operation = environment.text("SONIC_OPERATION", "TTS").lower()
    if operation != "tts":
        environment.refuse(f"SONIC_OPERATION={operation!r}: this worker only knows TTS")
    capacity = environment.integer("SONIC_BATCH_SIZE", 4, 1, 256)
    if not environment.switch("SONIC_USE_CB", True):
        log.warning("SONIC_USE_CB=false: the CPU engine batches continuously all the same")
    pace = environment.number("SONIC_PACE", 0.0, 0.0, 10.0)
    drain_timeout_s = environment.number("SONIC_DRAIN_TIMEOUT", 600.0, 0.0, 86400.0)
    environment.check()

    log.info("%s", gpu.describe(variables))
    metrics = WorkerMetrics()
    engine = EspeakEngine(capacity)
    worker: Worker | None = None
    listener = service.Listener(
        service.metrics_app(metrics.registry, lambda: worker is not None and worker.ready),
        host,
        metrics_port,
    )
    await listener.start()
    stopping = asyncio.create_task(stop.wait())
    worker_id = messaging.member_id(socket.gethostname())
    loading = asyncio.create_task(load(engine))
    connecting = asyncio.create_task(messaging.connect(nats_url, f"worker {worker_id}"))
    try:
        for step in (loading, connecting):
            await asyncio.wait({step, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                return
            await step
        client = connecting.result()
        worker = Worker(
            client, engine, metrics,
            worker_id=worker_id, operation=operation, model=model, capacity=capacity, pace=pace,
        )  # fmt: skip
        await worker.start()
        log.info("worker %s takes %d streams of %s/%s", worker_id, capacity, operation, model)
        await stopping
        await worker.drain(drain_timeout_s)
        await messaging.close(client)
        log.info("drained")
    except EngineError as error:
        raise OSError(f"cannot load the model: {error}") from error
    finally:
        for task in (loading, connecting, stopping):
            task.cancel()
        await engine.close()
        await listener.stop(1)


if __name__ == "__main__":
    sys.exit(service.run("worker", main))
