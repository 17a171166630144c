# SPDX-License-Identifier: Apache-2.0
"""Run the API server: ``python3 -m sonic_reference.api``; README.md lists its environment."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys

import httpx
from nats.aio.client import Client

from sonic_reference import messaging, protocol, service
from sonic_reference.api.app import create_app
from sonic_reference.api.authorization import MAX_CONNECTIONS, Authorizer
from sonic_reference.api.credentials import Credentials
from sonic_reference.api.dispatch import Dispatcher
from sonic_reference.api.library import Library
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.api.settings import ApiSettings
from sonic_reference.api.site import Site
from sonic_reference.api.usage import UsageReporter
from sonic_reference.artifacts.catalogue import Catalogue
from sonic_reference.artifacts.follower import Follower
from sonic_reference.artifacts.metrics import FollowerMetrics
from sonic_reference.voices import Voices

log = logging.getLogger(__name__)

# A NATS server without JetStream has no dictionaries; requests without one are served all the same.
LIBRARY_PATIENCE_S = 5.0


async def main(settings: ApiSettings, stop: asyncio.Event) -> None:
    """Serve until stopped, then finish what is in progress."""
    pod = messaging.member_id(socket.gethostname())
    async with httpx.AsyncClient(
        base_url=settings.proxy_url,
        timeout=2.0,
        trust_env=False,
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
    ) as proxy:
        site = build(settings, pod, proxy)
        reporter = UsageReporter(proxy, site.metrics, pod, settings.site_key)
        reporting = asyncio.create_task(reporter.run())
        private = service.Listener(
            service.metrics_app(site.metrics.registry, lambda: site.ready),
            settings.host,
            settings.metrics_port,
        )
        await private.start()
        await serve(site, pod, stop)
        reporting.cancel()
        await reporter.report()
        await private.stop(1)
        log.info("drained")


def build(settings: ApiSettings, pod: str, proxy: httpx.AsyncClient) -> Site:
    """Return the parts of a pod, connected to nothing yet; ``proxy`` asks the license proxy."""
    metrics = ApiMetrics()
    dispatcher = Dispatcher(
        metrics,
        pod=pod,
        models={"tts": settings.models, "stt": settings.stt_models},
        queue_timeout_s=settings.queue_timeout_s,
        queue_limit=settings.queue_limit,
        stream_timeout_s=settings.stream_timeout_s,
        offerings_key=settings.offerings_key,
    )
    authorizer = Authorizer(
        proxy,
        metrics,
        ttl_s=settings.authorization_ttl_s,
        grace_s=settings.authorization_grace_s,
    )
    credentials = Credentials(authorizer, settings.site_key)
    library = Library(settings.library_replicas)
    return Site(settings, dispatcher, credentials, library, Voices(), metrics)


def follower_of(site: Site) -> Follower | None:
    """Return what keeps the site's voices and dictionaries current, None without artifacts."""
    artifacts = site.settings.artifacts

    def take(catalogue: Catalogue) -> None:
        site.voices.deliver(catalogue.voices, catalogue.presets)
        site.library.deliver(catalogue.dictionaries)

    if not artifacts.url:
        return None
    return Follower(
        artifacts.url,
        artifacts.folder,
        f"api/{socket.gethostname()}",
        take,
        FollowerMetrics(site.metrics.registry),
    )


async def serve(site: Site, pod: str, stop: asyncio.Event) -> None:
    """Answer requests until stopped, and finish those in progress."""
    settings, follower = site.settings, follower_of(site)
    public = service.Listener(
        create_app(site), settings.host, settings.port, busy=lambda: site.sessions.work > 0
    )
    await public.start()
    stopping = asyncio.create_task(stop.wait())
    connecting = asyncio.create_task(
        messaging.connect(settings.nats_url, f"api {pod}", protocol.API_INBOX)
    )
    await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    client = connecting.result() if connecting.done() else None
    if client:
        await join(site, client, follower)
        await stopping
    else:
        connecting.cancel()
    site.draining = True
    if client:
        log.info("draining: no new requests in %g s", settings.shutdown_delay_s)
        # The ingress must first see that this pod is no longer ready.
        await asyncio.sleep(settings.shutdown_delay_s)
    site.sessions.draining = True
    await public.stop(settings.drain_timeout_s)
    await site.library.stop()
    if follower:
        await follower.stop()
    await site.dispatcher.stop()
    if client:
        await messaging.close(client)


async def join(site: Site, client: Client, follower: Follower | None) -> None:
    """Load what requests may name, then take requests."""
    await site.library.start(client)
    following = asyncio.create_task(follower.start()) if follower else None
    if not await site.library.loaded(LIBRARY_PATIENCE_S):
        log.warning("starting without the dictionaries that clients made")
    if following:
        await following
    await site.dispatcher.start(client)


if __name__ == "__main__":
    sys.exit(service.run("api", ApiSettings, main))
