# SPDX-License-Identifier: Apache-2.0
"""The latest time that was seen, and the newest licence: marks that only go up.

The host's clock is what its owner sets it to. So the license proxy keeps the latest time that it
ever saw, and lets time go on from there while it runs, by the host's uptime. A clock that is set
back then revives nothing, and does not stop the time either.

A clock that ran ahead leaves a mark in the future. A licence in force counts by that mark: nothing
on the host tells a clock that was wrong from one that is wrong now. Only the vendor can: a newer
licence takes back a mark that was reached by a leap of more than a year.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

# A clock that moves ahead by more than that at once, in seconds, is doubted.
LEAP_S = 366 * 86400.0
# A clock that is behind by no more than that (seconds) is not reported.
SKEW_S = 300.0


@dataclass(frozen=True)
class Mark:
    """What was seen so far; times are seconds since the epoch, None where nothing was seen.

    ``latest`` is the latest time, ``steady`` the latest that was not reached by a leap. ``licence``
    and ``issued_at`` are the newest offline licence's. ``since`` is when the license endpoint last
    confirmed the licence, or connected mode began: grace counts from it.
    """

    latest: float | None = None
    steady: float | None = None
    licence: str = ""
    issued_at: float | None = None
    since: float | None = None

    def seen(self, now: float, elapsed_s: float) -> Mark:
        """Return the mark after so many seconds of uptime, when the clock says ``now``."""
        if self.latest is None:
            return self
        steady = (self.latest if self.steady is None else self.steady) + elapsed_s
        if now - steady <= LEAP_S:
            steady = max(steady, now)
        return replace(self, steady=steady, latest=max(self.latest + elapsed_s, steady, now))

    def begun(self, at: float) -> Mark:
        """Return the mark after the watch on the time began; unchanged if it had begun before."""
        return self if self.latest is not None else replace(self, latest=at, steady=at)

    def latest_of(self, now: float) -> float:
        """Return the latest time that was seen, the clock's among them."""
        return now if self.latest is None else max(now, self.latest)

    def sure(self, now: float) -> float:
        """Return the time that counts for a newer licence: without leaps of the clock."""
        return now if self.steady is None else max(now, self.steady)

    def licensed(self, name: str, issued_at: float, now: float) -> Mark:
        """Return the mark after a newer licence: a leap of the clock is taken back."""
        steady = issued_at if self.steady is None else max(self.steady, issued_at)
        if now - steady <= LEAP_S:
            steady = max(steady, now)
        return replace(
            self, latest=max(steady, now), steady=steady, licence=name, issued_at=issued_at
        )

    def confirmed(self, now: float) -> Mark:
        """Return the mark after the license endpoint said yes: a mark far ahead is taken back."""
        if self.latest is None or self.latest - now > SKEW_S:
            return replace(self, latest=now, steady=now, since=now)
        return replace(self, since=now)

    def joined(self, other: Mark) -> Mark:
        """Return the higher of each."""
        newest = max(
            (self, other), key=lambda one: -math.inf if one.issued_at is None else one.issued_at
        )
        return Mark(
            latest=_higher(self.latest, other.latest),
            steady=_higher(self.steady, other.steady),
            licence=newest.licence,
            issued_at=newest.issued_at,
            since=_higher(self.since, other.since),
        )

    def fields(self) -> dict[str, str]:
        """Return it for the audit log."""
        times = {name: getattr(self, name) for name in TIMES}
        shown = {name: precise(when) for name, when in times.items() if when is not None}
        return shown | ({"licence": self.licence} if self.licence else {})

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Mark:
        """Return what :meth:`fields` made. Raises ValueError, TypeError, OverflowError."""
        times = {
            name: datetime.fromisoformat(fields[name]).timestamp()
            for name in TIMES
            if name in fields
        }
        return cls(licence=str(fields.get("licence", "")), **times)


TIMES = ("latest", "steady", "issued_at", "since")


def precise(when: float) -> str:
    """Return a time in UTC with all that a licence's time may have."""
    return datetime.fromtimestamp(when, UTC).isoformat()


def _higher(one: float | None, other: float | None) -> float | None:
    return max((when for when in (one, other) if when is not None), default=None)
