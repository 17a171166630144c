# SPDX-License-Identifier: Apache-2.0
"""Connected mode: checks with the vendor's license endpoint, and sends it the usage."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import httpx
from pydantic import AwareDatetime, BaseModel, TypeAdapter, ValidationError

from sonic_reference import bounded
from sonic_reference.license_proxy import states
from sonic_reference.license_proxy.audit import AuditLog
from sonic_reference.license_proxy.states import Confirmation, Verdict, stamp
from sonic_reference.license_proxy.store import Store

log = logging.getLogger(__name__)

STORED = "confirmation.json"
TIMEOUT_S = 10.0
# After a check that failed the next one comes this soon, then twice as late each time.
FIRST_RETRY_S = 5.0
# Sites that start or lose their connection at the same time must not all ask at once.
JITTER = 0.2
MAX_ANSWER_BYTES = 65536
REFUSED = (401, 402, 403)
CONFIRMATION = TypeAdapter(Confirmation)


class _Licence(BaseModel):
    expires_at: AwareDatetime | None = None
    operations: frozenset[Literal["tts", "stt"]] | None = None


class Answer(BaseModel):
    """The endpoint's answer."""

    valid: bool
    reason: str = ""
    license: _Licence = _Licence()


def pause(failures: int, interval_s: float, chance: Callable[[], float] = random.random) -> float:
    """Return the seconds until the next check, after ``failed`` failures in a row."""
    wait_s = interval_s
    if failures:
        # Larger powers of two are beyond the longest interval.
        wait_s = min(interval_s, FIRST_RETRY_S * 2 ** min(failures - 1, 30))
    return wait_s * (1 - JITTER + 2 * JITTER * chance())


class Connected:
    """Connected mode; the endpoint's last answer is kept in the store."""

    mode = states.CONNECTED

    def __init__(
        self,
        client: httpx.AsyncClient,
        store: Store,
        telemetry: Callable[[], Mapping[str, Any]],
        *,
        url: str,
        key: str,
        grace_s: float,
        interval_s: float,
        audit: AuditLog | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises OSError when the audit log cannot be read."""
        self.audit = audit or AuditLog(store)
        self._client = client
        self._store = store
        self._telemetry = telemetry
        self._url = url
        self._key = key
        self._grace_s = grace_s
        self._interval_s = interval_s
        self._clock = clock
        self._failures = 0
        self.checks: Counter[str] = Counter(confirmed=0, refused=0, unreachable=0)
        self.audit.begin(clock())
        self.known = _kept(store) or Confirmation(self._began())

    @property
    def expires_at(self) -> float | None:
        """The licence's end, None when the endpoint did not send it."""
        return self.known.expires_at

    def verdict(self, now: float) -> Verdict:
        """See :func:`states.connected`; at the latest time seen, the clock's among them."""
        at = self.audit.see(now)
        return states.with_clock(states.connected(self.known, at, self._grace_s), now, at)

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(pause(self._failures, self._interval_s))
            await self.check()

    async def check(self) -> None:
        """Ask once, and keep the result."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                result, known = self._evaluate(await self._ask())
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValidationError) as error:
            result = "unreachable"
            host = httpx.URL(self._url).netloc.decode("ascii")
            known = replace(self.known, problem=f"no answer from {host}: {_short(error)}")
        self.checks[result] += 1
        self._failures = 0 if result == "confirmed" else self._failures + 1
        if known.problem and known.problem != self.known.problem:
            log.warning("license check: %s", known.problem)
        self.known = known
        if result == "confirmed":
            self.audit.confirmed(self._clock())
        try:
            self._store.write(STORED, CONFIRMATION.dump_json(known))
        except OSError as error:
            log.error("the confirmation cannot be kept: %s", error)

    def _began(self) -> float:
        """Return the start of the grace period when no confirmation is kept."""
        since = self.audit.mark.since
        if since is None:
            return self._clock()
        log.error("no confirmation is kept, and there was one: grace counts from %s", stamp(since))
        return since

    async def _ask(self) -> tuple[int, bytes]:
        headers = bounded.PLAIN | {"Authorization": f"Bearer {self._key}"}
        async with self._client.stream(
            "POST", self._url, headers=headers, json=dict(self._telemetry())
        ) as response:
            return response.status_code, await bounded.content(response, MAX_ANSWER_BYTES)

    def _evaluate(self, response: tuple[int, bytes]) -> tuple[str, Confirmation]:
        """Return a check's result, and what is known after it.

        Raises ValidationError, HTTPError.
        """
        status, body = response
        if status in REFUSED:
            return "refused", self._refused(f"status {status}")
        if status != 200:
            raise httpx.DecodingError(f"status {status}")
        answer = Answer.model_validate_json(body)
        if not answer.valid:
            return "refused", self._refused(_printable(answer.reason) or "no reason given")
        end = answer.license.expires_at
        return "confirmed", Confirmation(
            began_at=self.known.began_at,
            confirmed_at=self._clock(),
            expires_at=end.timestamp() if end else None,
            operations=answer.license.operations,
            problem="",
        )

    def _refused(self, reason: str) -> Confirmation:
        problem = f"the license endpoint refused: {reason}"
        return replace(self.known, problem=problem, refused=True)


def _kept(store: Store) -> Confirmation | None:
    text = store.text(STORED)
    try:
        return CONFIRMATION.validate_json(text) if text else None
    except ValidationError:
        log.error("the confirmation that was kept cannot be read: the endpoint has to give another")
        return None


def _short(error: Exception) -> str:
    """Return what went wrong, without the answer's content."""
    if isinstance(error, ValidationError):
        return "an answer that cannot be read"
    return _printable(str(error)) or type(error).__name__


def _printable(text: str) -> str:
    """Return a text from outside as one short line for the log."""
    return "".join(c for c in text[:200] if c.isprintable())
