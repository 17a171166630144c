# SPDX-License-Identifier: Apache-2.0
"""Run the artifact sync: ``python3 -m sonic_reference.artifact_sync``."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sonic_reference import service
from sonic_reference.artifact_sync.app import create_app
from sonic_reference.artifact_sync.metrics import SyncMetrics
from sonic_reference.artifact_sync.sources import Folder, Source, SourceError, open_bucket
from sonic_reference.artifact_sync.sync import Sync
from sonic_reference.artifacts import seal
from sonic_reference.artifacts.generations import Generations
from sonic_reference.settings import Environment


def source_of(environment: Environment) -> Source | None:
    """Return where artifacts come from, None when the settings do not say it."""
    bucket = environment.text("SONIC_ARTIFACTS_BUCKET", "")
    folder = environment.text("SONIC_ARTIFACTS_SOURCE", "")
    endpoint = environment.text("SONIC_ARTIFACTS_ENDPOINT", "https://storage.googleapis.com")
    account = environment.text("GOOGLE_APPLICATION_CREDENTIALS", "")
    if bool(bucket) == bool(folder):
        environment.refuse("set one of SONIC_ARTIFACTS_BUCKET and SONIC_ARTIFACTS_SOURCE")
        return None
    if folder:
        return Folder(Path(folder))
    try:
        info = json.loads(Path(account).read_bytes()) if account else None
        prefix = environment.text("SONIC_ARTIFACTS_PREFIX", "")
        return open_bucket(bucket, prefix, endpoint, info)
    except (OSError, ValueError, SourceError) as error:
        environment.refuse(f"GOOGLE_APPLICATION_CREDENTIALS={account!r}: {error}")
        return None


def key_of(environment: Environment) -> Ed25519PublicKey | None:
    """Return the key that generations are signed by, None when they need not be."""
    text = environment.text("SONIC_ARTIFACTS_PUBLIC_KEY", "")
    try:
        return seal.public_key(text) if text else None
    except ValueError:
        environment.refuse("SONIC_ARTIFACTS_PUBLIC_KEY is no Ed25519 public key in PEM form")
        return None


async def main(variables: Mapping[str, str], stop: asyncio.Event) -> None:
    """Serve until stopped."""
    environment = Environment(variables)
    host = environment.text("SONIC_HOST", "0.0.0.0")
    port = environment.integer("SONIC_PORT", 8080, 1, 65535)
    folder = environment.text("SONIC_ARTIFACTS_FOLDER", "/tmp/artifacts")
    interval_s = environment.number("SONIC_ARTIFACTS_INTERVAL", 30.0, 0.1, 86400.0)
    longest_s = environment.number("SONIC_ARTIFACTS_LONGEST_PAUSE", 300.0, 0.1, 86400.0)
    source = source_of(environment)
    key = key_of(environment)
    environment.check()
    if source is None:
        return
    # Google's client asks another host, in the background, for what only its own network needs: a
    # site that does not let it is not to be warned of it again and again.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    metrics = SyncMetrics()
    generations = await asyncio.to_thread(Generations, Path(folder))
    sync = Sync(
        source, generations, metrics, interval_s=interval_s, longest_pause_s=longest_s, key=key
    )
    listener = service.Listener(create_app(sync, metrics), host, port)
    await listener.start()
    looking = asyncio.create_task(sync.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({looking, stopping}, return_when=asyncio.FIRST_COMPLETED)
    # Followers' questions are kept waiting, and asked again elsewhere when they are cut.
    await listener.stop(0)
    stopping.cancel()
    if looking.done():
        # It only ends by a bug, which is to be seen.
        looking.result()
    looking.cancel()


if __name__ == "__main__":
    sys.exit(service.run("artifact-sync", main))
