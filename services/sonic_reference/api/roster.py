# SPDX-License-Identifier: Apache-2.0
"""The workers that announce themselves."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping

from sonic_reference.errors import ApiError
from sonic_reference.protocol import ROSTER_TTL_S, Announcement

# What the public names of each operation's models start with.
FAMILIES = {"tts": "sonic", "stt": "ink"}


class Roster:
    """The workers that announced themselves within ROSTER_TTL_S.

    ``models`` are the site's offerings by operation, with or without a worker. The first one
    answers for public model names (see FAMILIES) that no worker has.
    """

    def __init__(self, models: Mapping[str, tuple[str, ...]]) -> None:
        self._models = models
        self._workers: dict[str, tuple[float, Announcement]] = {}
        self._changed = asyncio.Event()

    def note(self, announcement: Announcement) -> None:
        """Take in an announcement."""
        if announcement.draining:
            self._workers.pop(announcement.worker, None)
        else:
            self._workers[announcement.worker] = (time.monotonic(), announcement)
        self._changed.set()
        self._changed = asyncio.Event()

    def key(self, worker: str) -> str:
        """Return a worker's public key, empty when the worker is not known."""
        known = self._workers.get(worker)
        return known[1].key if known else ""

    def forget(self, worker: str) -> None:
        """Count a worker as gone until it announces itself again."""
        self._workers.pop(worker, None)

    def reserve(self, worker: str) -> None:
        """Count one more job of a worker until it announces its own number."""
        if known := self._workers.get(worker):
            seen_at, announcement = known
            self._workers[worker] = (
                seen_at,
                announcement.model_copy(update={"load": announcement.load + 1}),
            )

    def freest(self, operation: str, model: str) -> str | None:
        """Return the worker of this offering that has most streams free, None when all are full."""
        free = [
            (announcement.free, random.random(), announcement.worker)
            for announcement in self.present()
            if (announcement.operation, announcement.model) == (operation, model)
            and announcement.free > 0
        ]
        return max(free)[2] if free else None

    async def change(self, timeout_s: float) -> None:
        """Wait for the next announcement, at most that long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    def present(self) -> list[Announcement]:
        """Return the last announcement of each worker that is present."""
        oldest = time.monotonic() - ROSTER_TTL_S
        self._workers = {
            name: (seen_at, announcement)
            for name, (seen_at, announcement) in self._workers.items()
            if seen_at >= oldest
        }
        return [announcement for _unused, announcement in self._workers.values()]

    def served(self, operation: str, model: str) -> bool:
        """Whether this offering has a worker, full or not."""
        return any(
            announcement.operation == operation
            and announcement.model == model
            and announcement.capacity > 0
            for announcement in self.present()
        )

    def resolve(self, operation: str, model_id: str) -> str:
        """Return the offering that answers for a model name. Raises ApiError 404."""
        models = self._models.get(operation, ())
        if model_id in models or self.served(operation, model_id):
            return model_id
        if models and model_id.startswith(FAMILIES[operation]):
            return models[0]
        raise ApiError(
            404,
            "model_not_found",
            "Model not found",
            f"This site does not serve model {model_id!r}",
        )
