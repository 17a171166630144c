# SPDX-License-Identifier: Apache-2.0
"""Who owns the host sets its clock and writes to the volume: no licence comes back by that."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._license.audit import read_tar, verify
from sonic_reference.license_proxy import offline
from sonic_reference.license_proxy.audit import AuditLog
from sonic_reference.license_proxy.offline import AirGapped, LicenceError
from sonic_reference.license_proxy.states import Verdict
from sonic_reference.license_proxy.store import Store

from lab.licences import Vendor

VENDOR = Vendor()
KEY = offline.public_key(VENDOR.public_key)
BEGAN = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = 86400.0


def at(days: float) -> float:
    """A time, so many days from the beginning."""
    return BEGAN.timestamp() + days * DAY


def licence(name: str, issued: float, life: float) -> str:
    """A licence, issued so many days from the beginning, for so many days."""
    moment = BEGAN + timedelta(days=issued)
    return VENDOR.licence(name, issued=moment, life=timedelta(days=life))


class Site:
    """An air-gapped license proxy, the host's clock and uptime, and its volume."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock_s = at(0)
        self.uptime_s = 1000.0
        self._start()

    def restart(self, meanwhile: Callable[[], None]) -> None:
        """Stop the proxy, do something to its volume, and start it."""
        self.store.close()
        meanwhile()
        self._start()

    def _start(self) -> None:
        self.store = Store(self.folder)
        self.audit = AuditLog(self.store, uptime=lambda: self.uptime_s)
        self.proxy = AirGapped(
            KEY, self.store, grace_s=0, audit=self.audit, clock=lambda: self.clock_s
        )

    def verdict(self, days: float) -> Verdict:
        """The verdict when the clock is set to so many days from the beginning."""
        self.clock_s = at(days)
        return self.proxy.verdict(self.clock_s)

    def state(self, days: float) -> str:
        return self.verdict(days).state

    def hand_in(self, text: str, days: float) -> str:
        """What comes of a licence that is handed in: its id, or the error's code."""
        self.clock_s = at(days)
        try:
            taken = self.proxy.accept(text, self.clock_s)
        except LicenceError as error:
            return error.code
        return taken.id if taken else "as before"

    def problems(self) -> str:
        """The problems that verifying an export finds."""
        return "; ".join(verify(read_tar(io.BytesIO(self.audit.tar(self.clock_s, "i")))))

    def remove(self, *names: str) -> Callable[[], None]:
        def act() -> None:
            for name in names:
                (self.folder / name).unlink()

        return act

    def keep_lines(self, count: int) -> Callable[[], None]:
        def act() -> None:
            path = self.folder / "audit.jsonl"
            path.write_bytes(b"".join(path.read_bytes().splitlines(True)[:count]))

        return act


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with a licence for 30 days."""
    made = Site(tmp_path / "volume")
    assert made.hand_in(licence("L-2", -1, 31), 0) == "L-2"
    return made


def nothing() -> None:
    """Leave the volume as it is."""


def test_a_clock_set_back_does_not_revive_what_has_ended(site: Site) -> None:
    assert site.state(29) == "airgapped"
    assert site.state(31) == "expired"
    back = site.verdict(10)
    assert back.state == "expired"
    assert (
        "the host's clock says 2026-11-11T12:00:00Z, and 2026-12-02T12:00:00Z was seen before"
        in (back.reason)
    )
    assert "set the clock right" in back.reason
    site.restart(nothing)
    assert site.state(10) == "expired"
    assert site.problems() == ""


@pytest.mark.parametrize(
    "names", [["license.json"], ["marks.json"], ["audit.jsonl"], ["license.json", "marks.json"]]
)
def test_a_clock_set_back_with_a_file_gone_does_not_either(site: Site, names: list[str]) -> None:
    assert site.state(31) == "expired"
    # The mark is in the log as well, from its next record on.
    site.audit.add(at(31), "state", {"to": "expired"})
    site.restart(site.remove(*names))
    assert site.state(10) == "expired"


def test_a_clock_that_stands_still_does_not_stop_the_time(site: Site) -> None:
    for _unused in range(40):
        site.uptime_s += DAY
        state = site.state(0)
    assert state == "expired"
    site.restart(nothing)
    assert site.state(0) == "expired"


def test_a_clock_that_is_a_little_behind_is_not_spoken_of(site: Site) -> None:
    site.state(10)
    assert "clock" not in site.verdict(10 - 200 / DAY).reason
    assert "clock" in site.verdict(10 - 400 / DAY).reason
    assert site.state(10 - 400 / DAY) == "airgapped"


def test_what_had_ended_is_not_taken_when_the_clock_is_set_back(site: Site) -> None:
    assert site.state(60) == "expired"
    assert site.hand_in(licence("L-3", 1, 40), 10) == "license_expired"
    assert site.hand_in(licence("L-4", 59, 40), 10) == "L-4"
    assert site.state(10) == "airgapped"


def test_an_older_licence_stays_out_when_the_newest_ones_file_is_gone(site: Site) -> None:
    older = licence("L-1", -2, 400)
    assert site.hand_in(older, 1) == "license_superseded"
    site.restart(site.remove("license.json"))
    verdict = site.verdict(2)
    assert verdict.state == "expired"
    assert "the licence L-2 was in force, and its file is gone from the volume: hand in" in (
        verdict.reason
    )
    assert site.hand_in(older, 2) == "license_superseded"
    seed = site.folder / "given.json"
    seed.write_text(older)
    assert site.proxy.seed(seed) is None
    assert site.state(2) == "expired"
    # The very one that was lost comes back, and so does a newer one.
    assert site.hand_in(licence("L-2", -1, 31), 2) == "L-2"
    assert site.state(2) == "airgapped"


def test_an_older_licence_in_the_newest_ones_place_is_not_used(site: Site) -> None:
    def swap() -> None:
        (site.folder / "license.json").write_text(licence("L-1", -2, 400))

    site.restart(swap)
    assert site.state(2) == "expired"


def test_a_log_from_before_the_marks_still_says_which_is_newest(tmp_path: Path) -> None:
    """An installation of an earlier version: license records, no marks, no anchor."""
    site = Site(tmp_path / "volume")
    terms = offline.read(licence("L-2", -1, 31), KEY).as_json()
    record = {"sequence": 1, "time": "2026-11-01T12:00:00Z", "event": "license"}
    record |= {"previous": "0" * 64, "details": terms}
    site.restart(site.remove(*[path.name for path in site.folder.iterdir()]))
    (site.folder / "audit.jsonl").write_bytes(json.dumps(record).encode() + b"\n")
    site.restart(nothing)
    assert site.audit.problems == []
    assert site.hand_in(licence("L-1", -2, 400), 1) == "license_superseded"


@pytest.mark.parametrize(
    ("names", "lines", "message"),
    [
        ((), 2, "the log was cut: it had 6 records"),
        ((), 0, "the log was cut: it had 6 records"),
        (("audit.jsonl",), None, "the log was cut: it had 6 records"),
        (("marks.json",), None, "marks.json, which says how far the log goes, was removed"),
        (("marks.json", "audit.jsonl"), None, "the log was removed: license.json is there"),
    ],
)
def test_a_log_that_was_cut_is_detected_and_reported(
    site: Site, names: tuple[str, ...], lines: int | None, message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    for number in range(5):
        site.audit.add(at(1), "usage", {"n": number})
    cut = site.keep_lines(lines) if lines is not None else nothing

    def tamper() -> None:
        cut()
        site.remove(*names)()

    site.restart(tamper)
    assert message in site.problems()
    assert message in " ".join(site.audit.problems)
    assert "find out who can write to the volume" in caplog.text
    # It stays reported, once, and the log goes on.
    site.restart(nothing)
    site.audit.add(at(2), "usage", {"n": 9})
    assert site.problems().count(message) == 1


def test_a_record_that_was_changed_is_found(site: Site) -> None:
    for number in range(5):
        site.audit.add(at(1), "usage", {"n": number})

    def change(old: bytes, new: bytes) -> Callable[[], None]:
        path = site.folder / "audit.jsonl"
        return lambda: (path.write_bytes(path.read_bytes().replace(old, new)), None)[1]

    site.restart(change(b'"n": 4', b'"n": 7'))
    assert "record 6 was changed" in " ".join(site.audit.problems)
    site.restart(change(b'"n": 1', b'"n": 8'))
    site.restart(nothing)
    problems = [one for one in site.audit.problems if "record 4 does not follow" in one]
    assert len(problems) == 1


@pytest.mark.parametrize("lines", [0, 3, None])
def test_a_log_that_is_cut_while_it_is_written_is_found(site: Site, lines: int | None) -> None:
    for number in range(5):
        site.audit.add(at(1), "usage", {"n": number})
    (site.keep_lines(lines) if lines is not None else site.remove("audit.jsonl"))()
    site.audit.check()
    assert "the log was cut or changed while the service ran: it had 6 records" in site.problems()
    assert site.state(31) == "expired"
    assert site.state(10) == "expired"


def test_a_clock_that_ran_ahead_is_reported_and_a_newer_licence_ends_it(site: Site) -> None:
    """A battery that died, a time server that was wrong: years ahead, for a moment."""
    assert site.state(3650) == "expired"
    after = site.verdict(2)
    assert after.state == "expired"
    assert "A clock that ran ahead" in after.reason
    site.restart(nothing)
    assert site.hand_in(licence("L-2", -1, 31), 2) == "as before"
    assert site.state(2) == "expired"
    assert site.hand_in(licence("L-3", 1.9, 60), 2) == "L-3"
    assert site.verdict(2) == Verdict("airgapped", "licensed until 2027-01-02T09:36:00Z", at(61.9))
    site.restart(nothing)
    assert site.state(3) == "airgapped"
    assert site.problems() == ""


def test_a_clock_that_ran_ahead_by_days_waits_or_takes_a_licence_that_lasts_longer(
    site: Site,
) -> None:
    assert site.state(45) == "expired"
    assert site.hand_in(licence("L-3", 2, 30), 2) == "license_expired"
    assert site.hand_in(licence("L-4", 2, 60), 2) == "L-4"
    assert site.state(2) == "airgapped"


def test_a_full_volume_loses_no_mark_while_the_proxy_runs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_unused: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "write", full)
    assert site.state(31) == "expired"
    assert site.state(10) == "expired"


def test_removed_marks_and_a_clock_set_back_show_in_the_export(site: Site) -> None:
    """Who rewrites anchor and marks leaves records whose times go back."""
    site.state(20)
    site.audit.add(at(20), "state", {})
    log = read_tar(io.BytesIO(site.audit.tar(at(20), "i")))
    record = json.loads(log.lines[-1])
    record["mark"]["latest"] = "2026-10-01T00:00:00+00:00"
    forged = type(log)((*log.lines[:-1], json.dumps(record).encode()), log.manifest)
    assert "was seen before" in "; ".join(verify(forged))
