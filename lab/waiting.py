# SPDX-License-Identifier: Apache-2.0
"""Wait for a condition of the cluster."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_while(wrong: Callable[[], object], seconds: float = 90, pause: float = 0.5) -> float:
    """Return the seconds until ``wrong`` returns nothing.

    Raises:
        TimeoutError: it still returned something after ``seconds``; the message has it.
    """
    began = time.monotonic()
    while problem := wrong():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"after {seconds:.0f} s: {problem}")
        time.sleep(pause)
    return time.monotonic() - began


def wait(what: str, ready: Callable[[], bool], seconds: float = 90, pause: float = 0.5) -> float:
    """Return the seconds until ``ready`` was true.

    Raises:
        TimeoutError: it was not true within ``seconds``; the message has ``what``.
    """
    return wait_while(lambda: "" if ready() else f"{what}: not yet", seconds, pause)
