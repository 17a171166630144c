# SPDX-License-Identifier: Apache-2.0
"""A wait in parts, and the lines that show its progress."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout import phases
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.progress import (
    Assessment,
    Progress,
    Target,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.wait import (
    Graces,
    Outcome,
    Wait,
    Waited,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.waiting import continued

from tests.unit.plugins.module_utils._rollout.test_wait import (
    PODS_PATH,
    SHORT,
    WORKER,
    FakeApi,
    api,
    pod,
)

__all__ = ["api"]
NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)
SCHEDULED = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-29T11:59:00Z"}


def a_pod(state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    containers = [{"name": "worker", "state": state}] if state else []
    return {
        "metadata": {"name": "p", "creationTimestamp": "2026-11-29T11:58:00Z"},
        "status": {"conditions": [SCHEDULED], "containerStatuses": containers, **status},
    }


READY = [
    SCHEDULED,
    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-29T11:59:55Z"},
]


@pytest.mark.parametrize(
    ("given", "phase"),
    [
        (a_pod(conditions=[]), ("pending", 120)),
        (a_pod(), ("pulling or starting", 60)),
        (a_pod({"waiting": {"reason": "ContainerCreating"}}), ("pulling or starting", 60)),
        (a_pod({"waiting": {"reason": "ImagePullBackOff"}}), ("failing", 60)),
        (a_pod({"waiting": {"reason": "CreateContainerConfigError"}}), ("failing", 60)),
        (a_pod({"running": {"startedAt": "2026-11-29T11:59:30Z"}}), ("loading", 30)),
        # The node's clock is ahead.
        (a_pod({"running": {"startedAt": "2026-11-29T12:00:05Z"}}), ("loading", 0)),
        (a_pod({"running": {}}), ("loading", 0)),
        (a_pod(conditions=READY), ("ready", 5)),
        (a_pod(phase="Failed"), ("", 0)),
    ],
)
def test_what_a_pod_does(given: dict[str, Any], phase: tuple[str, float]) -> None:
    assert phases.phase(given, NOW) == phase


def test_a_pod_that_is_deleted() -> None:
    given = a_pod(conditions=READY)
    given["metadata"]["deletionTimestamp"] = "2026-11-29T11:59:50Z"
    assert phases.phase(given, NOW) == ("ending", 10)


def test_a_line_for_each_workload() -> None:
    pods = (
        a_pod(conditions=READY), a_pod({"running": {"startedAt": "2026-11-29T11:58:58Z"}}),
        a_pod({"running": {"startedAt": "2026-11-29T11:59:58Z"}}), a_pod(conditions=[]),
        a_pod(phase="Failed"),
    )  # fmt: skip
    target = Target("Deployment", "cartesia", "tts-worker")
    assessment = Assessment(target, Progress(False, "", desired=4, ready=1), True, pods=pods)
    line = phases.line(assessment, NOW)
    assert line == "tts-worker 1/4 ready, 2 loading (62 s), 1 pending (120 s)"
    later = datetime(2026, 11, 29, 12, 0, 9, tzinfo=UTC)
    assert not phases.changed([assessment], [assessment], later)
    fewer = Assessment(target, assessment.progress, True, pods=pods[1:])
    assert phases.changed([assessment], [fewer], NOW)


def run(api: FakeApi, part_s: float, waited: Waited, graces: Graces = SHORT) -> Outcome:
    return Wait(api, [WORKER], graces, 60, waited=waited).run(part_s=part_s)


def test_a_part_ends_without_a_verdict(api: FakeApi) -> None:
    outcome = run(api, 0.2, Waited(elapsed_s=10))
    assert outcome.failure == ""
    assert outcome.waited
    assert 10.2 <= outcome.waited.elapsed_s < 15
    assert outcome.elapsed_s >= 10.2


def test_a_trouble_is_as_old_as_it_was_in_earlier_parts(api: FakeApi) -> None:
    api.objects[PODS_PATH] = [pod("image_back_off")]
    patient = Graces(image_pull=30)
    first = run(api, 0.1, Waited(), patient)
    assert first.waited
    [(key, age)] = first.waited.troubles.items()
    assert key == f"{WORKER}: image"
    assert age < 5
    second = run(api, 5, Waited(29.9, {key: 29.9}), patient)
    assert second.cause == "image"
    assert second.waited is None


def test_the_timeout_counts_all_parts(api: FakeApi) -> None:
    outcome = run(api, 5, Waited(elapsed_s=60))
    assert outcome.cause == "timeout"
    assert outcome.failure.startswith("not ready after 60 s")


def test_the_time_between_two_parts_counts() -> None:
    waited = {"elapsed_s": 20.0, "troubles": {"a": 5.0}}
    assert continued(waited, 20.5) == {"elapsed_s": 20.5, "troubles": {"a": 5.5}}
    # Two clocks.
    assert continued(waited, 19.0) == {"elapsed_s": 20.0, "troubles": {"a": 5.0}}
