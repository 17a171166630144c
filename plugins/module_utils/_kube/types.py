# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Types of the Kubernetes API: objects, and the client that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

# An object, or a part of one, as JSON. Only who makes an object changes it.
Object = Mapping[str, Any]


class ReadApi(Protocol):
    """The calls of the API that read objects."""

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return one object or list. Raises KubeError."""
