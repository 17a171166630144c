# SPDX-License-Identifier: Apache-2.0
"""The calendar of everything that ends, read back by the rules of RFC 5545."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import (
    PASS,
    Check,
    End,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.verify_calendar import (
    as_json,
    entries,
    ics,
)

from tests.verify_results import EVIL, NOW, attacked, site


def parsed(text: str) -> list[dict[str, str]]:
    """Read a calendar: unfold its lines, and return the properties of each event and alarm."""
    assert text.endswith("\r\n")
    physical = text.removesuffix("\r\n").split("\r\n")
    assert [line for line in physical if "\n" in line or "\r" in line] == []
    assert max(len(line.encode()) for line in physical) <= 75
    lines = text.removesuffix("\r\n").replace("\r\n ", "").split("\r\n")
    assert (lines[0], lines[-1]) == ("BEGIN:VCALENDAR", "END:VCALENDAR")
    events: list[dict[str, str]] = []
    open_parts: list[str] = []
    for line in lines:
        name, colon, value = line.partition(":")
        assert colon, line
        assert re.fullmatch(r"[A-Z0-9-]+(;[A-Z]+=[A-Z]+)*", name)
        if name == "BEGIN":
            open_parts.append(value)
            if value == "VEVENT":
                events.append({})
        elif name == "END":
            assert open_parts.pop() == value
        elif "VEVENT" in open_parts:
            prefix = "ALARM-" if open_parts[-1] == "VALARM" else ""
            assert prefix + name not in events[-1]
            events[-1][prefix + name] = re.sub(
                r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), value
            )
    assert open_parts == []
    return events


def with_ends(name: str, *ends: End) -> Any:
    return site(name, (Check("c", "C", PASS, "e", ends=ends),))


def test_all_sites_by_date() -> None:
    lines = entries([site("rack2"), site("rack1")])
    assert [(line.at[:10], line.site) for line in lines] == [
        ("2026-12-11", "rack1"),
        ("2026-12-11", "rack2"),
        ("2027-06-30", "rack1"),
        ("2027-06-30", "rack2"),
        ("2028-08-01", "rack1"),
        ("2028-08-01", "rack2"),
    ]
    assert len({line.uid for line in lines}) == 6


def test_an_event_with_its_alarm() -> None:
    event = parsed(ics(entries([site()])))[0]
    uid = event.pop("UID")
    assert re.fullmatch(r"[0-9a-f]{32}@baremetal\.sonic", uid)
    assert event == {
        "DTSTAMP": "20261129T120000Z",
        "DTSTART": "20261211T090000Z",
        "SUMMARY": "rack1: certificate of speech.example.com ends",
        "DESCRIPTION": (
            "Do: renew it; then run playbooks/speech.yml, for all hosts\n"
            "Kind: certificate. Seen by the check ingress-certificate at 2026-11-29T12:00:00Z."
        ),
        "CATEGORIES": "certificate",
        "TRANSP": "TRANSPARENT",
        "ALARM-ACTION": "DISPLAY",
        "ALARM-TRIGGER": "-P14D",
        "ALARM-DESCRIPTION": "rack1: certificate of speech.example.com ends",
    }


def test_special_letters_come_back_as_they_were() -> None:
    what = "a,b;c\\d\\n e\nf: " + "ü€😀" * 60
    [event] = parsed(ics(entries([with_ends("r", End(what, "k", "2027-01-01T00:00:00Z"))])))
    assert event["SUMMARY"] == f"r: {what} ends"


def test_no_text_adds_a_property() -> None:
    what = "x\r\nEND:VEVENT\rATTACH:https://evil.example\x85\u2028y"
    [event] = parsed(ics(entries([with_ends("r", End(what, "k", "2027-01-01T00:00:00Z"))])))
    assert "ATTACH" not in event
    assert len(parsed(ics(entries([attacked()])))) == 1


def test_an_event_moves_when_its_end_does() -> None:
    end = End("certificate", "certificate", "2027-01-01T00:00:00Z")
    [before] = entries([with_ends("r", end)])
    [after] = entries([with_ends("r", replace(end, at="2028-01-01T00:00:00Z"))])
    assert before.uid == after.uid
    assert before.at != after.at


def test_the_same_end_twice_is_one_event_and_another_date_a_second() -> None:
    one = End("certificate", "certificate", "2027-01-01T00:00:00Z")
    same = replace(one, at="2027-01-01T01:00:00+01:00")
    later = replace(one, at="2027-01-02T00:00:00Z")
    lines = entries([with_ends("r", one, same, later)])
    assert [line.at for line in lines] == ["2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z"]
    assert len({line.uid for line in lines}) == 2


def test_a_calendar_without_events() -> None:
    assert parsed(ics([])) == []


def test_json_names_files_that_are_no_results() -> None:
    now = datetime(2026, 11, 30, tzinfo=UTC)
    plain = json.loads(as_json(entries([site()]), {"x.json": "no JSON"}, now))
    assert (plain["schema"], plain["at"]) == (1, "2026-11-30T00:00:00Z")
    assert plain["unreadable"] == {"x.json": "no JSON"}
    assert list(plain["ends"][0]) == [
        "site", "check", "what", "kind", "at", "remedy", "seen", "uid"
    ]  # fmt: skip
    assert json.loads(as_json(entries([attacked()]), {}, NOW))["ends"][0]["what"] == EVIL
