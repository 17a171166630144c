# SPDX-License-Identifier: Apache-2.0
"""Ask the license proxy about each request, and remember its answer for a short while."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import re
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import httpx

from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.api.refusals import Refusals
from sonic_reference.errors import ApiError

log = logging.getLogger(__name__)

# Number of accepted keys that are kept. Refused keys are kept apart and cannot push these out.
MAX_REMEMBERED = 4096
# How many unknown keys are checked at a time. Known keys have the rest of the connections
# (MAX_CONNECTIONS), so that unknown ones cannot delay their confirmation.
MAX_STRANGERS = 32
MAX_CONNECTIONS = 64
# After a failed connection the proxy is not asked for this long, so that requests do not queue up
# for it.
RETRY_S = 1.0
# What a key may be: printable ASCII without spaces at its ends (RFC 9110, 5.5), at most 512
# characters. Nothing else can be sent to the proxy in a header.
KEY = re.compile(r"[!-~](?:[ -~]{0,510}[!-~])?")
REFUSALS = {
    401: ("invalid_api_key", "Unauthorized", "The API key is missing or invalid"),
    402: ("license_expired", "Payment required", "The site's licence is no longer in force"),
    403: ("forbidden", "Forbidden", "The site's licence does not include this operation"),
}
# The proxy may close an idle connection in the moment that it is used again.
DROPPED = (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)


@dataclass(frozen=True)
class Answer:
    """The proxy's answer, and until when (monotonic seconds) it may be used again."""

    status: int
    fresh_until: float
    stale_until: float


def refusal(status: int) -> ApiError:
    """Return the public error for a request that is not authorized."""
    code, title, message = REFUSALS[status]
    return ApiError(status, code, title, message)


def presentable(key: str) -> bool:
    """Whether a text can be a key at all; the proxy is not asked about others."""
    return KEY.fullmatch(key) is not None


class Authorizer:
    """Checks keys.

    An accepted key is kept for at most ``ttl_s``, and for ``grace_s`` while the proxy is away. Only
    a failed connection means that the proxy is away, never the content of a request.
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
        self.ttl_s = ttl_s
        self._grace_s = grace_s
        # Keys themselves are not kept, only digests that no other process can compare.
        self._salt = secrets.token_bytes(32)
        self._granted: OrderedDict[bytes, Answer] = OrderedDict()
        self._refused: Refusals[Answer] = Refusals()
        self._asking: dict[bytes, asyncio.Task[Answer | None]] = {}
        self._strangers = asyncio.Semaphore(MAX_STRANGERS)
        self._away_until = 0.0

    def digest(self, *parts: str) -> bytes:
        """Return a digest of texts, such as keys, that no other process can compare."""
        content = "\0".join(parts).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, key=self._salt).digest()

    async def check(self, key: str, operation: str, client: str = "") -> None:
        """Return when the key may do this; refusals are counted for each ``client``.

        Raises ApiError 401, 402, 403, or 503 when the proxy gives no answer.
        """
        if not presentable(key):
            raise refusal(401)
        digest = self.digest(operation, key)
        granted = self._granted.get(digest)
        now = time.monotonic()
        known = granted or self._refused.find(client, digest)
        if known and now < known.fresh_until:
            self._metrics.authorizations.labels("cache").inc()
            answer: Answer | None = known
        else:
            answer = await self._ask_once(digest, key, operation, client)
            if answer:
                self._metrics.authorizations.labels("proxy").inc()
            elif granted and now < granted.stale_until:
                self._metrics.authorizations.labels("stale").inc()
                answer = granted
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

    async def _ask_once(
        self, digest: bytes, key: str, operation: str, client: str
    ) -> Answer | None:
        """Ask once for all requests that wait for the same answer."""
        task = self._asking.get(digest)
        if task is None:
            task = asyncio.create_task(self._ask(digest, key, operation, client))
            self._asking[digest] = task
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        # Other requests wait for this answer, so a client that leaves must not cancel it.
        return await asyncio.shield(task)

    async def _ask(self, digest: bytes, key: str, operation: str, client: str) -> Answer | None:
        async with contextlib.AsyncExitStack() as stack:
            if digest not in self._granted:
                await stack.enter_async_context(self._strangers)
            if time.monotonic() < self._away_until:
                return None
            response = await self._post(key, operation)
        if response is None:
            return None
        fields = _answer_fields(response)
        if fields is None:
            log.warning("license proxy: status %d is no answer of its own", response.status_code)
            return None
        now = time.monotonic()
        ttl_s = self.ttl_s
        with contextlib.suppress(ValueError, KeyError, TypeError):
            ttl_s = min(ttl_s, float(fields["ttl_s"]))
        answer = Answer(response.status_code, now + ttl_s, now + self._grace_s)
        self._remember(digest, client, answer)
        return answer

    def _remember(self, digest: bytes, client: str, answer: Answer) -> None:
        if answer.status != 200:
            # A key that is refused now must not be accepted later while the proxy is away.
            self._granted.pop(digest, None)
            self._refused.add(client, digest, answer)
            return
        self._granted[digest] = answer
        self._granted.move_to_end(digest)
        while len(self._granted) > MAX_REMEMBERED:
            self._granted.popitem(last=False)

    async def _post(self, key: str, operation: str) -> httpx.Response | None:
        """Return the proxy's answer, None without an answer."""
        for last in (False, True):
            try:
                return await self._client.post(
                    "/authorize",
                    headers={"Authorization": f"Bearer {key}"},
                    json={"operation": operation},
                )
            except (
                httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.PoolTimeout,
                httpx.InvalidURL, ValueError,
            ) as error:  # fmt: skip
                # Nothing was sent, so the proxy may be well.
                log.warning("license proxy: not asked: %s", type(error).__name__)
                return None
            except httpx.TransportError as error:
                if isinstance(error, DROPPED) and not last:
                    continue
                log.warning("license proxy: %s", type(error).__name__)
                self._away_until = time.monotonic() + RETRY_S
            except httpx.HTTPError as error:
                log.warning("license proxy: %s", type(error).__name__)
            return None
        raise AssertionError("the last attempt returns")


def _answer_fields(response: httpx.Response) -> dict[str, Any] | None:
    """Return the fields of the license proxy's answer, None when it cannot be the proxy's own.

    Something between this server and the proxy may answer in its place, with 200 or 403 and a page
    of its own. Such an answer neither accepts a key nor ends a session.
    """
    if response.status_code != 200 and response.status_code not in REFUSALS:
        return None
    if not response.content and response.status_code != 200:
        return {}
    try:
        fields = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    authorized = fields.get("authorized", response.status_code == 200)
    return fields if authorized is (response.status_code == 200) else None
