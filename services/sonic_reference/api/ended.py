# SPDX-License-Identifier: Apache-2.0
"""Recognise messages that crossed the end of their context on the wire."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from sonic_reference.api.schema import ContextRequest

End = Literal["done", "cancelled", "failed"]

# Number of ended contexts that a socket remembers, and for how many seconds.
MAX_ENDED = 256
MEMORY_S = 60.0
# Seconds after a cancel in which text that continues the context is ignored. After a failure it is
# ignored until none came for FAILED_S.
CANCELLED_S = 1.0
FAILED_S = 3.0


@dataclass
class _Ended:
    how: End
    # Whether its client still had text to send.
    unfinished: bool
    at: float


class EndedContexts:
    """The contexts of one socket that have just ended."""

    def __init__(self) -> None:
        self._ended: OrderedDict[str, _Ended] = OrderedDict()

    def note(self, context_id: str, how: End, *, unfinished: bool) -> None:
        """Remember a context's end."""
        self._ended[context_id] = _Ended(how, unfinished, time.monotonic())
        self._ended.move_to_end(context_id)
        if len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)

    def late(self, request: ContextRequest) -> bool:
        """Whether a message belongs to a context that has ended, not to a new one with its id.

        A message without text is late. Text of a reply that was refused or broke off is late up to
        the reply's last text: otherwise its end would be spoken without its beginning. Text after
        a cancel is late for CANCELLED_S, unless it is a whole reply by itself.
        """
        ended = self._ended.get(request.context_id)
        if ended is None:
            return False
        age_s = time.monotonic() - ended.at
        if not request.transcript.strip():
            late = age_s < MEMORY_S
        elif not ended.unfinished:
            late = False
        elif ended.how == "cancelled":
            late = bool(request.more) and age_s < CANCELLED_S
        else:
            late = ended.how == "failed" and age_s < FAILED_S
        if not late:
            del self._ended[request.context_id]
        elif not request.more:
            ended.unfinished = False
        elif ended.how == "failed":
            ended.at = time.monotonic()
        return late
