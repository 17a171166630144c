# SPDX-License-Identifier: Apache-2.0
"""What the endpoints of the license proxy work with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sonic_reference.license_proxy.audit import ADVICE, AuditLog
from sonic_reference.license_proxy.authority import Authority
from sonic_reference.license_proxy.books import Books
from sonic_reference.license_proxy.endpoint import Connected
from sonic_reference.license_proxy.offline import AirGapped


@dataclass(frozen=True)
class Proxy:
    """The parts of a license proxy; ``clock`` returns seconds since the epoch."""

    authority: Authority
    licensing: Connected | AirGapped
    books: Books
    audit: AuditLog
    clock: Callable[[], float] = time.time

    def warnings(self) -> list[str]:
        """Return the problems that an operator must solve, each with its remedy."""
        return [f"audit log: {problem}; {ADVICE}" for problem in self.audit.problems]
