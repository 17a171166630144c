# SPDX-License-Identifier: Apache-2.0
"""Who may use the site's speech: one authority for each mode of licensing."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

# In what state a licence can be, as license_proxy_state and the alerts on it have it.
STATES = ("valid", "grace", "expired")


@dataclass(frozen=True)
class Decision:
    """The answer for one request.

    ``status`` is an HTTP status: 200 yes, 401 no such key, 402 or 403 the licence does not allow
    it. ``ttl_s`` says for how many seconds the answer may be kept.
    """

    status: int
    reason: str
    ttl_s: float


class Authority(Protocol):
    """Decides by key; connected and air-gapped modes fit in behind the same calls."""

    @property
    def mode(self) -> str:
        """The mode's name, for /status and metrics."""

    @property
    def state(self) -> str:
        """The licence's state, one of STATES, for /status and metrics."""

    async def decide(self, key: str, operation: str) -> Decision:
        """Decide whether the holder of this key may run this operation now."""


class StaticKeys:
    """Accepts a fixed set of keys."""

    mode = "static"
    state = "valid"

    def __init__(self, keys: Iterable[str], ttl_s: float = 10.0) -> None:
        # Digests have one length, so that a comparison tells nothing about a key's.
        self._digests = [self._digest(key) for key in sorted(set(keys))]
        self._ttl_s = ttl_s

    @staticmethod
    def _digest(key: str) -> bytes:
        return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()

    async def decide(self, key: str, operation: str) -> Decision:
        """Compare with every key, in constant time."""
        digest = self._digest(key)
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if any(matches):
            return Decision(200, f"key is valid for {operation}", self._ttl_s)
        return Decision(401, "no such key", 1.0)
