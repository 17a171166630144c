# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The result of one check of a site, as modules return it and reports show it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

PASS, WARN, FAIL, SKIPPED = "pass", "warn", "fail", "skipped"
VERDICTS = (PASS, WARN, FAIL, SKIPPED)
# The worst result decides. A skipped check proves nothing, and fails nothing.
_RANK = {SKIPPED: 0, PASS: 1, WARN: 2, FAIL: 3}


@dataclass(frozen=True)
class Figure:
    """A measurement that a report shows as a small plot.

    name: what was measured. unit: for example s, ms or streams; empty for a plain number.
    points: the values in their order, for example the time to first audio of each request.
    limit: the value beyond which the check fails; None without one.
    """

    name: str
    unit: str
    points: tuple[float, ...]
    limit: float | None = None


@dataclass(frozen=True)
class End:
    """Something that ends on a date, as a line of the calendar.

    what: for example "certificate of speech.example.com". kind: licence, certificate, token,
    support or backup. at: the date and time in RFC 3339, in UTC. remedy: how to renew it.
    """

    what: str
    kind: str
    at: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """The result of one check.

    id: what verify_skip and verify_limits call it, in lower case with hyphens. title: what it
    checks, in one line. verdict: one of VERDICTS. evidence: what was seen, or why it was skipped.
    remedy: what to do; empty when there is nothing to do. runbook: a page in docs/, relative to
    that folder, for example runbooks/worker-down.md.
    """

    id: str
    title: str
    verdict: str
    evidence: str
    remedy: str = ""
    runbook: str = ""
    figures: tuple[Figure, ...] = ()
    ends: tuple[End, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a verdict that no report knows."""
        if self.verdict not in VERDICTS:
            raise ValueError(f"check {self.id}: the verdict {self.verdict!r} does not exist")

    def as_dict(self) -> dict[str, Any]:
        """Return the check in the form that a module returns and the JSON report holds."""
        plain = asdict(self)
        plain["figures"] = [{**item, "points": list(item["points"])} for item in plain["figures"]]
        plain["ends"] = list(plain["ends"])
        return plain

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Check:
        """Return the check that as_dict wrote. Raises KeyError, TypeError and ValueError."""
        figures = tuple(
            Figure(item["name"], item["unit"], tuple(item["points"]), item["limit"])
            for item in plain.get("figures") or ()
        )
        ends = tuple(End(**item) for item in plain.get("ends") or ())
        rest = {key: str(plain.get(key) or "") for key in ("remedy", "runbook")}
        return cls(
            str(plain["id"]), str(plain["title"]), str(plain["verdict"]), str(plain["evidence"]),
            figures=figures, ends=ends, **rest,
        )  # fmt: skip


def overall(checks: Iterable[Check]) -> str:
    """Return the verdict of a site: the worst of its checks; skipped without any."""
    return max((check.verdict for check in checks), key=_RANK.__getitem__, default=SKIPPED)
