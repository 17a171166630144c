# SPDX-License-Identifier: Apache-2.0
"""Look into the source at intervals, and make a whole new generation when it changed."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from pathlib import Path

from sonic_reference.artifact_sync.metrics import SyncMetrics
from sonic_reference.artifact_sync.sources import Listed, Source, SourceError
from sonic_reference.artifacts import catalogue
from sonic_reference.artifacts.generations import (
    NAME,
    Entry,
    Generation,
    Generations,
    MismatchError,
    digest,
)

log = logging.getLogger(__name__)

FAILURES = (SourceError, MismatchError, catalogue.InvalidArtifactsError, OSError)
REASONS = dict(zip(FAILURES, ("source", "mismatch", "invalid", "disk"), strict=True))


class Sync:
    """Keeps generations as the source is, looking every ``interval_s``; later after failures."""

    def __init__(
        self,
        source: Source,
        generations: Generations,
        metrics: SyncMetrics,
        *,
        interval_s: float,
        longest_pause_s: float,
    ) -> None:
        self._source = source
        self._generations = generations
        self._metrics = metrics
        self._interval_s = interval_s
        self._longest_pause_s = max(interval_s, longest_pause_s)
        self._change = asyncio.Event()
        self._ignored: frozenset[str] = frozenset()
        # Why the newest look failed, empty when it did not; by what kind of failure, and the
        # versions of the files that it saw.
        self.failure = ""
        self.reason = ""
        self.examined: dict[str, str] = {}
        self._seen: dict[str, str] = {}
        metrics.interval.set(interval_s)
        if generations.current:
            self._tell(generations.current)

    @property
    def current(self) -> Generation | None:
        """The newest generation, None before the first."""
        return self._generations.current

    async def newer(self, have: str, timeout_s: float) -> Generation | None:
        """Return the generation when it is, or within that time becomes, another than ``have``."""
        deadline = time.monotonic() + timeout_s
        while True:
            change = self._change
            if self.current and self.current.manifest.generation != have:
                return self.current
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await change.wait()
            except TimeoutError:
                return None

    async def run(self) -> None:
        """Look until cancelled."""
        failed = 0
        while True:
            try:
                await self.once()
                failed, self.failure, self.reason, self.examined = 0, "", "", {}
            except FAILURES as error:
                failed += 1
                self.failure, self.examined = str(error), self._seen
                self.reason = next(n for kind, n in REASONS.items() if isinstance(error, kind))
                self._metrics.failures.labels(self.reason).inc()
                for line in self.failure.splitlines():
                    log.error("%s: %s", self.reason, line)
            pause_s = min(self._interval_s * 2 ** min(failed, 10), self._longest_pause_s)
            await asyncio.sleep(pause_s * random.uniform(0.9, 1.0) if failed else self._interval_s)

    async def once(self) -> bool:
        """Look once; returns whether there is a new generation.

        Raises SourceError, MismatchError, InvalidArtifactsError or OSError; all is as before then.
        """
        listed = self._wanted(await asyncio.to_thread(self._source.list))
        self._seen = {name: one.version for name, one in listed.items()}
        before = self._generations.current
        known = {one.name: one for one in before.manifest.entries} if before else {}
        versions = {name: one.version for name, one in known.items()}
        changed = before is None or versions != self._seen
        if changed:
            made = await asyncio.to_thread(self._make, listed, known)
            self._tell(made)
            self._change.set()
            self._change = asyncio.Event()
            log.info("generation %s: %d files", made.manifest.generation, len(listed))
        self._metrics.last_success.set_to_current_time()
        return changed

    def _wanted(self, listed: Mapping[str, Listed]) -> dict[str, Listed]:
        """Leave out what is no artifact of this stack, and say so once."""
        found = {
            name: one
            for name, one in listed.items()
            if name.partition("/")[0] in catalogue.FOLDERS and NAME.fullmatch(name)
        }
        # Consoles make a folder's name itself an object.
        ignored = frozenset(name for name in listed if name not in found and name[-1:] != "/")
        for name in sorted(ignored - self._ignored):
            log.warning("ignored: %s is not in one of %s", name, ", ".join(catalogue.FOLDERS))
        self._ignored = ignored
        self._metrics.ignored.set(len(ignored))
        return found

    def _make(self, listed: Mapping[str, Listed], known: Mapping[str, Entry]) -> Generation:
        """Fetch what is new, check everything, and show it."""
        with self._generations.stage() as staging:
            entries = []
            for name, one in listed.items():
                old = known.get(name)
                before = self._generations.current
                if before and old and old.version == one.version:
                    staging.reuse(old, before)
                    entries.append(old)
                    continue
                path = staging.path(name)
                self._source.fetch(one, path)
                entries.append(self._entry(one, path))
            catalogue.read(staging.files)
            return self._generations.publish(staging, entries)

    def _entry(self, one: Listed, path: Path) -> Entry:
        size = path.stat().st_size
        self._metrics.downloaded.inc(size)
        return Entry(name=one.name, version=one.version, size=size, sha256=digest(path))

    def _tell(self, generation: Generation) -> None:
        manifest = generation.manifest
        self._metrics.generation.clear()
        self._metrics.generation.labels(manifest.generation).set(1)
        for folder in catalogue.FOLDERS:
            count = sum(one.name.startswith(f"{folder}/") for one in manifest.entries)
            self._metrics.files.labels(folder).set(count)
