# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The result of playbooks/verify.yml for one site: its checks, as a table and as JSON."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import (
    FAIL,
    PASS,
    SKIPPED,
    VERDICTS,
    WARN,
    Check,
    overall,
)

SCHEMA = 1
SKIP_REASON = "skipped by verify_skip"
# The order in which people want to read.
URGENCY = (FAIL, WARN, SKIPPED, PASS)
# What neither a terminal nor XML takes: control characters, halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class InvalidResultError(ValueError):
    """A result that does not have the form of docs/verify-reports.md."""


@dataclass(frozen=True)
class Site:
    """The result of one site.

    name: the site's name. at: when it was checked, in RFC 3339, in UTC. checks: in the order of
    the table. versions: what runs there. seconds: how long the checks took.
    """

    name: str
    at: str
    checks: tuple[Check, ...]
    versions: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """The worst verdict of the checks."""
        return overall(self.checks)

    def of_verdict(self, verdict: str) -> list[Check]:
        """Return the checks with this verdict."""
        return [check for check in self.checks if check.verdict == verdict]

    def as_json(self) -> str:
        """Return the text of the site's JSON file."""
        plain = {
            "schema": SCHEMA,
            "site": self.name,
            "at": self.at,
            "verdict": self.verdict,
            "seconds": self.seconds,
            "checks": [check.as_dict() for check in self.checks],
            "versions": dict(self.versions),
        }
        return json.dumps(plain, indent=2, allow_nan=False) + "\n"

    @classmethod
    def of_json(cls, text: str) -> Site:
        """Return the result that as_json wrote. Raises InvalidResultError."""
        try:
            plain = json.loads(text)
        except ValueError as error:
            raise InvalidResultError(f"no JSON: {error}") from error
        if not isinstance(plain, dict) or plain.get("schema") != SCHEMA:
            raise InvalidResultError(f"no result of verify with schema {SCHEMA}")
        try:
            instant(plain["at"])
            return cls(
                str(plain["site"]),
                str(plain["at"]),
                tuple(checks_of(plain["checks"])),
                dict(plain["versions"]),
                float(plain["seconds"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidResultError(f"{type(error).__name__}: {error}") from error


def instant(text: str) -> datetime:
    """Return the time that RFC 3339 describes. Raises TypeError and ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is no year that a calendar has") from error


def timestamp(moment: datetime) -> str:
    """Return a time in RFC 3339, in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def checks_of(plain: Iterable[Any]) -> list[Check]:
    """Return the checks that modules returned. Raises InvalidResultError.

    Points that are not finite are left out: neither JSON nor a plot has them.
    """
    checks: list[Check] = []
    for number, item in enumerate(plain, start=1):
        name = item.get("id", "") if isinstance(item, Mapping) else ""
        try:
            check = Check.of(item)
            for end in check.ends:
                instant(end.at)
            figures = tuple(
                replace(
                    figure,
                    points=tuple(float(x) for x in figure.points if math.isfinite(float(x))),
                    limit=None if figure.limit is None else float(figure.limit),
                )
                for figure in check.figures
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise InvalidResultError(f"check {number} ({name or 'no id'}): {reason}") from error
        checks.append(replace(check, figures=figures))
    twice = [name for name, count in Counter(check.id for check in checks).items() if count > 1]
    if twice:
        raise InvalidResultError(f"more than one check has the id {', '.join(sorted(twice))}")
    return checks


def unknown_ids(checks: Iterable[Check], skip: Iterable[str]) -> list[str]:
    """Return the ids to skip that no check has."""
    known = {check.id for check in checks}
    return [name for name in dict.fromkeys(skip) if name not in known]


def without(checks: Iterable[Check], skip: Iterable[str]) -> list[Check]:
    """Return the checks, those with these ids as skipped.

    What ends stays in the calendar: to skip a check does not renew a certificate.
    """
    names = set(skip)
    return [
        replace(check, verdict=SKIPPED, evidence=SKIP_REASON, remedy="", figures=())
        if check.id in names
        else check
        for check in checks
    ]


def counts(site: Site) -> str:
    """Return how many checks have each verdict: 20 pass, 1 warn, 2 fail, 1 skipped."""
    numbers = Counter(check.verdict for check in site.checks)
    listed = [f"{numbers[verdict]} {verdict}" for verdict in VERDICTS if numbers[verdict]]
    return ", ".join(listed) or "no checks"


def printable(text: str) -> str:
    """Return the text without characters that neither a terminal nor XML takes."""
    return _UNPRINTABLE.sub("\ufffd", text.replace("\r\n", "\n"))


def table(site: Site, width: int) -> list[tuple[str, str]]:
    """Return the lines for a terminal, each with the verdict that colours it.

    A check has its verdict, id and evidence; a failed one and a warning also the remedy.
    """
    first = max((len(check.id) for check in site.checks), default=0)
    indent = " " * (max(map(len, VERDICTS)) + first + 4)
    lines: list[tuple[str, str]] = []
    for check in site.checks:
        head = f"{check.verdict:<{len(SKIPPED)}}  {check.id:<{first}}  "
        texts = [(head, check.evidence)]
        if check.remedy and check.verdict in (FAIL, WARN):
            texts.append((f"{indent}do: ", check.remedy))
        for start, text in texts:
            wrapped = _wrapped(start, text, indent, width)
            lines += [(check.verdict, line) for line in wrapped]
    summary = f"site {site.name}: {site.verdict} ({counts(site)})"
    return [*lines, (site.verdict, printable(summary))]


def _wrapped(start: str, text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        printable(text) or "-",
        # An id may be long: a column of evidence stays.
        max(width, len(indent) + 30),
        initial_indent=printable(start),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def failure(site: Site) -> str:
    """Return the message of a site that fails: each failed check with its remedy."""
    failed = site.of_verdict(FAIL)
    lines = [f"site {site.name}: {len(failed)} of {len(site.checks)} checks failed:"]
    for number, check in enumerate(failed, start=1):
        remedy = f": {check.remedy}" if check.remedy else ""
        lines.append(f"  {number}. {check.evidence}{remedy} [{check.id}]")
    return printable("\n".join(lines))


def urgent_first(checks: Sequence[Check]) -> list[Check]:
    """Return the checks, failed ones first, then warnings, skipped and passed ones."""
    return sorted(checks, key=lambda check: URGENCY.index(check.verdict))
