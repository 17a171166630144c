# SPDX-License-Identifier: Apache-2.0
"""Usage: counted by the API pods, added up here, sent to the vendor or the audit log.

All figures are totals since the beginning, as Prometheus' counters are. So a report that is lost or
comes twice changes nothing.
"""

from __future__ import annotations

import logging
import uuid
from collections import OrderedDict
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sonic_reference.license_proxy.audit import AuditLog
from sonic_reference.license_proxy.states import stamp
from sonic_reference.license_proxy.store import Store

log = logging.getLogger(__name__)

FILE = "usage.json"
# API pods come and go; those that reported longest ago are forgotten.
MAX_REPORTERS = 256
# Totals stay exact as floats, which metrics are: no report can make them unreadable.
MAX_TOTAL = 2**53
Count = Annotated[int, Field(ge=0, le=MAX_TOTAL)]


Total = TypeVar("Total", int, float)


class Amount(BaseModel):
    """Requests that a worker took, characters to speak, seconds of audio to transcribe."""

    model_config = ConfigDict(frozen=True)

    requests: Count = 0
    characters: Count = 0
    seconds: float = Field(default=0.0, ge=0, le=MAX_TOTAL, allow_inf_nan=False)

    def plus(self, now: Amount, before: Amount) -> Amount:
        """Return this and what came since ``before``."""
        return Amount(
            requests=_sum(self.requests, now.requests - before.requests),
            characters=_sum(self.characters, now.characters - before.characters),
            seconds=round(_sum(self.seconds, now.seconds - before.seconds), 3),
        )


def _sum(total: Total, more: Total) -> Total:
    return min(MAX_TOTAL, total + max(0, more))


Amounts = dict[Literal["tts", "stt"], Amount]
NONE = Amount()


class Report(BaseModel):
    """What an API pod has counted since it started; ``reporter`` is new with each start."""

    reporter: str = Field(min_length=1, max_length=200)
    usage: Amounts


class _Kept(BaseModel):
    installation: str
    since: float
    totals: Amounts = {}
    reporters: dict[str, Amounts] = {}


class Books:
    """Totals of this installation, kept in the store."""

    def __init__(self, store: Store, audit: AuditLog, now: float) -> None:
        self._store = store
        self._audit = audit
        fields = store.fields(FILE)
        try:
            kept = _Kept.model_validate(fields)
        except ValidationError:
            if fields:
                log.error("the totals that were kept cannot be read: counting starts again")
            kept = _Kept(installation=str(uuid.uuid4()), since=now)
        self.installation = kept.installation
        self.since = kept.since
        self.totals = kept.totals
        self._reporters = OrderedDict(kept.reporters)
        self._written: Amounts = dict(kept.totals)
        if kept.model_dump(mode="json") != fields:
            self._save()

    def report(self, report: Report) -> None:
        """Add what a pod counted since its last report."""
        before = self._reporters.pop(report.reporter, {})
        for operation, amount in report.usage.items():
            total = self.totals.get(operation, NONE)
            self.totals[operation] = total.plus(amount, before.get(operation, NONE))
        self._reporters[report.reporter] = before | report.usage
        while len(self._reporters) > MAX_REPORTERS:
            self._reporters.popitem(last=False)

    def close(self, now: float) -> None:
        """Record the usage since the last record, if there is any."""
        if self.totals == self._written:
            return
        self._audit.add(now, "usage", self.usage())
        self._written = dict(self.totals)
        self._save()

    def usage(self) -> dict[str, Any]:
        """Return the totals and their start, as the vendor and the audit log get them."""
        totals = {name: amount.model_dump() for name, amount in sorted(self.totals.items())}
        return {"since": stamp(self.since), "totals": totals}

    def _save(self) -> None:
        kept = _Kept(
            installation=self.installation,
            since=self.since,
            totals=self.totals,
            reporters=dict(self._reporters),
        )
        try:
            self._store.write_fields(FILE, kept.model_dump(mode="json"))
        except OSError as error:
            log.error("the totals cannot be kept: %s", error)
