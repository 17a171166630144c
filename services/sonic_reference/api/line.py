# SPDX-License-Identifier: Apache-2.0
"""The order in which requests get one offering's streams."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
from collections.abc import Generator


class Ticket:
    """A place in the line: replies that have begun come before new ones, each in their order."""

    def __init__(self, begun: bool, number: int) -> None:
        self.order = (not begun, number)
        self.begun = begun
        self.first = asyncio.Event()


class Line:
    """The requests that wait for a stream of one offering.

    A reply needs a stream for each of its sentences. Once it has begun it must not lose its place
    to replies that can still be refused as a whole.
    """

    def __init__(self) -> None:
        self._tickets: list[Ticket] = []
        self._number = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._tickets)

    @property
    def new(self) -> int:
        """How many of those that wait have not begun."""
        return sum(not ticket.begun for ticket in self._tickets)

    def free(self, begun: bool) -> bool:
        """Whether a request that comes now is the first in line."""
        return not self._tickets or (begun and not self._tickets[0].begun)

    @contextlib.contextmanager
    def join(self, begun: bool) -> Generator[Ticket, None, None]:
        """Stand in line until the block ends."""
        self._number += 1
        ticket = Ticket(begun, self._number)
        bisect.insort(self._tickets, ticket, key=lambda each: each.order)
        self._call()
        try:
            yield ticket
        finally:
            self._tickets.remove(ticket)
            self._call()

    def _call(self) -> None:
        """Let the first one go ahead, and only that one."""
        for place, ticket in enumerate(self._tickets):
            if place == 0:
                ticket.first.set()
            else:
                ticket.first.clear()
