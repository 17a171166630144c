# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The type of an object of the Kubernetes API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# An object, or a part of one, as JSON. Only who makes an object changes it.
Object = Mapping[str, Any]
