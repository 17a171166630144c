# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Verifies the license proxy's audit log, as docs/license.md describes it."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

FILE, MANIFEST = "audit.jsonl", "manifest.json"
# The first record's ``previous``.
NOTHING = "0" * 64
# A log of ten years of records each five minutes is half of that.
MAX_BYTES = 2**30
MAX_MANIFEST_BYTES = 65536
# These events set the latest time back: the vendor has confirmed that the clock was ahead.
CORRECTIONS = ("clock", "license")


class AuditError(Exception):
    """A file is no audit archive at all."""


@dataclass(frozen=True)
class AuditLog:
    """An archive's content: the log's lines, and what the manifest says of them."""

    lines: tuple[bytes, ...]
    manifest: Mapping[str, Any]


def read_tar(file: IO[bytes]) -> AuditLog:
    """The log in an archive that the license proxy made.

    Raises:
        AuditError: it is not such an archive.
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
    # A last line that lost its end is judged as a record; verify finds that it is none.
    return AuditLog(tuple(lines[:-1] if lines[-1] == b"" else lines), manifest)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    """The content of one file. Raises AuditError for one that is too long, or no plain file."""
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
    """What shows that a log is not as it was written; empty for one that is.

    Args:
        log: the log to judge.
        earlier: an older export of the same log, which this one must continue. Only that tells
            when a whole log was written anew.
    """
    found = []
    before, latest = NOTHING, ""
    for number, line in enumerate(log.lines, start=1):
        try:
            record = json.loads(line)
            sequence, previous = record["sequence"], record["previous"]
            event, details, mark = (record.get(name) for name in ("event", "details", "mark"))
            seen = str(mark.get("latest", "")) if mark else ""
            problem = str(details["problem"]) if event == "gap" else ""
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            found.append(f"record {number} cannot be read: it was changed")
        else:
            if problem:
                found.append(f"record {number}: the license proxy found that {problem}")
            # They are of one form and in UTC, so that their order is that of the times.
            if seen < latest and event not in CORRECTIONS:
                found.append(
                    f"record {number} has {seen or 'no time'} as the latest time seen, and {latest}"
                    " was seen before: the clock was set back, and the marks were removed"
                )
            latest = seen
            if sequence != number:
                found.append(
                    f"record {number} says that it is number {sequence}: records were removed,"
                    " added or moved"
                )
            elif previous != before:
                found.append(
                    f"record {number} does not follow the one before it: one of the two was changed"
                )
        before = hashlib.sha256(line).hexdigest()
    if log.manifest.get("records") != len(log.lines):
        found.append(
            f"the manifest says {log.manifest.get('records')} records, the log has {len(log.lines)}"
        )
    elif log.manifest.get("head") != before:
        found.append("the last record was changed: its hash is not the manifest's")
    if earlier is not None:
        found += _continues(log, earlier)
    return found


def _continues(log: AuditLog, earlier: AuditLog) -> list[str]:
    if log.manifest.get("installation") != earlier.manifest.get("installation"):
        return ["the earlier log is another installation's"]
    count = len(earlier.lines)
    if log.lines[:count] == earlier.lines:
        return []
    return [f"the log does not begin with the {count} records of the earlier one"]
