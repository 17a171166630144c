# SPDX-License-Identifier: Apache-2.0
"""The audit log: the licence's events and the usage; no texts, no audio, no keys.

It has one JSON object a line. Each has the number of its line (``sequence``, from 1) and the
SHA-256 of the line before it (``previous``, without the line's end; 64 zeros in the first), so that
a line that was changed, removed or moved shows. Each also has the marks of :mod:`marks`. A file
beside it, the anchor, has the log's length: a log that was cut shows at the next start, and within
a second while the service runs. A record (``gap``) of this is in every export. The collection's
module license_audit verifies the log.
"""

from __future__ import annotations

import json
import logging
import os
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sonic_reference.license_proxy.chain import Head, Scan, last_line, scan
from sonic_reference.license_proxy.marks import SKEW_S, Mark
from sonic_reference.license_proxy.states import stamp
from sonic_reference.license_proxy.store import Store

log = logging.getLogger(__name__)

FILE, ANCHOR = "audit.jsonl", "marks.json"
# Files that exist only after a log was begun.
COMPANIONS = ("license.json", "usage.json", "confirmation.json")
PIECE_BYTES = 65536
# How far the stored time may lag behind, in seconds.
KEEP_S = 60.0
MAX_PROBLEMS = 20
ADVICE = (
    "find out who can write to the volume of the license proxy, and send the vendor an export of"
    " the log (playbooks/license.yml) with the last one from before"
)


