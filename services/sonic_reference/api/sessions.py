# SPDX-License-Identifier: Apache-2.0
"""What all WebSockets of an API pod share: permits, limits, and work in progress."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakValueDictionary

from starlette.requests import HTTPConnection

from sonic_reference.api.credentials import Credentials, Permit
from sonic_reference.api.limits import Limits
from sonic_reference.api.meters import Meter
from sonic_reference.errors import ApiError

# A client that takes nothing for this long has left.
SEND_TIMEOUT_S = 30.0
# WebSocket close codes (RFC 6455, 7.4.1): done, and refused by a policy.
NORMAL = 1000
POLICY = 1008


class Sessions:
    """Counts what is in progress on WebSockets, and takes nothing new while the pod drains."""

    def __init__(self, credentials: Credentials, limits: Limits) -> None:
        self._credentials = credentials
        self._keys: WeakValueDictionary[bytes, Meter] = WeakValueDictionary()
        self.limits = limits
        self.draining = False
        # Contexts that are spoken, and audio streams that are listened to.
        self.work = 0

    async def open(self, connection: HTTPConnection, operation: str) -> Permit:
        """Return the permit for a new session. Raises ApiError 401, 402, 403, 503."""
        permit = await self._credentials.check(connection, operation)
        self._refuse_while_draining()
        return permit

    async def admit(self, permit: Permit) -> None:
        """Return when a session may begin new work. Raises ApiError 401, 402, 403, 503."""
        await self._credentials.confirm(permit)
        self._refuse_while_draining()

    async def ended(self, permit: Permit) -> ApiError:
        """Wait until a permit ends, and return the public error for that."""
        return await self._credentials.ended(permit)

    def meter(self, permit: Permit) -> Meter:
        """Return the count of the text that waits on one socket, within that of its key."""
        around = self._keys.get(permit.holder)
        if around is None:
            around = self._keys[permit.holder] = Meter(self.limits.key_bytes)
        return Meter(self.limits.socket_bytes, around)

    def _refuse_while_draining(self) -> None:
        if self.draining:
            raise ApiError(
                503, "draining", "Service unavailable", "This server is going away; connect again",
                {"Retry-After": "1"},
            )  # fmt: skip


async def stopped(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they end, also with an error."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
