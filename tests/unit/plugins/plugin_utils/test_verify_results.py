# SPDX-License-Identifier: Apache-2.0
"""The result of a site: what is refused, the table, the message, and JSON there and back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import (
    FAIL,
    PASS,
    SKIPPED,
    Check,
    Figure,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.verify_results import (
    InvalidResultError,
    Site,
    checks_of,
    counts,
    failure,
    table,
    unknown_ids,
    without,
)

from tests.verify_results import CHECKS, attacked, site

PLAIN: dict[str, Any] = {"id": "a", "title": "A", "verdict": "pass", "evidence": "e"}


def test_json_there_and_back() -> None:
    text = site().as_json()
    assert Site.of_json(text) == site()
    plain = json.loads(text)
    assert list(plain) == ["schema", "site", "at", "verdict", "seconds", "checks", "versions"]
    assert (plain["schema"], plain["verdict"]) == (1, "fail")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"verdict": "good"}, "check 1 (a): ValueError: check a: the verdict 'good'"),
        ({"ends": [{"what": "w", "kind": "k", "at": "soon"}]}, "check 1 (a): ValueError"),
        ({"ends": [{"what": "w", "kind": "k", "at": "2026-12-01T00:00:00"}]}, "no time zone"),
        ({"ends": [{"what": "w", "kind": "k", "at": "9999-12-31T23:00:00-02:00"}]}, "no year"),
        ({"figures": [{"name": "f", "unit": "s", "points": ["x"], "limit": None}]}, "(a)"),
        ({"figures": [3]}, "(a)"),
    ],
)
def test_a_wrong_check_is_named(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidResultError) as error:
        checks_of([PLAIN | change])
    assert reason in str(error.value)


@pytest.mark.parametrize("item", [None, [], "text", {}])
def test_what_is_no_check_is_refused(item: Any) -> None:
    with pytest.raises(InvalidResultError, match=r"check 1 \(no id\)"):
        checks_of([item])


def test_two_checks_of_one_id_are_refused() -> None:
    with pytest.raises(InvalidResultError, match="more than one check has the id a"):
        checks_of([PLAIN, PLAIN])


def test_points_that_are_not_finite_are_left_out() -> None:
    figure = {"name": "f", "unit": "s", "points": [1, float("nan"), float("inf"), 2], "limit": 3}
    [check] = checks_of([PLAIN | {"figures": [figure]}])
    assert check.figures == (Figure("f", "s", (1.0, 2.0), 3.0),)
    assert "NaN" not in Site("s", "2026-01-01T00:00:00Z", (check,)).as_json()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "no JSON"),
        ("[]", "schema 1"),
        ('{"schema": 2}', "schema 1"),
        ('{"schema": 1}', "KeyError"),
        (json.dumps({"schema": 1, "at": 5}), "TypeError"),
        (json.dumps({"schema": 1, "at": "2026-01-01T00:00:00Z", "site": "s"}), "'checks'"),
    ],
)
def test_text_that_is_no_result(text: str, reason: str) -> None:
    with pytest.raises(InvalidResultError) as error:
        Site.of_json(text)
    assert reason in str(error.value)


def test_skipped_checks_keep_what_ends() -> None:
    skipped = without(CHECKS, ["speech-ttfa", "licence"])
    changed = {check.id: check for check in skipped if check not in CHECKS}
    assert list(changed) == ["speech-ttfa", "licence"]
    assert {check.verdict for check in changed.values()} == {SKIPPED}
    assert {check.evidence for check in changed.values()} == {"skipped by verify_skip"}
    assert len(changed["licence"].ends) == 1
    assert site(checks=tuple(skipped)).verdict == "warn"


def test_unknown_ids() -> None:
    assert unknown_ids(CHECKS, ["licence", "x", "y", "x"]) == ["x", "y"]


def test_the_table_is_aligned() -> None:
    lines = [line for _verdict, line in table(site(), 92)]
    assert lines[:4] == [
        "pass     rollouts             9 of 9 are complete",
        "fail     speech-ttfa          the median time to first audio of 10 requests is 117 ms, 2",
        "                              took longer than 140 ms",
        " " * 30 + "do: look for throttled GPUs with nvidia-smi -q -d PERFORMANCE,",
    ]
    assert lines[-1] == "site rack1: fail (4 pass, 1 warn, 1 fail, 1 skipped)"


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_of_the_table_is_too_long(width: int) -> None:
    assert max(len(line) for _verdict, line in table(site(), width)) <= width


def test_a_passed_check_shows_no_remedy() -> None:
    check = Check("a", "A", PASS, "fine", "do nothing")
    assert next(line for _v, line in table(site(checks=(check,)), 80)) == "pass     a  fine"


def test_the_table_sends_no_escape_sequence_to_a_terminal() -> None:
    text = "".join(line for _verdict, line in table(attacked(), 100))
    assert "\x1b" not in text
    assert "\x1b" not in failure(attacked())


def test_the_message_has_each_failed_check_with_its_remedy() -> None:
    more = replace(CHECKS[0], verdict=FAIL, evidence="8 of 9 are complete", remedy="wait")
    assert failure(site(checks=(*CHECKS[1:], more))) == (
        "site rack1: 2 of 7 checks failed:\n"
        "  1. the median time to first audio of 10 requests is 117 ms, 2 took longer than 140 ms:"
        " look for throttled GPUs with nvidia-smi -q -d PERFORMANCE, then add a worker"
        " [speech-ttfa]\n"
        "  2. 8 of 9 are complete: wait [rollouts]"
    )


def test_a_site_without_checks() -> None:
    empty = site(checks=())
    assert (empty.verdict, counts(empty)) == ("skipped", "no checks")
    assert table(empty, 80) == [("skipped", "site rack1: skipped (no checks)")]
