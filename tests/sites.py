# SPDX-License-Identifier: Apache-2.0
"""A site as its clients know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Site:
    """Where the client finds a site, and its key there."""

    url: str
    key: str

    @property
    def options(self) -> dict[str, Any]:
        """What the client is made with."""
        return {
            "api_key": self.key,
            "base_url": self.url,
            "websocket_base_url": self.url.replace("http", "ws"),
            "max_retries": 0,
        }
