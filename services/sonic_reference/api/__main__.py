# SPDX-License-Identifier: Apache-2.0
"""Run the API server: ``python3 -m sonic_reference.api``; README.md lists its environment."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from sonic_reference import messaging, protocol, service
from sonic_reference.api.app import Health, Site, create_app
from sonic_reference.api.authorization import MAX_CONNECTIONS, Authorizer, presentable
from sonic_reference.api.credentials import Credentials
from sonic_reference.api.dispatch import Dispatcher
from sonic_reference.api.library import Library
from sonic_reference.api.limits import Limits
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.api.usage import UsageReporter
from sonic_reference.artifacts.catalogue import Catalogue
from sonic_reference.artifacts.follower import Follower
from sonic_reference.artifacts.metrics import FollowerMetrics
from sonic_reference.settings import Environment
from sonic_reference.voices import Voices

log = logging.getLogger(__name__)

# A NATS server without JetStream has no dictionaries; requests without one are served all the same.
LIBRARY_PATIENCE_S = 5.0


async def main(variables: Mapping[str, str], stop: asyncio.Event) -> None:
    """Serve until stopped, then finish what is in progress."""
    environment = Environment(variables)
    host, metrics_port = service.common_settings(environment, 8080)
    port = environment.integer("SONIC_PORT", 5000, 1, 65535)
    nats_url = environment.url("NATS_URL", ("nats", "tls"))
    proxy_url = environment.url("LICENSE_PROXY_URL", ("http", "https"))
    models = {
        "tts": environment.names("SONIC_MODELS", "sonic-reference"),
        "stt": environment.names("SONIC_STT_MODELS", "ink-reference"),
    }
    site_key = environment.text("CARTESIA_API_KEY", "")
    if site_key and not presentable(site_key):
        environment.refuse(
            "CARTESIA_API_KEY must be printable ASCII, at most 512 characters: write the key anew"
        )
    queue_timeout_s = environment.number("SONIC_QUEUE_TIMEOUT", 2.0, 0.0, 3600.0)
    queue_limit = environment.integer("SONIC_QUEUE_LIMIT", 64, 0, 100_000)
    stream_timeout_s = environment.number("SONIC_STREAM_TIMEOUT", 5.0, 2.0, 300.0)
    max_body_bytes = environment.integer("SONIC_MAX_BODY_BYTES", 262_144, 1024, 900_000)
    max_audio_bytes = environment.integer("SONIC_MAX_AUDIO_BYTES", 26_214_400, 1024, 2**30)
    ttl_s = environment.number("SONIC_AUTHORIZATION_TTL", 10.0, 0.0, 3600.0)
    grace_s = environment.number("SONIC_AUTHORIZATION_GRACE", 300.0, 0.0, 86400.0)
    shutdown_delay_s = environment.number("SONIC_SHUTDOWN_DELAY", 3.0, 0.0, 300.0)
    drain_timeout_s = environment.number("SONIC_DRAIN_TIMEOUT", 600.0, 0.0, 86400.0)
    offerings_key = environment.text("SONIC_OFFERINGS_KEY", "")
    library_replicas = environment.integer("SONIC_LIBRARY_REPLICAS", 1, 1, 5)
    artifacts_url = environment.optional_url("SONIC_ARTIFACTS_URL", ("http", "https"))
    artifacts_folder = environment.text("SONIC_ARTIFACTS_FOLDER", "/tmp/artifacts")
    limits = Limits.read(environment)
    environment.check()

    metrics = ApiMetrics()
    pod = messaging.member_id(socket.gethostname())
    dispatcher = Dispatcher(
        metrics,
        pod=pod,
        models=models,
        queue_timeout_s=queue_timeout_s,
        queue_limit=queue_limit,
        stream_timeout_s=stream_timeout_s,
        offerings_key=offerings_key,
    )
    health = Health(dispatcher)
    library = Library(library_replicas)
    voices = Voices()

    def take(found: Catalogue) -> None:
        voices.deliver(found.voices, found.presets)
        library.deliver(found.dictionaries)

    follower = (
        Follower(
            artifacts_url, Path(artifacts_folder), f"api/{socket.gethostname()}", take,
            FollowerMetrics(metrics.registry),
        ) if artifacts_url else None
    )  # fmt: skip
    connections = httpx.Limits(max_connections=MAX_CONNECTIONS)
    async with httpx.AsyncClient(
        base_url=proxy_url, timeout=2.0, trust_env=False, limits=connections
    ) as proxy:
        credentials = Credentials(
            Authorizer(proxy, metrics, ttl_s=ttl_s, grace_s=grace_s), site_key
        )
        site = Site(
            health, credentials, library, voices, metrics, max_body_bytes, max_audio_bytes, limits
        )
        public = service.Listener(create_app(site), host, port, busy=lambda: site.sessions.work > 0)
        private = service.Listener(
            service.metrics_app(metrics.registry, lambda: health.ready), host, metrics_port
        )
        reporter = UsageReporter(proxy, metrics, pod, site_key)
        reporting = asyncio.create_task(reporter.run())
        await private.start()
        await public.start()
        stopping = asyncio.create_task(stop.wait())
        connecting = asyncio.create_task(
            messaging.connect(nats_url, f"api {pod}", protocol.API_INBOX)
        )
        await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if connecting.done():
            # Before requests come, which may name what clients and operators have made.
            await library.start(await connecting)
            following = asyncio.create_task(follower.start()) if follower else None
            if not await library.loaded(LIBRARY_PATIENCE_S):
                log.warning("starting without the dictionaries that clients made")
            if following:
                await following
            await dispatcher.start(connecting.result())
            await stopping
        health.draining = True
        if connecting.done():
            log.info("draining: no new requests in %g s", shutdown_delay_s)
            # Whoever routes requests here must first have seen that this pod is not ready any more.
            await asyncio.sleep(shutdown_delay_s)
        site.sessions.draining = True
        await public.stop(drain_timeout_s)
        await library.stop()
        if follower:
            await follower.stop()
        await dispatcher.stop()
        if connecting.done():
            await messaging.close(connecting.result())
        else:
            connecting.cancel()
        reporting.cancel()
        await reporter.report()
        await private.stop(1)
        log.info("drained")


if __name__ == "__main__":
    sys.exit(service.run("api", main))
