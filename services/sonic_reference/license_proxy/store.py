# SPDX-License-Identifier: Apache-2.0
"""What outlives a restart: a folder with a few small files, each replaced as a whole."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class Store:
    """Files in a folder that only one process uses."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError when the folder cannot be written to, or another process uses it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = (folder / "lock").open("w", encoding="ascii")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(f"another license proxy uses {folder}: only one may") from None

    def close(self) -> None:
        """Let another process use the folder."""
        self._lock.close()

    def text(self, name: str) -> str:
        """Return a file's text, empty when there is none or it cannot be read."""
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            log.error("%s cannot be read: %s", self.folder / name, error)
            return ""

    def fields(self, name: str) -> dict[str, Any]:
        """Return a file's JSON object, empty when there is none or it cannot be read."""
        text = self.text(name)
        try:
            value = json.loads(text) if text else {}
        except ValueError:
            value = None
        if not isinstance(value, dict):
            log.error("%s cannot be read; it is written again", self.folder / name)
            return {}
        return value

    def write(self, name: str, content: bytes) -> None:
        """Replace a file, so that a power cut leaves the old one or the new. Raises OSError."""
        temporary = self.folder / f"{name}.new"
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / name)
        self.sync()

    def write_fields(self, name: str, fields: Mapping[str, Any]) -> None:
        """Replace a file by a JSON object. Raises OSError."""
        self.write(name, json.dumps(fields, sort_keys=True).encode())

    def sync(self) -> None:
        """Write the folder's list of names to the disk. Raises OSError."""
        opened = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
