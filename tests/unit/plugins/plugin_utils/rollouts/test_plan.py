# SPDX-License-Identifier: Apache-2.0
"""Waves, maintenance windows over the change of the clocks, and the budget."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.plan import (
    Budget,
    Window,
    opening,
    waves,
    windows,
)

SITES = ["oslo", "berlin", "rome", "paris", "lima"]


@pytest.mark.parametrize(
    ("wanted", "planned"),
    [
        ([], [["oslo"], ["berlin", "rome", "paris", "lima"]]),
        ([["rome"]], [["rome"], ["oslo", "berlin", "paris", "lima"]]),
        (["rome", "40%"], [["rome"], ["oslo", "berlin"], ["paris", "lima"]]),
        (["25%", ["oslo"]], [["berlin", "rome"], ["oslo"], ["paris", "lima"]]),
        (["100%"], [SITES]),
    ],
)
def test_waves(wanted: Any, planned: list[list[str]]) -> None:
    assert waves(SITES, wanted) == (planned, [])


def test_one_site_is_one_wave() -> None:
    assert waves(["oslo"], []) == ([["oslo"]], [])


def test_all_problems_of_the_waves_at_once() -> None:
    _planned, problems = waves(SITES, [["oslo", "mars"], "oslo", []])
    assert problems == [
        "rollout_waves: site oslo is there 2 times",
        "rollout_waves: the inventory has no site mars",
        "rollout_waves: wave 3 is empty",
    ]


def window(**changes: Any) -> Window:
    made, problems = windows(
        [{"from": "22:00", "to": "04:00", "zone": "Europe/Oslo"} | changes], "w"
    )
    assert not problems
    return made[0]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        # Friday, in summer (UTC+2) and in winter (UTC+1).
        ("2026-07-03T19:59:00Z", False),
        ("2026-07-03T20:00:00Z", True),
        ("2026-12-04T20:59:00Z", False),
        ("2026-12-04T21:00:00Z", True),
        # Saturday morning belongs to Friday's window, Saturday evening to none.
        ("2026-07-04T01:59:00Z", True),
        ("2026-07-04T02:00:00Z", False),
        ("2026-07-04T20:30:00Z", False),
    ],
)
def test_a_window_over_midnight_in_summer_and_winter(moment: str, is_open: bool) -> None:
    assert window(days=["fri"]).is_open(at(moment)) is is_open


def test_the_window_opens_in_an_hour_that_the_clocks_leave_out() -> None:
    # On 2026-03-29 in Oslo, 02:00 is followed by 03:00: the first minute of the window is 03:00.
    night = window(**{"from": "02:30", "to": "05:00"})
    assert night.opens(at("2026-03-29T00:00:00Z")) == at("2026-03-29T01:00:00Z")


def test_the_hour_that_occurs_twice_is_open_twice() -> None:
    # On 2026-10-25 in Oslo, 03:00 is followed by 02:00.
    night = window(**{"from": "02:00", "to": "03:00"})
    assert night.is_open(at("2026-10-25T00:30:00Z"))
    assert night.is_open(at("2026-10-25T01:30:00Z"))
    assert not night.is_open(at("2026-10-25T02:30:00Z"))


def test_the_first_of_several_windows() -> None:
    late, early = window(days=["sun"]), window(days=["sat"])
    assert opening([late, early], at("2026-07-03T12:00:00Z")) == at("2026-07-04T20:00:00Z")
    assert opening([], at("2026-07-03T12:00:00Z")) == at("2026-07-03T12:00:00Z")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"zone": "Europe/Atlantis"}, "zone is Europe/Atlantis"),
        ({"from": 1320}, "from is 1320: give hours and minutes in quotes"),
        ({"to": "24:00"}, "to is 24:00"),
        ({"days": ["someday"]}, "days is ['someday']"),
        ({"at": "22:00"}, "at is unknown"),
    ],
)
def test_a_wrong_window(change: dict[str, Any], words: str) -> None:
    right = {"from": "22:00", "to": "04:00", "zone": "Europe/Oslo"}
    made, problems = windows([right, right | change], "site oslo: rollout_windows")
    assert len(made) == 1
    assert len(problems) == 1
    assert problems[0].startswith(f"site oslo: rollout_windows, window 2: {words}")


def test_the_budget_counts_the_wave_and_all() -> None:
    budget = Budget(in_wave=1, in_all=2)
    assert not budget.exhausted([True, False], [True])
    assert "2 failed in this wave, 1 may" in budget.exhausted([True, True], [])
    assert "3 failed in all, 2 may" in budget.exhausted([True], [True, True])
