# SPDX-License-Identifier: Apache-2.0
"""What a run in check mode shows, as differences."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.drifts import (
    HIDDEN,
    LONGEST,
    Difference,
    complete,
    differences,
    events_of,
    failure,
    fields,
)


def event(result: dict[str, Any], kind: str = "ok", host: str = "cp1") -> dict[str, Any]:
    return {"_event": f"v2_runner_on_{kind}", "task": {"name": "Apply"}, "hosts": {host: result}}


def of(result: dict[str, Any]) -> list[Difference]:
    return differences([event(result)])


def test_only_json_events_are_read() -> None:
    lines = ["[WARNING]: a", json.dumps(event({"changed": False})), "{half", "[1]", '{"a": 1}']
    assert len(events_of("\n".join(lines))) == 1


def test_fields_of_an_object() -> None:
    live = {"spec": {"replicas": 2, "containers": [{"name": "a", "image": "x:1"}]}, "old": True}
    wanted = {"spec": {"replicas": 1, "containers": [{"name": "a", "image": "x:2"}]}, "new": [1]}
    shown = list(fields(live, wanted))
    assert shown == [
        ("spec.replicas", 2, 1),
        ("spec.containers[a].image", "x:1", "x:2"),
        ("old", True, None),
        ("new", None, [1]),
    ]


def test_lists_without_names_are_compared_by_place() -> None:
    assert list(fields([1, 2, 3], [1, 5])) == [("[1]", 2, 5), ("[2]", 3, None)]
    both = [{"name": "a"}, {"name": "a"}]
    assert list(fields(both, both[:1])) == [("[1]", {"name": "a"}, None)]


def test_an_object_an_absent_one_and_a_file() -> None:
    result = {
        "changed": True,
        "diff": [
            {"after_header": "Deployment a/b", "before": {"n": 2}, "after": {"n": "3"}},
            {"after_header": "Service a/c", "before": "", "after": {"kind": "Service"}},
            {"after_header": "/etc/x", "before": "a\nb\n", "after": "a\nc\n"},
            {"prepared": "+ package"},
        ],
    }
    shown = of(result)
    assert shown[0] == Difference("cp1", "Apply", "Deployment a/b", "n", "2", "3")
    assert shown[0].line() == "cp1  Deployment a/b: n: 2 -> 3"
    assert (shown[1].object, shown[1].live) == ("Service a/c", "")
    assert json.loads(shown[1].wanted) == {"kind": "Service"}
    assert (shown[2].object, shown[2].wanted) == ("/etc/x", "- b\n+ c")
    assert shown[3].wanted == "+ package"
    assert len(shown) == 4


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ({"changed": False, "diff": {"before": "a", "after": "b"}}, []),
        ({"changed": True}, [Difference("cp1", "Apply")]),
        ({"changed": True, "censored": "hidden"}, [Difference("cp1", "Apply", wanted=HIDDEN)]),
        # A loop: its items, not itself.
        (
            {"changed": True, "results": [{"changed": True}, {"changed": False}]},
            [Difference("cp1", "Apply")],
        ),
    ],
)
def test_tasks_that_show_no_difference(result: dict[str, Any], shown: list[Difference]) -> None:
    assert of(result) == shown


def test_long_values_are_cut() -> None:
    [shown] = of({"changed": True, "diff": {"before": {"a": 1}, "after": {"a": "x" * 999}}})
    assert len(shown.wanted) == LONGEST


def test_the_same_difference_is_shown_once() -> None:
    assert len(differences([event({"changed": True}), event({"changed": True})])) == 1


def test_failures() -> None:
    assert failure([event({"changed": True})]) == ""
    assert failure([event({"msg": "no\nroute"}, "unreachable")]) == "cp1 is unreachable: no route"
    assert failure([event({"msg": "bad"}, "failed", "gpu1")]) == "gpu1: Apply: bad"
    assert not complete([event({})])
    assert complete([{"_event": "v2_playbook_on_stats", "stats": {}}])
