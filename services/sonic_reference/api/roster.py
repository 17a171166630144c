# SPDX-License-Identifier: Apache-2.0
"""Which workers are there, from what they announce of themselves."""

from __future__ import annotations

import asyncio
import time

from sonic_reference.errors import ApiError
from sonic_reference.protocol import ROSTER_TTL_S, Announcement


class Roster:
    """The workers heard of lately.

    ``models`` are the offerings this site means to have, also while they have no worker. The first
    one answers for the public model names (those that start with "sonic") which no worker serves
    by that name.
    """

    def __init__(self, models: tuple[str, ...]) -> None:
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
        if model_id in self._models or self.served(operation, model_id):
            return model_id
        if model_id.startswith("sonic"):
            return self._models[0]
        raise ApiError(
            404,
            "model_not_found",
            "Model not found",
            f"This site does not serve model {model_id!r}",
        )
