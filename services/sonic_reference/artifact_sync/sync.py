# SPDX-License-Identifier: Apache-2.0
"""Read the source at intervals, and make a new generation when it changed."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sonic_reference.artifact_sync.metrics import SyncMetrics
from sonic_reference.artifact_sync.sources import Listed, Source, SourceError
from sonic_reference.artifacts import catalogue, seal
from sonic_reference.artifacts.generations import (
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_TOTAL_BYTES,
    NAME,
    Entry,
    Generation,
    Generations,
    Manifest,
    MismatchError,
    Staging,
    digest,
)

log = logging.getLogger(__name__)

FAILURES = (SourceError, MismatchError, catalogue.InvalidArtifactsError, OSError)
REASONS = dict(zip(FAILURES, ("source", "mismatch", "invalid", "disk"), strict=True))

TOO_MUCH = f"all files: together larger than {MAX_TOTAL_BYTES} bytes"


class Sync:
    """Reads the source every ``interval_s``, and less often after failures."""

    def __init__(
        self,
        source: Source,
        generations: Generations,
        metrics: SyncMetrics,
        *,
        interval_s: float,
        longest_pause_s: float,
        key: Ed25519PublicKey | None = None,
    ) -> None:
        """With a key, only generations that its owner signed are served."""
        self._source = source
        self._generations = generations
        self._metrics = metrics
        self._interval_s = interval_s
        self._longest_pause_s = max(interval_s, longest_pause_s)
        self._key = key
        # The version of the signed list that the current generation was made by.
        self.sealed = ""
        self._change = asyncio.Event()
        self._ignored: frozenset[str] = frozenset()
        # Why the last read failed, empty when it did not; the kind of failure, and the versions
        # of the files that it saw.
        self.failure = ""
        self.reason = ""
        self.examined: dict[str, str] = {}
        self._seen: dict[str, str] = {}
        metrics.interval.set(interval_s)
        if key and generations.current and not generations.current.manifest.number:
            log.warning("what is there is not signed: nothing is served until something is")
            generations.forget()
        if generations.current:
            self._tell(generations.current)

    @property
    def current(self) -> Generation | None:
        """The newest generation, None before the first."""
        return self._generations.current

    def versions(self) -> dict[str, str]:
        """Return the version of each file that is served, and of the signed list of them."""
        entries = self.current.manifest.entries if self.current else ()
        signed = {seal.FILE: self.sealed} if self.sealed else {}
        return {one.name: one.version for one in entries} | signed

    async def newer(self, have: str, timeout_s: float) -> Generation | None:
        """Return the generation when it is not ``have``; wait for one at most ``timeout_s``."""
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
        """Read the source until cancelled."""
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
        """Read the source once; returns whether there is a new generation.

        Raises SourceError, MismatchError, InvalidArtifactsError or OSError; nothing changes then.
        """
        objects = await asyncio.to_thread(self._source.list)
        listed = self._artifacts(objects)
        signature = objects.get(seal.FILE) if self._key else None
        seen = {name: one.version for name, one in listed.items()}
        self._seen = seen | ({seal.FILE: signature.version} if signature else {})
        _check_sizes(listed)
        before = self._generations.current
        known = {one.name: one for one in before.manifest.entries} if before else {}
        versions = {name: one.version for name, one in known.items()}
        changed = before is None or versions != seen
        if changed or (self._key and (not signature or signature.version != self.sealed)):
            made = await asyncio.to_thread(self._make, listed, known, signature)
            self.sealed = signature.version if signature else ""
            changed = before is None or made.manifest != before.manifest
        if changed:
            self._tell(made)
            self._change.set()
            self._change = asyncio.Event()
            log.info("generation %s: %d files", made.manifest.generation, len(listed))
        self._metrics.last_success.set_to_current_time()
        return changed

    def _artifacts(self, listed: Mapping[str, Listed]) -> dict[str, Listed]:
        """Return the artifacts among the listed files; log the others once."""
        artifacts = {
            name: one
            for name, one in listed.items()
            if name.partition("/")[0] in catalogue.FOLDERS and NAME.fullmatch(name)
        }
        # Consoles make an object for each folder.
        ignored = frozenset(
            name for name in listed if name not in (*artifacts, seal.FILE) and name[-1:] != "/"
        )
        new = sorted(ignored - self._ignored)
        for name in new[: catalogue.MAX_LINES]:
            log.warning("ignored: %r is not in one of %s", name, ", ".join(catalogue.FOLDERS))
        if len(new) > catalogue.MAX_LINES:
            log.warning("ignored: and %d more", len(new) - catalogue.MAX_LINES)
        self._ignored = ignored
        self._metrics.ignored.set(len(ignored))
        return artifacts

    def _make(
        self, listed: Mapping[str, Listed], known: Mapping[str, Entry], signature: Listed | None
    ) -> Generation:
        """Fetch what is new, check everything, and publish it."""
        with self._generations.stage() as staging:
            signed = self._signed(signature, staging, set(listed))
            entries: list[Entry] = []
            left = MAX_TOTAL_BYTES
            for name, one in listed.items():
                old = known.get(name)
                before = self._generations.current
                if before and old and old.version == one.version:
                    staging.reuse(old, before)
                    entry = old
                else:
                    path = staging.path(name)
                    self._source.fetch(one, path)
                    entry = self._entry(one, path)
                left -= entry.size
                if left < 0:
                    raise catalogue.InvalidArtifactsError(TOO_MUCH)
                if signed:
                    signed.check(entry)
                entries.append(entry)
            catalogue.read(staging.files)
            number = signed.number if signed else 0
            self._check_number(Manifest.of(entries, number))
            return self._generations.publish(staging, entries, number)

    def _signed(
        self, signature: Listed | None, staging: Staging, names: set[str]
    ) -> seal.Seal | None:
        """Return the signed list of files, None without a key. Raises InvalidArtifactsError."""
        if self._key is None:
            return None
        if signature is None:
            raise catalogue.InvalidArtifactsError(
                f"{seal.FILE}: it is not there, and artifact_sync_public_key wants the files signed"
            )
        path = staging.folder / seal.FILE
        self._source.fetch(signature, path)
        self._metrics.downloaded.inc(path.stat().st_size)
        signed = seal.opened(path.read_bytes(), self._key)
        signed.check_names(names)
        return signed

    def _check_number(self, made: Manifest) -> None:
        """Refuse a signed list that is older than the one served. Raises InvalidArtifactsError."""
        before = self._generations.current.manifest if self._generations.current else None
        if before is None or made.number > before.number or made.generation == before.generation:
            return
        if self._key:
            raise catalogue.InvalidArtifactsError(
                f"{seal.FILE}: its number {made.number} is not higher than {before.number}, which"
                " is served: an older list, or one that needs a new number"
            )

    def _entry(self, one: Listed, path: Path) -> Entry:
        size = path.stat().st_size
        _check_sizes({one.name: replace(one, size=size)})
        self._metrics.downloaded.inc(size)
        return Entry(name=one.name, version=one.version, size=size, sha256=digest(path))

    def _tell(self, generation: Generation) -> None:
        manifest = generation.manifest
        self._metrics.generation.clear()
        self._metrics.generation.labels(manifest.generation).set(1)
        for folder in catalogue.FOLDERS:
            count = sum(one.name.startswith(f"{folder}/") for one in manifest.entries)
            self._metrics.files.labels(folder).set(count)


def _check_sizes(listed: Mapping[str, Listed]) -> None:
    """Refuse too many files, and too large ones, by the sizes that the source lists.

    Raises InvalidArtifactsError.
    """
    if len(listed) > MAX_FILES:
        raise catalogue.InvalidArtifactsError(f"all files: {len(listed)}, more than {MAX_FILES}")
    sizes = {name: one.size or 0 for name, one in listed.items()}
    catalogue.refuse(
        [
            f"{name}: larger than {MAX_FILE_BYTES} bytes"
            for name, size in sizes.items()
            if size > MAX_FILE_BYTES
        ]
    )
    if sum(sizes.values()) > MAX_TOTAL_BYTES:
        raise catalogue.InvalidArtifactsError(TOO_MUCH)
