# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""What a run in check mode would change at a site: its drift, field by field.

The run prints an event in each line, as the callback ansible.posix.jsonl does.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .children import ENVIRONMENT

EVENTS = {**ENVIRONMENT, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.jsonl"}
# Longer values are cut: a report is not a backup.
LONGEST = 300
HIDDEN = "not shown: the task has no_log"


@dataclass(frozen=True)
class Difference:
    """One field of an object, or of a file, that differs.

    host: where. task: what would change it. object: for example Deployment cartesia-api, or a
    file; empty where the task does not say. field: a path in the object; empty for the whole.
    live: what is there. wanted: what the inventory wants; for a text the lines that differ.
    """

    host: str
    task: str
    object: str = ""
    field: str = ""
    live: str = ""
    wanted: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the difference as JSON has it."""
        return asdict(self)

    def line(self) -> str:
        """Return the difference in one line."""
        place = ": ".join(part for part in (self.object or self.task, self.field) if part)
        if not self.field:
            return f"{self.host}  {place}" + (f": {self.wanted}" if self.wanted == HIDDEN else "")
        return f"{self.host}  {place}: {self.live or 'nothing'} -> {self.wanted or 'nothing'}"


def events_of(output: str) -> list[Mapping[str, Any]]:
    """Return the events in a run's output. Other lines are warnings."""
    events: list[Mapping[str, Any]] = []
    for line in output.splitlines():
        if line.startswith("{"):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and event.get("_event"):
                events.append(event)
    return events


def failure(events: Iterable[Mapping[str, Any]]) -> str:
    """Return the last failure of a run that was not ignored, or a host that did not answer."""
    last = ""
    for event in events:
        for host, result in (event.get("hosts") or {}).items():
            if event["_event"] == "v2_runner_on_unreachable":
                last = f"{host} is unreachable: {result.get('msg', '')}"
            elif event["_event"] == "v2_runner_on_failed":
                last = f"{host}: {event['task']['name']}: {result.get('msg', '')}"
    return " ".join(last.split())


def complete(events: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the run came to its end."""
    return any(event["_event"] == "v2_playbook_on_stats" for event in events)


def differences(events: Iterable[Mapping[str, Any]]) -> list[Difference]:
    """Return what the run would change, in its order, each once."""
    seen: list[Difference] = []
    for event in events:
        if event["_event"] != "v2_runner_on_ok":
            continue
        for host, result in event["hosts"].items():
            for part in result.get("results") or [result]:
                if part.get("changed"):
                    seen += _of_result(host, event["task"]["name"], part)
    return list(dict.fromkeys(seen))


def _of_result(host: str, task: str, result: Mapping[str, Any]) -> Iterator[Difference]:
    if "censored" in result:
        yield Difference(host, task, wanted=HIDDEN)
        return
    diffs = result.get("diff") or []
    parts = [diff for diff in ([diffs] if isinstance(diffs, dict) else diffs) if diff]
    if not parts:
        yield Difference(host, task)
    for diff in parts:
        name = str(diff.get("after_header") or diff.get("before_header") or "")
        live, wanted = diff.get("before", ""), diff.get("after", "")
        if "prepared" in diff:
            yield Difference(host, task, name, wanted=_cut(str(diff["prepared"])))
        elif isinstance(live, (dict, list)) or isinstance(wanted, (dict, list)):
            for field, old, new in fields(live or None, wanted or None):
                yield Difference(host, task, name, field, _cut(_text(old)), _cut(_text(new)))
        else:
            yield Difference(host, task, name, wanted=_cut(_lines(str(live), str(wanted))))


def fields(live: Any, wanted: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield path, live and wanted value of each field that differs; None for one that is not there.

    A list is compared place by place. Items with a name are compared by it.
    """
    if isinstance(live, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*live, *wanted]):
            yield from fields(live.get(key), wanted.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(live, list) and isinstance(wanted, list):
        old, new = _by_name(live), _by_name(wanted)
        if old is not None and new is not None:
            for key in dict.fromkeys([*old, *new]):
                yield from fields(old.get(key), new.get(key), f"{path}[{key}]")
            return
        for place in range(max(len(live), len(wanted))):
            old_item, new_item = (
                items[place] if place < len(items) else None for items in (live, wanted)
            )
            yield from fields(old_item, new_item, f"{path}[{place}]")
    elif live != wanted:
        yield path, live, wanted


def _by_name(items: list[Any]) -> dict[str, Any] | None:
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    if None in names or len(set(names)) < len(names):
        return None
    return dict(zip(map(str, names), items, strict=True))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _lines(live: str, wanted: str) -> str:
    """Return the lines that differ, with - and +."""
    pairs = difflib.ndiff(live.splitlines(), wanted.splitlines())
    return "\n".join(line.rstrip() for line in pairs if line[:2] in ("- ", "+ "))