def _uptime() -> float:
    """Return seconds of the host's uptime, suspended ones among them (Linux)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class AuditLog:
    """Appends records to the log in a store, and packs the log for export.

    It also keeps the marks: the latest time, and the newest licence.
    """

    def __init__(self, store: Store, uptime: Callable[[], float] = _uptime) -> None:
        """Raises OSError when the log cannot be read."""
        self._store = store
        self._path = store.folder / FILE
        self._uptime = uptime
        self._observed = uptime()
        self._torn = False
        anchored, self.mark = self._anchor()
        begun = [name for name in (ANCHOR, *COMPANIONS) if (store.folder / name).exists()]
        if not self._path.exists():
            self._path.touch()
            store.sync()
        scanned = scan(self._path, anchored.records)
        self.head, self.problems = scanned.head, scanned.problems
        self._take_marks(scanned, anchored)
        self._kept = self.mark.latest or 0.0
        for problem in _damage(scanned, anchored, begun):
            self._gap(problem)

    def check(self) -> None:
        """Check whether the log was cut since the last record. Raises OSError."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            size = 0
            self._path.touch()
        if self._torn:
            return
        if size < self.head.size or last_line(self._path, self.head) != self.head.hash:
            before, scanned = self.head, scan(self._path, 0)
            self.head = scanned.head
            self._gap(
                f"the log was cut or changed while the service ran: it had {before.records}"
                f" records, the last of hash {before.hash}; {scanned.head.records} are left"
            )
        elif size > self.head.size:
            self._take_more()

    def add(self, now: float, event: str, details: Mapping[str, Any]) -> None:
        """Append a record; log a failure and go on."""
        try:
            self.check()
            self._append(now, event, details)
        except OSError as error:
            log.error("the audit record %s of %s is lost: %s", event, stamp(now), error)

    def see(self, now: float) -> float:
        """Return the time that counts when the clock says ``now``: never less than was seen."""
        uptime = self._uptime()
        self.mark = self.mark.seen(now, uptime - self._observed)
        self._observed = uptime
        latest = self.mark.latest
        if latest is None:
            return now
        if latest - self._kept >= KEEP_S:
            self.keep()
        return max(now, latest)

    def begin(self, at: float) -> None:
        """Start to watch the time, unless that was begun before."""
        self.mark = self.mark.begun(at)

    def licensed(self, name: str, issued_at: float, now: float, details: Mapping[str, Any]) -> None:
        """Note a licence that was taken; it is the newest."""
        self.mark = self.mark.licensed(name, issued_at, now)
        self.add(now, "license", details)

    def confirmed(self, now: float) -> None:
        """Note that the license endpoint confirmed the licence."""
        before, self.mark = self.mark, self.mark.confirmed(now)
        if before.latest is not None and before.latest - now > SKEW_S:
            change = {"from": stamp(before.latest), "to": stamp(now), "by": "the license endpoint"}
            log.warning(
                "the clock had been ahead: the time goes back from %(from)s to %(to)s", change
            )
            self.add(now, "clock", change)
        self.keep()

    def keep(self) -> None:
        """Store the marks and the log's length; log a failure and go on."""
        anchored, theirs = self._anchor()
        if anchored.records >= self.head.records:
            # Another instance on the same folder may have seen more.
            self.mark = self.mark.joined(theirs)
        self._kept = self.mark.latest or 0.0
        fields = {"records": self.head.records, "size": self.head.size, "head": self.head.hash}
        try:
            self._store.write_fields(ANCHOR, fields | {"mark": self.mark.fields()})
        except OSError as error:
            log.error("the marks of the audit log cannot be kept: %s", error)

    def tar(self, now: float, installation: str) -> bytes:
        """Return all of :meth:`stream`. Raises OSError."""
        return b"".join(self.stream(now, installation))

    def stream(self, now: float, installation: str) -> Iterator[bytes]:
        """Yield a tar archive of the log and of a manifest that says how far it goes, in pieces.

        Raises OSError. May run in a thread while records are added.
        """
        head = self.head
        yield _header(FILE, head.size, now)
        left = head.size
        with self._path.open("rb") as file:
            while left:
                piece = file.read(min(left, PIECE_BYTES))
                if not piece:
                    raise OSError(f"{self._path} was cut while it was read")
                left -= len(piece)
                yield piece
        yield bytes(-head.size % tarfile.BLOCKSIZE)
        manifest = {
            "installation": installation,
            "exported_at": stamp(now),
            "records": head.records,
            "head": head.hash,
        }
        content = json.dumps(manifest, indent=2).encode() + b"\n"
        yield _header("manifest.json", len(content), now)
        yield content + bytes(-len(content) % tarfile.BLOCKSIZE)
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _append(self, now: float, event: str, details: Mapping[str, Any]) -> None:
        """Append a record, and move the anchor. Raises OSError."""
        fields = {"sequence": self.head.records + 1, "time": stamp(now), "event": event}
        fields |= {"previous": self.head.hash, "details": dict(details)}
        fields |= {"mark": self.mark.fields()} if self.mark != Mark() else {}
        line = json.dumps(fields).encode()
        self._torn = True
        with self._path.open("r+b") as file:
            # This overwrites the rest of an append that failed.
            file.truncate(self.head.size)
            file.seek(self.head.size)
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._torn = False
        self.head = self.head.after(line)
        self.keep()

    def _gap(self, problem: str) -> None:
        """Log and record that the log was changed."""
        log.error("audit log: %s; %s", problem, ADVICE)
        self.problems = [*self.problems, problem][-MAX_PROBLEMS:]
        try:
            self._append(time.time(), "gap", {"problem": problem})
        except OSError as error:
            log.error("audit log: that cannot be recorded: %s", error)

    def _take_more(self) -> None:
        """Continue after records that another instance appended."""
        scanned = scan(self._path, 0, self.head)
        if scanned.broken:
            self._gap(f"a record was added by another program: {scanned.broken}")
            return
        self.head = scanned.head
        if scanned.mark is not None:
            self.mark = scanned.mark

    def _take_marks(self, scanned: Scan, anchored: Head) -> None:
        """Take the marks of the log and of the anchor; a record after the anchor counts alone."""
        later = scanned.head.records > anchored.records and scanned.at_anchor == anchored.hash
        if scanned.mark is not None:
            self.mark = scanned.mark if later else self.mark.joined(scanned.mark)
        if scanned.licence is not None:
            name, issued_at = scanned.licence
            self.mark = self.mark.joined(Mark(licence=name, issued_at=issued_at))

    def _anchor(self) -> tuple[Head, Mark]:
        """Return the log's length and the marks; none without an anchor."""
        fields = self._store.fields(ANCHOR)
        try:
            head = Head(int(fields["records"]), int(fields["size"]), str(fields["head"]))
            return head, Mark.of(fields["mark"])
        except (KeyError, ValueError, TypeError, OverflowError):
            if fields:
                log.error("%s cannot be read; it is written again", self._store.folder / ANCHOR)
            return Head(), Mark()


def _damage(scanned: Scan, anchored: Head, begun: list[str]) -> Iterator[str]:
    """Yield the signs of a changed log, at a start."""
    if scanned.broken and scanned.broken not in " ".join(scanned.problems):
        yield scanned.broken
    if anchored.records:
        if scanned.head.records < anchored.records:
            yield (
                f"the log was cut: it had {anchored.records} records, the last of hash"
                f" {anchored.hash}; {scanned.head.records} are left"
            )
        elif scanned.at_anchor != anchored.hash:
            yield f"record {anchored.records} was changed: its hash was {anchored.hash}"
    elif scanned.head.records == 0 and begun:
        yield f"the log was removed: {', '.join(begun)} is there, and no record"
    elif scanned.marked:
        yield f"{ANCHOR}, which says how far the log goes, was removed or changed"


def _header(name: str, size: int, now: float) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, int(now), 0o600
    return member.tobuf(tarfile.GNU_FORMAT)
