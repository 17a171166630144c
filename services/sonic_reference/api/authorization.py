# SPDX-License-Identifier: Apache-2.0
"""Ask the license proxy about each request, and remember its answer for a short while."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass

import httpx

from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.errors import ApiError

log = logging.getLogger(__name__)

MAX_REMEMBERED = 4096
# A proxy that was just found away is not asked again for this long, so that requests don't wait
# in line for it.
RETRY_S = 1.0
REFUSALS = {
    401: ("invalid_api_key", "Unauthorized", "The API key is missing or invalid"),
    402: ("license_expired", "Payment required", "The site's licence is not in force any more"),
    403: ("forbidden", "Forbidden", "The site's licence does not include this operation"),
}


@dataclass(frozen=True)
class Answer:
    """What the proxy said, and until when (monotonic seconds) that may be used without asking."""

    status: int
    fresh_until: float
    stale_until: float


def refusal(status: int) -> ApiError:
    """Return the public error for a request that is not authorized."""
    code, title, message = REFUSALS[status]
    return ApiError(status, code, title, message)


class Authorizer:
    """Checks keys.

    A yes is kept for at most ``ttl_s``, and for ``grace_s`` while the proxy is away.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        metrics: ApiMetrics,
        *,
        ttl_s: float,
        grace_s: float,
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._ttl_s = ttl_s
        self._grace_s = grace_s
        # Keys are not kept: only digests that mean nothing outside this process.
        self._salt = secrets.token_bytes(32)
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Answer | None]] = {}
        self._away_until = 0.0

    async def check(self, key: str, operation: str) -> None:
        """Return when the key may do this.

        Raises ApiError 401, 402, 403, or 503 when nobody can say.
        """
        if not key:
            raise refusal(401)
        content = f"{operation}\0{key}".encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(content, key=self._salt).digest()
        known = self._answers.get(digest)
        now = time.monotonic()
        if known and now < known.fresh_until:
            self._metrics.authorizations.labels("cache").inc()
            answer: Answer | None = known
        else:
            answer = await self._ask_once(digest, key, operation)
            if answer:
                self._metrics.authorizations.labels("proxy").inc()
            elif known and known.status == 200 and now < known.stale_until:
                self._metrics.authorizations.labels("stale").inc()
                answer = known
        if answer is None:
            self._metrics.authorizations.labels("unavailable").inc()
            raise ApiError(
                503,
                "license_unavailable",
                "Service unavailable",
                "The license proxy cannot be reached",
                {"Retry-After": "1"},
            )
        if answer.status != 200:
            raise refusal(answer.status)

    async def _ask_once(self, digest: bytes, key: str, operation: str) -> Answer | None:
        """Ask, together with everybody who asks the same at this moment."""
        task = self._asking.get(digest)
        if task is None:
            task = asyncio.create_task(self._ask(digest, key, operation))
            self._asking[digest] = task
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        # One client that leaves must not spoil the answer for the others.
        return await asyncio.shield(task)

    async def _ask(self, digest: bytes, key: str, operation: str) -> Answer | None:
        if time.monotonic() < self._away_until:
            return None
        try:
            response = await self._client.post(
                "/authorize",
                headers={"Authorization": f"Bearer {key}"},
                json={"operation": operation},
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            log.warning("license proxy: %s", type(error).__name__)
            self._away_until = time.monotonic() + RETRY_S
            return None
        if response.status_code != 200 and response.status_code not in REFUSALS:
            log.warning("license proxy: status %d", response.status_code)
            return None
        now = time.monotonic()
        ttl_s = self._ttl_s
        with contextlib.suppress(ValueError, KeyError, TypeError):
            ttl_s = min(ttl_s, float(response.json()["ttl_s"]))
        answer = Answer(response.status_code, now + ttl_s, now + self._grace_s)
        self._answers[digest] = answer
        self._answers.move_to_end(digest)
        while len(self._answers) > MAX_REMEMBERED:
            self._answers.popitem(last=False)
        return answer
