# SPDX-License-Identifier: Apache-2.0
"""The state of a licence: pure functions of what is known, and of the time.

    Connected --- not confirmed --> Grace --- grace period over --> Expired
    AirGapped --- past its end ---> Grace --- grace period over --> Expired

Whatever confirms or renews the licence leads straight back to Connected or AirGapped. Times are
seconds since the epoch, by the host's clock or the latest time seen (marks).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sonic_reference.license_proxy.marks import SKEW_S

CONNECTED, AIR_GAPPED, GRACE, EXPIRED = "connected", "airgapped", "grace", "expired"
# As the label of license_proxy_state, and the alerts on it, have them.
STATES = (CONNECTED, AIR_GAPPED, GRACE, EXPIRED)


@dataclass(frozen=True)
class Verdict:
    """A state, why, and until when it lasts if nothing else happens (None: no end is known).

    ``operations`` are those that the licence is for, None when it does not say.
    """

    state: str
    reason: str
    until: float | None = None
    operations: frozenset[str] | None = None


@dataclass(frozen=True)
class Confirmation:
    """What connected mode knows: when it began, the last confirmation, and the last problem.

    ``problem`` is empty while the last check confirmed the licence. ``refused`` is true when the
    endpoint refused it. ``expires_at`` is the licence's end, for information only: the endpoint's
    confirmation decides.
    """

    began_at: float
    confirmed_at: float | None = None
    expires_at: float | None = None
    operations: frozenset[str] | None = None
    problem: str = "not checked yet"
    refused: bool = False


def connected(known: Confirmation, now: float, grace_s: float) -> Verdict:
    """Return the state in connected mode.

    Without an answer speech goes on for the grace period, which counts from the last confirmation.
    Without any it counts from the start of connected mode, so that a network failure does not stop
    a new site. A site that was refused and never confirmed gets no grace period.
    """
    if not known.problem:
        return Verdict(CONNECTED, "confirmed by the license endpoint", None, known.operations)
    if known.confirmed_at is None and known.refused:
        return Verdict(EXPIRED, known.problem)
    until = (known.began_at if known.confirmed_at is None else known.confirmed_at) + grace_s
    if now < until:
        return Verdict(GRACE, known.problem, until, known.operations)
    return Verdict(EXPIRED, f"{known.problem}; the grace period ended {stamp(until)}")


def air_gapped(
    issued: tuple[float, frozenset[str] | None] | None, now: float, grace_s: float
) -> Verdict:
    """Return the state in air-gapped mode by the licence's end and operations.

    The end is None when there is no licence.
    """
    if issued is None:
        return Verdict(EXPIRED, "there is no licence: hand one in by POST /license")
    expires_at, operations = issued
    if now < expires_at:
        return Verdict(AIR_GAPPED, f"licensed until {stamp(expires_at)}", expires_at, operations)
    ended = f"the licence ended {stamp(expires_at)}"
    until = expires_at + grace_s
    if now < until:
        return Verdict(GRACE, ended, until, operations)
    return Verdict(EXPIRED, f"{ended}, its grace period {stamp(until)}")


def with_clock(verdict: Verdict, now: float, at: float) -> Verdict:
    """Return a verdict that names a clock (``now``) behind the time seen (``at``)."""
    if at - now <= SKEW_S:
        return verdict
    behind = (
        f"{verdict.reason}; the host's clock says {stamp(now)}, and {stamp(at)} was seen before:"
        " set the clock right, and if it is, see docs/license.md, A clock that ran ahead"
    )
    return replace(verdict, reason=behind)


def stamp(when: float) -> str:
    """Return a time as RFC 3339 has it, in UTC and whole seconds."""
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
