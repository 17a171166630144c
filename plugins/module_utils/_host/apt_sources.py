# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Read the package sources that a host has already, in both formats of sources.list(5).

Two sources of one address and suite with different keys make apt refuse every command on the host
("Conflicting values set for option Signed-By"). So an existing one has to be known beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

# As apt writes false in deb822 files, apt.conf(5).
NO = {"no", "false", "without", "off", "disable", "0"}
LINE = re.compile(
    r"^deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<rest>.*)$"
)


@dataclass(frozen=True)
class Source:
    """One address and suite of a source of binary packages.

    where: file and line. uri, suite: as `normalized` writes an address, and the suite's name.
    components: empty for a flat repository. architectures: empty for the host's own.
    """

    where: str
    uri: str
    suite: str
    components: frozenset[str]
    architectures: frozenset[str]

    def covers(self, components: str, architecture: str) -> bool:
        """Whether this source offers these components for an architecture."""
        fits = not self.architectures or architecture in self.architectures
        return fits and set(components.split()) <= self.components


def normalized(uri: str) -> str:
    """Return an address as apt compares it: without a slash at its end, host in small letters."""
    parts = urlsplit(uri.strip())
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def sources(paths: Iterable[Path]) -> list[Source]:
    """Return all enabled sources of binary packages of some files.

    A file that is not there counts as empty.
    """
    found: list[Source] = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            continue
        found += _deb822(path, text) if path.suffix == ".sources" else _lines(path, text)
    return found


def _lines(path: Path, text: str) -> Iterator[Source]:
    """Read the one-line format."""
    for number, line in enumerate(text.splitlines(), start=1):
        match = LINE.match(line.split("#", 1)[0].strip())
        if not match:
            continue
        options = dict(
            option.split("=", 1) for option in (match["options"] or "").split() if "=" in option
        )
        yield Source(
            where=f"{path}:{number}",
            uri=normalized(match["uri"]),
            suite=match["suite"],
            components=frozenset(match["rest"].split()),
            architectures=frozenset(options.get("arch", "").replace(",", " ").split()),
        )


def _deb822(path: Path, text: str) -> Iterator[Source]:
    """Read the format of .sources files: stanzas of fields."""
    for number, stanza in _stanzas(text):
        if stanza.get("enabled", "yes").strip().lower() in NO:
            continue
        if "deb" not in stanza.get("types", "").split():
            continue
        for uri in stanza.get("uris", "").split():
            for suite in stanza.get("suites", "").split():
                yield Source(
                    where=f"{path}:{number}",
                    uri=normalized(uri),
                    suite=suite,
                    components=frozenset(stanza.get("components", "").split()),
                    architectures=frozenset(stanza.get("architectures", "").split()),
                )


def _stanzas(text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield each stanza with the number of its first line; names in small letters."""
    fields: dict[str, str] = {}
    first, name = 1, ""
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield first, fields
            fields, name = {}, ""
        elif line[0] in " \t":
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        else:
            if not fields:
                first = number
            key, _colon, value = line.partition(":")
            name = key.strip().lower()
            fields[name] = value.strip()
