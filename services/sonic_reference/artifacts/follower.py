# SPDX-License-Identifier: Apache-2.0
"""How an API pod or a worker gets the site's artifacts from the artifact sync while it runs.

It asks for a generation that is newer than its own, and the sync answers when there is one. New
files are written beside those in use, checked, read, and only then published. After a failure the
old generation stays, and the pod tries again later.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
from collections.abc import Callable
from pathlib import Path

import httpx
from pydantic import ValidationError

from sonic_reference import bounded
from sonic_reference.artifacts import catalogue
from sonic_reference.artifacts.generations import (
    Entry,
    Generation,
    Generations,
    Manifest,
    MismatchError,
    Staging,
)
from sonic_reference.artifacts.metrics import FollowerMetrics

log = logging.getLogger(__name__)

# How long the sync may wait for something new before it answers.
WAIT_S = 25
# How long a pod's start waits for the newest generation; then it starts without.
PATIENCE_S = 15.0
TIMEOUT = httpx.Timeout(10.0, read=WAIT_S + 10)
# A generation of MAX_FILES files has half of that.
MAX_MANIFEST_BYTES = 2 * 1024 * 1024
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
FAILURES = (
    httpx.HTTPError,
    OSError,
    ValidationError,
    MismatchError,
    catalogue.InvalidArtifactsError,
)


class Follower:
    """Keeps the artifact sync's newest generation in a folder, and hands it on when it changes.

    ``take`` gets each generation's catalogue. It must not wait, so that all of it changes between
    two steps of the event loop.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        pod: str,
        take: Callable[[catalogue.Catalogue], None],
        metrics: FollowerMetrics,
    ) -> None:
        """Raises OSError when the folder cannot be used."""
        self._pod = pod
        self._take = take
        self._metrics = metrics
        self._generations = Generations(folder)
        self._client = httpx.AsyncClient(
            base_url=url, timeout=TIMEOUT, trust_env=False, headers=bounded.PLAIN
        )
        self._task: asyncio.Task[None] | None = None
        self._have = ""
        self._up_to_date = asyncio.Event()

    async def start(self, patience_s: float = PATIENCE_S) -> None:
        """Use the generation in the folder, wait a while for the newest, then follow."""
        if self._generations.current:
            with contextlib.suppress(*FAILURES):
                current = self._generations.current
                self._show(current, await asyncio.to_thread(catalogue.read, current.files))
        self._task = asyncio.create_task(self._follow())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._up_to_date.wait()
        if not self._up_to_date.is_set():
            log.warning("artifacts: starting with generation %s", self._have or "none")

    async def stop(self) -> None:
        """Stop following."""
        if self._task:
            self._task.cancel()
        await self._client.aclose()

    async def _follow(self) -> None:
        pause_s, last_problem = FIRST_PAUSE_S, ""
        while True:
            try:
                await self._step()
                pause_s, last_problem = FIRST_PAUSE_S, ""
                continue
            except FAILURES as error:
                self._metrics.failures.inc()
                if last_problem != (last_problem := f"{type(error).__name__} {error}"):
                    log.warning("artifacts: %s", last_problem)
            # Pods that lost the sync at the same time must not all come back at once.
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _step(self) -> None:
        """Ask once, and use what is new."""
        # The pod's start waits for the newest generation, so the sync must answer at once.
        wait_s = WAIT_S if self._up_to_date.is_set() else 0
        query: dict[str, str | int] = {"have": self._have, "pod": self._pod, "wait": wait_s}
        async with self._client.stream("GET", "/artifacts", params=query) as answer:
            answer.raise_for_status()
            content = await bounded.content(answer, MAX_MANIFEST_BYTES)
        if answer.status_code != httpx.codes.NO_CONTENT:
            manifest = self._acceptable(content)
            with self._generations.stage() as staging:
                for entry in manifest.entries:
                    await self._fetch(entry, staging)
                # Read before publishing: it raises for files that cannot be used.
                artifacts = await asyncio.to_thread(catalogue.read, staging.files)
                made = self._generations.publish(staging, manifest.entries, manifest.number)
            self._show(made, artifacts)
        self._up_to_date.set()

    def _acceptable(self, content: bytes) -> Manifest:
        """Return the sync's manifest. Raises ValidationError, MismatchError."""
        manifest = Manifest.model_validate_json(content)
        manifest.check()
        current = self._generations.current
        # A new artifact sync may have got an older signed list.
        if current and 0 < manifest.number < current.manifest.number:
            raise MismatchError(
                f"generation {manifest.generation} is signed with the number {manifest.number},"
                f" this pod has {current.manifest.number}: an older one"
            )
        return manifest

    async def _fetch(self, entry: Entry, staging: Staging) -> None:
        """Write one file, from the current generation or from the sync. Raises MismatchError."""
        before = self._generations.current
        for known in before.manifest.entries if before else ():
            if before and (known.name, known.sha256) == (entry.name, entry.sha256):
                staging.reuse(known, before)
                return
        total = hashlib.sha256()
        with staging.path(entry.name).open("wb") as file:
            async with self._client.stream("GET", f"/artifacts/files/{entry.sha256}") as answer:
                answer.raise_for_status()
                async for part in bounded.pieces(answer, entry.size):
                    total.update(part)
                    file.write(part)
        if total.hexdigest() != entry.sha256:
            raise MismatchError(f"{entry.name}: what came is not what the artifact sync named")

    def _show(self, generation: Generation, artifacts: catalogue.Catalogue) -> None:
        self._take(artifacts)
        self._have = generation.manifest.generation
        self._metrics.shows(self._have)
        log.info("artifacts: generation %s", self._have)
