# SPDX-License-Identifier: Apache-2.0
"""Count the text that waits to be spoken: of a context, of its socket, and of its key."""

from __future__ import annotations

import asyncio
import contextlib
import time


class Meter:
    """Bytes that wait, within a limit of their own and those of the meter around it."""

    def __init__(self, limit: int, around: Meter | None = None) -> None:
        self._limit = limit
        self._around = around
        self._changed: asyncio.Future[None] | None = None
        self.used = 0

    def fits(self, size: int) -> bool:
        """Whether ``size`` more bytes may wait."""
        return self.used + size <= self._limit and (self._around is None or self._around.fits(size))

    def take(self, size: int) -> None:
        """Count bytes that wait from now on."""
        self.used += size
        if self._around:
            self._around.take(size)

    def give(self, size: int) -> None:
        """Stop counting bytes that no longer wait."""
        self.used -= size
        if self._changed and not self._changed.done():
            self._changed.set_result(None)
        if self._around:
            self._around.give(size)

    def clear(self) -> None:
        """Stop counting all bytes."""
        self.give(self.used)

    async def room(self, size: int, timeout_s: float) -> bool:
        """Wait at most ``timeout_s`` until so many bytes fit; returns whether they do."""
        ends = time.monotonic() + timeout_s
        while not self.fits(size):
            full = self._full(size)
            # More than the whole limit never fits.
            if full is None or size > full._limit:
                return False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, ends - time.monotonic())):
                    await full._change()
            if time.monotonic() >= ends:
                return self.fits(size)
        return True

    def _full(self, size: int) -> Meter | None:
        """Return the innermost meter that is at its limit."""
        if self.used + size > self._limit:
            return self
        return self._around._full(size) if self._around else None

    async def _change(self) -> None:
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)
