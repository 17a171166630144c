# SPDX-License-Identifier: Apache-2.0
"""Who may use the site's speech: holders of its keys, while its licence is in force."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from sonic_reference.license_proxy.states import EXPIRED, Verdict

# How long an API pod may keep a yes and a no, in seconds.
YES_S = 10.0
NO_S = 1.0
# What a licence can be for; other operations (lists of voices, tokens) come with any licence.
LICENSED = ("tts", "stt")


@dataclass(frozen=True)
class Decision:
    """The answer for one request.

    ``status`` is an HTTP status: 200 yes, 401 no such key, 402 the licence is not in force, 403 it
    is not for this operation. ``ttl_s`` says for how many seconds the answer may be kept.
    """

    status: int
    reason: str
    ttl_s: float


class Licensing(Protocol):
    """One mode of licensing."""

    @property
    def mode(self) -> str:
        """Its name: connected or airgapped."""

    def verdict(self, now: float) -> Verdict:
        """Return the licence's state at a time, in seconds since the epoch."""


class Authority:
    """Decides by key and licence."""

    def __init__(
        self,
        keys: Iterable[str],
        licensing: Licensing,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # Digests have one length, so that a comparison shows nothing about a key's length.
        self._digests = [_digest(key) for key in sorted(set(keys))]
        self._licensing = licensing
        self._clock = clock

    @property
    def mode(self) -> str:
        """See :class:`Licensing`."""
        return self._licensing.mode

    def verdict(self) -> Verdict:
        """Return the licence's state now."""
        return self._licensing.verdict(self._clock())

    def knows(self, key: str) -> bool:
        """Compare with every key, in constant time."""
        digest = _digest(key)
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(matches)

    def decide(self, key: str, operation: str) -> Decision:
        """Decide whether the holder of this key may run this operation now."""
        if not self.knows(key):
            return Decision(401, "no such key", NO_S)
        now = self._clock()
        verdict = self._licensing.verdict(now)
        if verdict.state == EXPIRED:
            return Decision(402, verdict.reason, NO_S)
        licensed = LICENSED if verdict.operations is None else verdict.operations
        if operation in LICENSED and operation not in licensed:
            return Decision(403, f"the licence is not for {operation}", NO_S)
        left_s = YES_S if verdict.until is None else max(0.0, verdict.until - now)
        return Decision(200, f"key is valid for {operation}", min(YES_S, left_s))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
