# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The archive for support: every text in it is redacted, and a manifest lists what is missing."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .redaction import Redactor

MANIFEST = "MANIFEST.json"
SCHEMA = 1
# A list of objects or figures above this is left out: a part of JSON is no JSON.
MOST_BYTES = 64 * 2**20


def last_bytes(text: str, most: int) -> tuple[str, bool]:
    """Return the last whole lines that fit into so many bytes, and whether others were cut."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= most:
        return text, False
    # Without the first line, of which only a part may be left: a part of a secret is not known.
    _part, newline, rest = raw[len(raw) - most :].partition(b"\n")
    return (rest.decode("utf-8", "ignore") if newline else ""), True


@dataclass
class Bundle:
    """The files of an archive, by name."""

    redactor: Redactor
    files: dict[str, bytes] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)

    def leave_out(self, what: str, why: str) -> None:
        """Note what the archive lacks, and why."""
        self.left_out.append({"what": self.redactor.text(what), "why": self.redactor.text(why)})

    def add_text(self, name: str, text: str, truncated: bool = False) -> int:
        """Add a text; returns its bytes in the archive."""
        before = self.redactor.removed
        return self._add(name, self.redactor.text(text), before, truncated)

    def add_data(self, name: str, data: Any, names: bool = False) -> None:
        """Add data as JSON. names: as of Redactor.data()."""
        before = self.redactor.removed
        text = json.dumps(self.redactor.data(data, names), indent=1, ensure_ascii=False)
        # Also the names, and what stands in several texts.
        text = self.redactor.values(text)
        if len(text) > MOST_BYTES:
            self.leave_out(name, f"it has {len(text)} characters, more than {MOST_BYTES}")
            return
        self._add(name, text + "\n", before, False)

    def _add(self, name: str, text: str, before: int, truncated: bool) -> int:
        safe = self.redactor.values(name)
        content = text.encode("utf-8", "replace")
        self.files[safe] = content
        entry: dict[str, Any] = {
            "file": safe,
            "bytes": len(content),
            "redacted": self.redactor.removed - before,
        }
        self.entries.append(entry | ({"truncated": True} if truncated else {}))
        return len(content)

    def manifest(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the archive has and lacks."""
        return {
            "schema": SCHEMA,
            **about,
            "secrets": {"redacted": self.redactor.removed, "too_short": self.redactor.short},
            "files": sorted(self.entries, key=lambda entry: str(entry["file"])),
            "left_out": self.left_out,
        }

    def write(self, path: Path, about: Mapping[str, Any], folder: str) -> int:
        """Write the archive; returns its bytes. Raises OSError.

        Only the owner can read it. The path holds the whole archive, or what it held before.

        Args:
            path: the archive.
            about: more for the manifest.
            folder: the folder in the archive that holds all files.
        """
        manifest = json.dumps(self.manifest(about), indent=1, ensure_ascii=False)
        files = {MANIFEST: self.redactor.values(manifest).encode() + b"\n", **self.files}
        temporary = path.with_name(f".{path.name}.new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as target:
                with tarfile.open(fileobj=target, mode="w:gz", compresslevel=6) as archive:
                    for name, content in files.items():
                        member = tarfile.TarInfo(str(PurePosixPath(folder) / name))
                        member.size, member.mode = len(content), 0o600
                        member.mtime = int(time.time())
                        archive.addfile(member, io.BytesIO(content))
                target.flush()
                os.fsync(target.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return path.stat().st_size
