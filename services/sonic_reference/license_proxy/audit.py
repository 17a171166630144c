# SPDX-License-Identifier: Apache-2.0
"""The audit log: what happened to the licence, and how much was used; no texts, no audio, no keys.

One JSON object a line. Each has the number of its line (``sequence``, from 1) and the SHA-256 of
the line before it (``previous``, without the line's end; 64 zeros in the first), so that a line
that was changed, removed or moved shows. The collection's module license_audit verifies it.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonic_reference.license_proxy.states import stamp
from sonic_reference.license_proxy.store import Store

log = logging.getLogger(__name__)

FILE = "audit.jsonl"
NOTHING = "0" * 64


@dataclass(frozen=True)
class Head:
    """How far the log goes: its records, its bytes, and the hash of its last line."""

    records: int = 0
    size: int = 0
    hash: str = NOTHING


class AuditLog:
    """Appends records to the log in a store, and packs it for whoever asks for it."""

    def __init__(self, store: Store) -> None:
        """Raises OSError when the log cannot be read."""
        self._path = store.folder / FILE
        if not self._path.exists():
            self._path.touch()
            store.sync()
        self.head = _head(self._path)

    def add(self, now: float, event: str, details: Mapping[str, Any]) -> None:
        """Append a record; where that fails, the log says so and the service goes on."""
        fields = {"sequence": self.head.records + 1, "time": stamp(now), "event": event}
        fields |= {"previous": self.head.hash, "details": dict(details)}
        line = json.dumps(fields).encode()
        try:
            with self._path.open("r+b") as file:
                # Whatever an append that failed has left is overwritten.
                file.truncate(self.head.size)
                file.seek(self.head.size)
                file.write(line + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            log.error("the audit record %s of %s is lost: %s", event, stamp(now), error)
            return
        size = self.head.size + len(line) + 1
        self.head = Head(self.head.records + 1, size, hashlib.sha256(line).hexdigest())

    def tar(self, now: float, installation: str) -> bytes:
        """Return a tar archive of the log and of a manifest that says how far it goes.

        Raises OSError. May run in a thread while records are added.
        """
        head = self.head
        with self._path.open("rb") as file:
            lines = file.read(head.size)
        manifest = {
            "installation": installation,
            "exported_at": stamp(now),
            "records": head.records,
            "head": head.hash,
        }
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, content in {
                FILE: lines,
                "manifest.json": json.dumps(manifest, indent=2).encode() + b"\n",
            }.items():
                member = tarfile.TarInfo(name)
                member.size, member.mtime, member.mode = len(content), int(now), 0o600
                archive.addfile(member, io.BytesIO(content))
        return packed.getvalue()


def _head(path: Path) -> Head:
    """Return how far a log goes; a last line without its end was not written whole."""
    records = size = 0
    last = b""
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                log.warning("the audit log's last record was not written whole; it is dropped")
                break
            records, size, last = records + 1, size + len(line), line[:-1]
    return Head(records, size, hashlib.sha256(last).hexdigest() if records else NOTHING)
