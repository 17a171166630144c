# SPDX-License-Identifier: Apache-2.0
"""Which workers are there, from what they announce of themselves."""

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
    """The workers heard of lately.

    ``models`` are the offerings this site means to have by operation, also while they have no
    worker. The first one answers for the public model names (see FAMILIES) which no worker serves
    by that name.
    """

    def __init__(self, models: Mapping[str, tuple[str, ...]]) -> None:
        self._models = models
        self._workers: dict[str, tuple[float, Announcement]] = {}
        self._changed = asyncio.Event()

    def note(self, said: Announcement) -> None:
        """Take in an announcement."""
        if said.draining:
            self._workers.pop(said.worker, None)
        else:
            self._workers[said.worker] = (time.monotonic(), said)
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
        """Count one more job of a worker until it says itself how many it has."""
        if known := self._workers.get(worker):
            heard, said = known
            self._workers[worker] = (heard, said.model_copy(update={"load": said.load + 1}))

    def freest(self, operation: str, model: str) -> str | None:
        """Return the worker of this offering that has most streams free, None when all are full."""
        free = [
            (said.free, random.random(), said.worker)
            for said in self.present()
            if (said.operation, said.model) == (operation, model) and said.free > 0
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
        """Return what each worker that is there last said."""
        oldest = time.monotonic() - ROSTER_TTL_S
        self._workers = {
            name: (heard, said) for name, (heard, said) in self._workers.items() if heard >= oldest
        }
        return [said for _unused, said in self._workers.values()]

    def served(self, operation: str, model: str) -> bool:
        """Whether a worker of this offering is there, full or not."""
        return any(
            said.operation == operation and said.model == model and said.capacity > 0
            for said in self.present()
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
