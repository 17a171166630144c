# SPDX-License-Identifier: Apache-2.0
"""Reads the audit log's chain of records, line by line: a log may be larger than the memory."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sonic_reference.license_proxy.marks import Mark

log = logging.getLogger(__name__)

NOTHING = "0" * 64
# A record is a few hundred bytes; a longer line is none, and must not fill the memory.
MAX_LINE_BYTES = 1024 * 1024
MAX_PROBLEMS = 20


@dataclass(frozen=True)
class Head:
    """How far the log goes: its records, its bytes, and the hash and length of its last line."""

    records: int = 0
    size: int = 0
    hash: str = NOTHING
    last: int = 0

    def after(self, line: bytes) -> Head:
        """Return it after one more line, given without its end."""
        size = self.size + len(line) + 1
        return Head(self.records + 1, size, hashlib.sha256(line).hexdigest(), len(line) + 1)


@dataclass
class Scan:
    """What a log holds.

    ``mark`` is the last record's that has one, ``marked`` says whether any has. ``licence`` is the
    id and the time of issue of the newest licence. ``broken`` names the first record that does not
    follow the one before it, ``problems`` are the gaps that were recorded. ``at_anchor`` is the
    hash of the record that the anchor names.
    """

    head: Head
    mark: Mark | None = None
    marked: bool = False
    licence: tuple[str, float] | None = None
    broken: str = ""
    problems: list[str] = field(default_factory=list)
    at_anchor: str = NOTHING


def scan(path: Path, anchor: int, start: Head | None = None) -> Scan:
    """Read a log from ``start`` on; a last line without its end was not written whole.

    Args:
        path: the log.
        anchor: the number of the record whose hash is wanted.
        start: where to begin, the log's beginning when left out.

    Raises:
        OSError: it cannot be read.
    """
    result = Scan(start or Head())
    with path.open("rb") as file:
        file.seek(result.head.size)
        while line := file.readline(MAX_LINE_BYTES):
            if not line.endswith(b"\n"):
                log.warning("the audit log's last record was not written whole; it is dropped")
                break
            _take(result, line[:-1])
            if result.head.records == anchor:
                result.at_anchor = result.head.hash
    return result


def last_line(path: Path, head: Head) -> str:
    """Return the hash of the bytes in the last record's place. Raises OSError."""
    if not head.records:
        return NOTHING
    with path.open("rb") as file:
        file.seek(head.size - head.last)
        return hashlib.sha256(file.read(head.last).removesuffix(b"\n")).hexdigest()


def _take(result: Scan, line: bytes) -> None:
    number = result.head.records + 1
    try:
        record: Any = json.loads(line)
        follows = (record["sequence"], record["previous"]) == (number, result.head.hash)
        _read(result, record)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        follows = False
    if not follows and not result.broken:
        result.broken = (
            f"record {number} does not follow the one before it: one of them was changed"
        )
    result.head = result.head.after(line)


def _read(result: Scan, record: dict[str, Any]) -> None:
    details = record.get("details", {})
    if "mark" in record:
        result.mark, result.marked = Mark.of(record["mark"]), True
    if record.get("event") == "gap":
        result.problems = [*result.problems, str(details["problem"])][-MAX_PROBLEMS:]
    if record.get("event") == "license":
        issued_at = datetime.fromisoformat(details["issued_at"]).timestamp()
        if result.licence is None or issued_at > result.licence[1]:
            result.licence = (str(details["id"]), issued_at)
