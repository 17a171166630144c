# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Verify the license proxy's audit log, which docs/license.md describes."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

FILE, MANIFEST = "audit.jsonl", "manifest.json"
# The field ``previous`` of the first record.
NOTHING = "0" * 64
# Ten years of records, one each five minutes, take half of that.
MAX_BYTES = 2**30
MAX_MANIFEST_BYTES = 65536
# These events may set the latest time back: the vendor has confirmed that the clock was ahead.
CORRECTIONS = ("clock", "license")


class AuditError(Exception):
    """A file is not an audit archive."""


@dataclass(frozen=True)
class AuditLog:
    """An archive's content: the lines of the log, and the manifest about them."""

    lines: tuple[bytes, ...]
    manifest: Mapping[str, Any]


def read_tar(file: IO[bytes]) -> AuditLog:
    """Read the log from an archive of the license proxy.

    Raises:
        AuditError: the file is not such an archive.
    """
    parts = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for name in (FILE, MANIFEST):
                parts[name] = _member(archive, name)
        manifest = json.loads(parts[MANIFEST])
    except RecursionError:
        raise AuditError(f"this is not an audit archive: {MANIFEST} is nested too deep") from None
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise AuditError(f"this is not an audit archive: {error}") from error
    if not isinstance(manifest, dict):
        raise AuditError(f"this is not an audit archive: {MANIFEST} holds no object")
    lines = parts[FILE].split(b"\n")
    # A last line that is cut off counts as a record; verify reports it.
    return AuditLog(tuple(lines[:-1] if lines[-1] == b"" else lines), manifest)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    """Return the content of one file. Raises AuditError if it is too long or no plain file."""
    member = archive.getmember(name)
    # A sparse file is small in the archive, but may be huge in memory.
    opened = archive.extractfile(member) if member.isreg() and not member.issparse() else None
    if opened is None:
        raise AuditError(f"{name} in the archive is not a plain file")
    limit = MAX_BYTES if name == FILE else MAX_MANIFEST_BYTES
    if member.size > limit:
        raise AuditError(f"{name} in the archive is longer than {limit} bytes")
    return opened.read()


def verify(log: AuditLog, earlier: AuditLog | None = None) -> list[str]:
    """Return what shows that a log was changed; empty for an unchanged log.

    Args:
        log: the log to verify.
        earlier: an older export of the same log, which this one must continue. Only this shows
            that a whole log was rewritten.
    """
    problems = []
    before, latest = NOTHING, ""
    for number, line in enumerate(log.lines, start=1):
        try:
            record = json.loads(line)
            sequence, previous = record["sequence"], record["previous"]
            event, details, mark = (record.get(name) for name in ("event", "details", "mark"))
            seen = str(mark.get("latest", "")) if mark else ""
            problem = str(details["problem"]) if event == "gap" else ""
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            problems.append(f"record {number} cannot be read: it was changed")
        else:
            if problem:
                problems.append(f"record {number}: the license proxy found that {problem}")
            # All times have one form and are in UTC, so texts compare as times do.
            if seen < latest and event not in CORRECTIONS:
                problems.append(
                    f"record {number} has {seen or 'no time'} as the latest time seen, and {latest}"
                    " was seen before: the clock was set back, and the marks were removed"
                )
            latest = seen
            if sequence != number:
                problems.append(
                    f"record {number} says that it is number {sequence}: records were removed,"
                    " added or moved"
                )
            elif previous != before:
                problems.append(
                    f"record {number} does not follow the one before it: one of the two was changed"
                )
        before = hashlib.sha256(line).hexdigest()
    if log.manifest.get("records") != len(log.lines):
        problems.append(
            f"the manifest says {log.manifest.get('records')} records, the log has {len(log.lines)}"
        )
    elif log.manifest.get("head") != before:
        problems.append("the last record was changed: its hash is not the manifest's")
    if earlier is not None:
        problems += _continues(log, earlier)
    return problems


def _continues(log: AuditLog, earlier: AuditLog) -> list[str]:
    if log.manifest.get("installation") != earlier.manifest.get("installation"):
        return ["the earlier log is another installation's"]
    count = len(earlier.lines)
    if log.lines[:count] == earlier.lines:
        return []
    return [f"the log does not begin with the {count} records of the earlier one"]
