# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Plan a rollout over sites: waves, maintenance windows, and the budget of failures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SHARE = re.compile(r"(100|[1-9]?[0-9])%")
CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
# How far ahead the next opening of a window is searched.
AHEAD = timedelta(days=8)


@dataclass(frozen=True)
class Window:
    """Hours of a week in which a site may change, in the site's own time zone.

    A window whose end is not after its begin lasts until that time of the next day.
    """

    days: tuple[int, ...]
    begin: time
    end: time
    zone: ZoneInfo

    def is_open(self, now: datetime) -> bool:
        """Whether the window is open at a moment, which has a time zone."""
        local = now.astimezone(self.zone)
        clock = local.timetz().replace(tzinfo=None)
        today, yesterday = local.weekday(), (local.weekday() - 1) % 7
        if self.begin < self.end:
            return today in self.days and self.begin <= clock < self.end
        return (today in self.days and clock >= self.begin) or (
            yesterday in self.days and clock < self.end
        )

    def opens(self, now: datetime) -> datetime | None:
        """Return the next moment at which the window is open: now, or to the minute."""
        if self.is_open(now):
            return now
        moment = now.replace(second=0, microsecond=0)
        while moment < now + AHEAD:
            # A minute of the real clock each time: a local time may occur twice, or not at all.
            moment += timedelta(minutes=1)
            if self.is_open(moment):
                return moment
        return None


def windows(given: Any, where: str) -> tuple[list[Window], list[str]]:
    """Return the windows of a variable, and its problems.

    Args:
        given: a list of maps with days, from, to and zone.
        where: names the variable in a problem.
    """
    if not isinstance(given, list):
        return [], [f"{where}: give a list of windows, each with from, to and zone"]
    made, problems = [], []
    for number, item in enumerate(given, start=1):
        try:
            made.append(_window(item))
        except ValueError as error:
            problems.append(f"{where}, window {number}: {error}")
    return made, problems


def _window(item: Any) -> Window:
    """Raises ValueError, with what to do."""
    if not isinstance(item, Mapping):
        raise ValueError("give a map with days, from, to and zone")
    if unknown := item.keys() - {"days", "from", "to", "zone"}:
        raise ValueError(f"{', '.join(sorted(unknown))} is unknown: use days, from, to and zone")
    days = item.get("days", DAYS)
    names = [str(day).lower()[:3] for day in days] if isinstance(days, Sequence) else []
    if isinstance(days, str) or not names or set(names) - set(DAYS):
        raise ValueError(f"days is {days}: give a list of {', '.join(DAYS)}")
    hours = {}
    for name in ("from", "to"):
        if not (match := CLOCK.fullmatch(str(item.get(name, "")))):
            # YAML 1.1 reads 22:00 without quotes as a number.
            raise ValueError(
                f"{name} is {item.get(name)}: give hours and minutes in quotes, '22:00'"
            )
        hours[name] = time(int(match[1]), int(match[2]))
    try:
        zone = ZoneInfo(str(item.get("zone", "")))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"zone is {item.get('zone')}: give a name of the time zone database, Europe/Oslo for"
            " example"
        ) from None
    return Window(tuple(DAYS.index(name) for name in names), hours["from"], hours["to"], zone)


def opening(allowed: Sequence[Window], now: datetime) -> datetime | None:
    """Return when the first of the windows is open; now when there is no window at all."""
    if not allowed:
        return now
    return min((at for window in allowed if (at := window.opens(now))), default=None)


def waves(sites: Sequence[str], wanted: Any) -> tuple[list[list[str]], list[str]]:
    """Return the sites of each wave, and the problems of rollout_waves.

    Args:
        sites: all sites of the rollout, in the inventory's order.
        wanted: for each wave a list of sites, one site, or a share of all sites ("25%"), which
            takes the first sites that no other wave names. The sites that are left form one more
            wave. Empty: the first site alone, then the others.
    """
    if not wanted:
        return [part for part in (list(sites[:1]), list(sites[1:])) if part], []
    if not isinstance(wanted, list):
        return [], ["rollout_waves: give a list of waves"]
    problems: list[str] = []
    named: list[str] = []
    for wave in wanted:
        if not _share(wave):
            named += [wave] if isinstance(wave, str) else list(wave)
    for name in dict.fromkeys(named):
        if name not in sites:
            problems.append(f"rollout_waves: the inventory has no site {name}")
        if named.count(name) > 1:
            problems.append(f"rollout_waves: site {name} is there {named.count(name)} times")
    free = [site for site in sites if site not in named]
    made = []
    for number, wave in enumerate(wanted, start=1):
        if share := _share(wave):
            count = math.ceil(len(sites) * share / 100)
            members, free = free[:count], free[count:]
        else:
            members = [wave] if isinstance(wave, str) else list(wave)
            if not members:
                problems.append(f"rollout_waves: wave {number} is empty")
        made.append(members)
    return [wave for wave in [*made, free] if wave], problems


def _share(wave: Any) -> int:
    match = SHARE.fullmatch(wave.strip()) if isinstance(wave, str) else None
    return int(match[1]) if match else 0


@dataclass(frozen=True)
class Budget:
    """How many sites may fail before no other site is started."""

    in_wave: int = 0
    in_all: int = 0

    def exhausted(self, wave: Iterable[bool], rest: Iterable[bool]) -> str:
        """Return why the rollout halts, or nothing.

        Args:
            wave: for each finished site of the running wave, whether it failed.
            rest: the same for the sites of all former waves.
        """
        here = sum(wave)
        everywhere = here + sum(rest)
        if here > self.in_wave:
            return f"{here} failed in this wave, {self.in_wave} may (rollout_max_failures_wave)"
        if everywhere > self.in_all:
            return f"{everywhere} failed in all, {self.in_all} may (rollout_max_failures)"
        return ""
