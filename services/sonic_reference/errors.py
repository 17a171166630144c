# SPDX-License-Identifier: Apache-2.0
"""A request that cannot be served, in the terms of the public API's error object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """An error for the client, with the headers that it adds to the answer."""

    def __init__(
        self,
        status: int,
        code: str | None,
        title: str,
        message: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{title}: {message}")
        self.status = status
        self.code = code
        self.title = title
        self.message = message
        self.headers = dict(headers or {})

    def encode(self) -> bytes:
        """Return the error as a worker sends it."""
        return json.dumps(
            {
                "status": self.status,
                "error_code": self.code,
                "title": self.title,
                "message": self.message,
            }
        ).encode()

    @classmethod
    def decode(cls, content: bytes) -> ApiError:
        """Read what :meth:`encode` wrote; anything else becomes an internal error."""
        try:
            fields: dict[str, Any] = json.loads(content)
            return cls(
                int(fields["status"]), fields["error_code"], fields["title"], fields["message"]
            )
        except (ValueError, KeyError, TypeError):
            return cls(500, "internal_error", "Internal error", "A worker sent an unreadable error")
