# SPDX-License-Identifier: Apache-2.0
"""The states of a licence over time, and what they mean to requests."""

from __future__ import annotations

from pathlib import Path

import pytest
from sonic_reference.license_proxy import offline, states
from sonic_reference.license_proxy.authority import Authority
from sonic_reference.license_proxy.offline import AirGapped
from sonic_reference.license_proxy.states import Confirmation, Verdict
from sonic_reference.license_proxy.store import Store

from lab.licences import Vendor
from tests.unit.services.proxies import Clock

GRACE_S = 100.0
BEGAN = 1_000_000.0


def state_of(known: Confirmation, after_s: float) -> str:
    return states.connected(known, BEGAN + after_s, GRACE_S).state


@pytest.mark.parametrize(
    ("after_s", "state"), [(0, "grace"), (99.9, "grace"), (100, "expired"), (1e6, "expired")]
)
def test_without_any_answer_grace_counts_from_the_beginning(after_s: float, state: str) -> None:
    assert state_of(Confirmation(BEGAN), after_s) == state


def test_a_yes_lasts_until_a_check_fails() -> None:
    known = Confirmation(BEGAN, confirmed_at=BEGAN + 50, problem="")
    assert state_of(known, 1e6) == "connected"


@pytest.mark.parametrize("refused", [False, True])
def test_grace_counts_from_the_last_yes(refused: bool) -> None:
    known = Confirmation(BEGAN, confirmed_at=BEGAN + 50, problem="away", refused=refused)
    assert [state_of(known, s) for s in (51, 149, 150)] == ["grace", "grace", "expired"]
    verdict = states.connected(known, BEGAN + 51, GRACE_S)
    assert (verdict.reason, verdict.until) == ("away", BEGAN + 150)


def test_who_was_never_confirmed_and_is_refused_has_no_grace() -> None:
    assert state_of(Confirmation(BEGAN, problem="no such key", refused=True), 0) == "expired"


@pytest.mark.parametrize(
    ("after_s", "state"),
    [(-1, "airgapped"), (0, "grace"), (99.9, "grace"), (100, "expired"), (1e6, "expired")],
)
def test_an_offline_licence_ends_by_its_grace_period(after_s: float, state: str) -> None:
    assert states.air_gapped((BEGAN, None), BEGAN + after_s, GRACE_S).state == state


def test_without_a_licence_there_is_no_grace() -> None:
    assert states.air_gapped(None, BEGAN, GRACE_S).state == "expired"


class Fixed:
    """A licence in a state of the test's choice."""

    mode = "connected"

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict

    def verdict(self, now: float) -> Verdict:
        return self._verdict


@pytest.mark.parametrize(
    ("verdict", "operation", "status"),
    [
        (Verdict("connected", ""), "tts", 200),
        (Verdict("airgapped", "", BEGAN + 50), "tts", 200),
        (Verdict("grace", "", BEGAN + 50), "stt", 200),
        (Verdict("expired", ""), "tts", 402),
        (Verdict("expired", ""), "library", 402),
        (Verdict("connected", "", operations=frozenset({"tts"})), "tts", 200),
        (Verdict("connected", "", operations=frozenset({"tts"})), "stt", 403),
        (Verdict("connected", "", operations=frozenset({"tts"})), "library", 200),
    ],
)
def test_what_a_state_allows(verdict: Verdict, operation: str, status: int) -> None:
    authority = Authority(["good"], Fixed(verdict), Clock(BEGAN))
    assert authority.decide("good", operation).status == status
    for key in ("", "goo", "good ", "go\udcffd"):
        assert authority.decide(key, operation).status == 401


@pytest.mark.parametrize(("left_s", "kept_s"), [(50.0, 10.0), (3.0, 3.0), (-1.0, 0.0)])
def test_no_answer_is_kept_beyond_the_states_end(left_s: float, kept_s: float) -> None:
    authority = Authority(["good"], Fixed(Verdict("grace", "", BEGAN + left_s)), Clock(BEGAN))
    assert authority.decide("good", "tts").ttl_s == kept_s


def test_a_whole_life_air_gapped(tmp_path: Path) -> None:
    vendor, store = Vendor(), Store(tmp_path)
    licensing = AirGapped(offline.public_key(vendor.public_key), store, grace_s=GRACE_S)
    terms = offline.read(vendor.licence(), offline.public_key(vendor.public_key))
    issued, ends = terms.issued_at.timestamp(), terms.expires_at.timestamp()
    clock = Clock(issued)
    authority = Authority(["good"], licensing, clock)
    seen = [authority.decide("good", "tts").status]
    licensing.accept(vendor.licence(issued=terms.issued_at), issued)
    for clock.now in (issued, ends - 1, ends + 1, ends + GRACE_S + 1):
        seen.append(authority.decide("good", "tts").status)
    renewed = vendor.licence("L-2", issued=terms.expires_at)
    licensing.accept(renewed, clock.now)
    seen.append(authority.decide("good", "tts").status)
    assert seen == [402, 200, 200, 200, 402, 200]
