# SPDX-License-Identifier: Apache-2.0
"""What all WebSockets of an API pod share: who may open one, and when the pod may go."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from sonic_reference.api.credentials import Credentials
from sonic_reference.errors import ApiError

# A client that takes nothing for this long has left.
SEND_TIMEOUT_S = 30.0


class Sessions:
    """Counts what is in progress on WebSockets, and takes nothing new while the pod drains."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self.draining = False
        # Contexts that are spoken, and audio streams that are listened to.
        self.work = 0

    async def admit(self, connection: HTTPConnection, operation: str) -> None:
        """Return when new work may begin. Raises ApiError 401, 402, 403, 503."""
        await self._credentials.check(connection, operation)
        if self.draining:
            raise ApiError(
                503, "draining", "Service unavailable", "This server is going away; connect again",
                {"Retry-After": "1"},
            )  # fmt: skip
