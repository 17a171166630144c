# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""So many listeners at once, and how long they wait: the rows of the vendor's benchmark table."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .client import Speech, SpeechError

# The API's answer when all streams are taken, and its queue, too.
BUSY = 429


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share (0 to 1) of the values does not exceed: the nearest rank."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@dataclass
class Row:
    """What a number of listeners heard.

    ttfa_ms: from each request to the first byte of its audio. rtf: for each, seconds from request
    to end over seconds of audio. seconds: from the first request to the end of the last answer.
    busy: requests refused for want of a free stream. errors: what else came instead of speech.
    """

    concurrency: int
    characters: int = 0
    seconds: float = 0.0
    ttfa_ms: list[float] = field(default_factory=list)
    rtf: list[float] = field(default_factory=list)
    busy: int = 0
    errors: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, int | float | None]:
        """The row as a table has it; None where nobody heard anything."""
        heard = bool(self.ttfa_ms)
        return {
            "concurrency": self.concurrency,
            "heard": len(self.ttfa_ms),
            "busy": self.busy,
            "failed": len(self.errors),
            "ttfa_p50_ms": round(percentile(self.ttfa_ms, 0.5), 1) if heard else None,
            "ttfa_p95_ms": round(percentile(self.ttfa_ms, 0.95), 1) if heard else None,
            "rtf_p95": round(percentile(self.rtf, 0.95), 3) if heard else None,
            "characters_per_s": round(self.characters / self.seconds, 1) if heard else None,
        }


def measure(ask: Callable[[], Speech], characters: int, concurrency: int, rounds: int) -> Row:
    """Have so many listeners ask, each again as soon as it has heard all.

    Args:
        ask: makes one request; raises SpeechError.
        characters: of the text that it asks for.
        concurrency: how many listeners.
        rounds: requests of each.
    """
    row = Row(concurrency)
    lock = threading.Lock()

    def listen() -> None:
        for _each in range(rounds):
            try:
                speech = ask()
            except SpeechError as error:
                with lock:
                    if error.status == BUSY:
                        row.busy += 1
                    else:
                        row.errors.append(str(error))
                continue
            with lock:
                row.characters += characters
                row.ttfa_ms.append(speech.ttfb_ms)
                row.rtf.append((speech.total_ms - speech.connect_ms) / 1000 / speech.duration_s)

    listeners = [threading.Thread(target=listen) for _each in range(concurrency)]
    began = time.monotonic()
    for listener in listeners:
        listener.start()
    for listener in listeners:
        listener.join()
    row.seconds = time.monotonic() - began
    return row


def table(rows: Sequence[dict[str, int | float | None]]) -> list[str]:
    """The rows as lines of text, columns under a head."""
    columns = {
        "concurrency": "streams", "ttfa_p50_ms": "TTFA P50 ms", "ttfa_p95_ms": "TTFA P95 ms",
        "characters_per_s": "chars/s", "rtf_p95": "RTF P95", "heard": "heard", "busy": "busy",
        "failed": "failed",
    }  # fmt: skip
    lines = ["  ".join(columns.values())]
    for row in rows:
        cells = ("-" if row[key] is None else str(row[key]) for key in columns)
        widths = map(len, columns.values())
        lines.append("  ".join(c.rjust(w) for c, w in zip(cells, widths, strict=True)))
    return lines
