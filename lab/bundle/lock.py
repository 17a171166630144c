# SPDX-License-Identifier: Apache-2.0
"""The digests of what was taken from publishers: recorded at first use, compared from then on."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from lab.bundle.steps import read_json, write_json
from lab.config import LabError


class Lock:
    """A JSON file: item -> version, digest, source, and the date (UTC) of its first use."""

    def __init__(self, path: Path) -> None:
        """`path` is the file; where there is none, nothing was recorded yet.

        Raises:
            LabError: the file is there, but is not what `record` wrote.
        """
        self.path = path
        try:
            self._entries: dict[str, Any] = read_json(path)
        except OSError as error:
            raise LabError(f"{path} cannot be read: {error.strerror}") from error
        if path.exists() and not self._entries:
            raise LabError(f"{path} is not a lock file: restore it, or delete it to record again")

    def digests(self, items: tuple[str, ...]) -> dict[str, str] | None:
        """Return the recorded digests of all these items; None where one is not recorded.

        Raises:
            LabError: an entry has no digest.
        """
        if any(item not in self._entries for item in items):
            return None
        try:
            return {item: str(self._entries[item]["digest"]) for item in items}
        except (KeyError, TypeError) as error:
            raise LabError(
                f"{self.path}: an entry of {', '.join(items)} has no digest: delete that entry"
            ) from error

    def record(self, digests: dict[str, str], source: str) -> None:
        """Record the items that are new, and compare the others.

        Raises:
            LabError: an item's digest is another one than at its first use.
        """
        for item, digest in digests.items():
            known = self.digests((item,))
            if known and known[item] != digest:
                raise LabError(
                    f"{item}: {source} has {digest}, and {self.path} has {known[item]} from its"
                    " first use. If the publisher replaced it on purpose, delete the entry"
                    f" {item!r} from that file and run again"
                )
        added = {item: value for item, value in digests.items() if item not in self._entries}
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        for item, value in added.items():
            self._entries[item] = {
                "version": item.rsplit("=", 1)[-1],
                "digest": value,
                "source": source,
                "first_use": today,
            }
        if added:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, dict(sorted(self._entries.items())))
