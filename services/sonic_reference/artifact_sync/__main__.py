# SPDX-License-Identifier: Apache-2.0
"""Run the artifact sync: ``python3 -m sonic_reference.artifact_sync``."""

from __future__ import annotations

import asyncio
import logging
import sys

from sonic_reference import service
from sonic_reference.artifact_sync.app import create_app
from sonic_reference.artifact_sync.metrics import SyncMetrics
from sonic_reference.artifact_sync.settings import SyncSettings
from sonic_reference.artifact_sync.sync import Sync
from sonic_reference.artifacts.generations import Generations


async def main(settings: SyncSettings, stop: asyncio.Event) -> None:
    """Serve until stopped."""
    # Google's client asks another host in the background for what only Google's own network needs.
    # Without this, a site that blocks that host gets a warning each time.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    metrics = SyncMetrics()
    generations = await asyncio.to_thread(Generations, settings.folder)
    sync = Sync(
        settings.source,
        generations,
        metrics,
        interval_s=settings.interval_s,
        longest_pause_s=settings.longest_pause_s,
        key=settings.public_key,
    )
    listener = service.Listener(create_app(sync, metrics), settings.host, settings.port)
    await listener.start()
    looking = asyncio.create_task(sync.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({looking, stopping}, return_when=asyncio.FIRST_COMPLETED)
    # Followers that wait for an answer are cut; they ask again.
    await listener.stop(0)
    stopping.cancel()
    if looking.done():
        # It ends only by a bug: raise it.
        looking.result()
    looking.cancel()


if __name__ == "__main__":
    sys.exit(service.run("artifact-sync", SyncSettings, main))
