# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Everything that ends, over all sites: as JSON, and as a calendar in iCalendar (RFC 5545)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256

from .verify_results import SCHEMA, Site, instant, printable, timestamp

# Days before the end. A licence or a certificate takes that long to order.
ALARM = 14
OCTETS = 75


@dataclass(frozen=True)
class Entry:
    """A line of the calendar: an End, where it was seen, and when.

    uid: stays the same when the end moves, so that a calendar moves its event.
    """

    site: str
    check: str
    what: str
    kind: str
    at: str
    remedy: str
    seen: str
    uid: str


def entries(sites: Iterable[Site]) -> list[Entry]:
    """Return what ends on all sites, by date. The same end twice on a site is one line."""
    lines: list[Entry] = []
    for site in sites:
        # Several things may have one name, for example the certificates of two replicas.
        ends: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
        for check in site.checks:
            for end in check.ends:
                moments = ends.setdefault((end.kind, end.what), {})
                moments.setdefault(timestamp(instant(end.at)), (check.id, end.remedy))
        for (kind, what), moments in ends.items():
            for number, (at, (check_id, remedy)) in enumerate(sorted(moments.items())):
                uid = _uid(site.name, kind, what, str(number))
                lines.append(Entry(site.name, check_id, what, kind, at, remedy, site.at, uid))
    return sorted(lines, key=lambda entry: (entry.at, entry.site, entry.kind, entry.what))


def _uid(*parts: str) -> str:
    digest = sha256(json.dumps(parts).encode()).hexdigest()
    return f"{digest[:32]}@baremetal.sonic"


def as_json(lines: Sequence[Entry], unreadable: Mapping[str, str], now: datetime) -> str:
    """Return the text of calendar.json. unreadable: files without a result, and why."""
    plain = {
        "schema": SCHEMA,
        "at": timestamp(now),
        "ends": [asdict(entry) for entry in lines],
        "unreadable": dict(unreadable),
    }
    return json.dumps(plain, indent=2) + "\n"


def ics(lines: Iterable[Entry]) -> str:
    """Return the text of calendar.ics: an event for each end, with an alarm ahead of it."""
    content = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//baremetal.sonic//verify//EN",
        "CALSCALE:GREGORIAN",
        "METHOD:PUBLISH",
        "X-WR-CALNAME:Speech sites",
        # How often a subscribed calendar asks again.
        "REFRESH-INTERVAL;VALUE=DURATION:P1D",
        "X-PUBLISHED-TTL:P1D",
    ]
    for entry in lines:
        summary = f"{entry.site}: {entry.what} ends"
        details = [f"Do: {entry.remedy}"] if entry.remedy else []
        details.append(f"Kind: {entry.kind}. Seen by the check {entry.check} at {entry.seen}.")
        content += [
            "BEGIN:VEVENT",
            f"UID:{entry.uid}",
            f"DTSTAMP:{_basic(entry.seen)}",
            f"DTSTART:{_basic(entry.at)}",
            f"SUMMARY:{_escaped(summary)}",
            f"DESCRIPTION:{_escaped(chr(10).join(details))}",
            f"CATEGORIES:{_escaped(entry.kind)}",
            "TRANSP:TRANSPARENT",
            "BEGIN:VALARM",
            "ACTION:DISPLAY",
            f"TRIGGER:-P{ALARM}D",
            f"DESCRIPTION:{_escaped(summary)}",
            "END:VALARM",
            "END:VEVENT",
        ]
    content.append("END:VCALENDAR")
    return "".join(f"{_folded(line)}\r\n" for line in content)


def _basic(text: str) -> str:
    return instant(text).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _escaped(text: str) -> str:
    """Return a value of the type TEXT (RFC 5545, 3.3.11)."""
    for plain, escaped in (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\n", "\\n")):
        text = text.replace(plain, escaped)
    return printable(text)


def _folded(line: str) -> str:
    """Break a content line so that none has more than 75 octets (3.1), and no letter is cut."""
    parts = [""]
    room = OCTETS
    for letter in line:
        size = len(letter.encode())
        if size > room:
            parts.append("")
            # The space in front counts.
            room = OCTETS - 1
        parts[-1] += letter
        room -= size
    return "\r\n ".join(parts)
