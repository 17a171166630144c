# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Preflight's result as a table for people and as JSON for machines."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from . import text_files

# A problem's end: the name of its check in brackets.
CHECK = re.compile(r" \[([a-z-]+)\]$")
INVENTORY = "inventory"
LEFT_OUT = "left out: cannot be reached"


@dataclass(frozen=True)
class Finding:
    """One problem.

    Attributes:
        site: the site's name.
        host: inventory name; empty for a problem of the whole site.
        check: the id by which preflight_skip names it; inventory for checks that cannot be skipped.
        cause: what is wrong; of an inventory's problem also what to do.
        remedy: what to do; empty where the cause says it.
    """

    site: str
    host: str
    check: str
    cause: str
    remedy: str = ""


def finding(site: str, line: str, hosts: Mapping[str, str]) -> Finding:
    """The problem that a line of preflight's list describes.

    Args:
        site: the site's name.
        line: [HOST: ]CAUSE: REMEDY [CHECK], or any text for a problem of the inventory.
        hosts: each host's site.
    """
    host, colon, rest = line.partition(": ")
    if not colon or host not in hosts:
        host, rest = "", line
    match = CHECK.search(rest)
    if not match:
        return Finding(site, host, INVENTORY, rest)
    cause, _colon, remedy = rest[: match.start()].partition(": ")
    return Finding(site, host, match.group(1), cause, remedy)


def table(
    hosts: Mapping[str, str], findings: Sequence[Finding], left_out: Sequence[str]
) -> list[str]:
    """One line for each host, and one for each site that has problems of its own.

    Args:
        hosts: each host's site.
        findings: all problems.
        left_out: hosts that cannot be reached and may be left out.
    """
    rows = [("SITE", "HOST", "RESULT")]
    for site in dict.fromkeys(hosts.values()):
        for host in [name for name, place in hosts.items() if place == site]:
            checks = _checks(findings, site, host)
            rows.append((site, host, checks or (LEFT_OUT if host in left_out else "ok")))
        if checks := _checks(findings, site, ""):
            rows.append((site, "-", checks))
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"{site:<{first}}  {host:<{second}}  {result}" for site, host, result in rows]


def _checks(findings: Sequence[Finding], site: str, host: str) -> str:
    mine = [lines.check for lines in findings if (lines.site, lines.host) == (site, host)]
    return ", ".join(dict.fromkeys(mine))


def write(
    path: Path,
    hosts: Mapping[str, str],
    findings: Sequence[Finding],
    warnings: Sequence[str],
    left_out: Sequence[str],
) -> None:
    """Write the result as JSON; folders above the file are made.

    Args:
        path: the file on the controller.
        hosts: each host's site.
        findings: all problems.
        warnings: all warnings.
        left_out: hosts that cannot be reached and may be left out.

    Raises:
        OSError: the file cannot be written.
    """
    failed = {lines.host for lines in findings}
    result = {
        "ok": not findings,
        "hosts": {
            host: {"site": site, "ok": host not in failed, "left_out": host in left_out}
            for host, site in hosts.items()
        },
        "problems": [asdict(lines) for lines in findings],
        "warnings": list(warnings),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text_files.replace(path, json.dumps(result, indent=2) + "\n")
