# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout import progress as rollout

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CASES: dict[str, Any] = yaml.safe_load((FIXTURES / "workloads.yml").read_text(encoding="utf-8"))
PODS: dict[str, Any] = yaml.safe_load((FIXTURES / "pods.yml").read_text(encoding="utf-8"))
WORKER = rollout.Target("Deployment", "cartesia", "tts-worker")


@pytest.mark.parametrize("name", CASES)
def test_progress(name: str) -> None:
    case = CASES[name]
    progress = rollout.PREDICATES[case["kind"]](case["object"])
    assert progress.done is case["done"]
    assert case.get("says", "") in progress.message


def replicaset(uid: str, revision: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": uid,
            "uid": uid,
            "annotations": {rollout.REVISION: revision},
            "ownerReferences": [{"uid": "d-1", "controller": True}],
        }
    }


def owned(name: str, uid: str) -> dict[str, Any]:
    pod: dict[str, Any] = copy.deepcopy(PODS[name])
    pod["metadata"]["ownerReferences"] = [{"uid": uid, "controller": True}]
    return pod


SETS = [replicaset("rs-1", "1"), replicaset("rs-2", "2")]


def assess(workload: Any, pods: list[Any], sets: list[Any] | None = None) -> rollout.Assessment:
    return rollout.assess(WORKER, workload, pods, SETS if sets is None else sets, crash_restarts=3)


def test_missing_workload() -> None:
    assessment = assess(None, [])
    assert not assessment.exists
    assert [trouble.cause for trouble in assessment.troubles] == ["missing"]
    assert assessment.summary()["message"] == "does not exist"


def test_troubles_of_the_newest_revision_only() -> None:
    loading = CASES["deployment_loading"]["object"]
    assert assess(loading, [owned("image_back_off", "rs-1")]).troubles == ()
    assessment = assess(loading, [owned("image_back_off", "rs-2"), owned("loading", "rs-2")])
    assert [trouble.cause for trouble in assessment.troubles] == ["image"]
    assert assessment.summary()["pods"].keys() == {  # type: ignore[attr-defined]
        "tts-worker-7d9f-bbbbb",
        "tts-worker-7d9f-ccccc",
    }


def test_refused_pod_is_history_once_a_younger_one_was_admitted() -> None:
    loading = CASES["deployment_loading"]["object"]
    refused, younger = owned("refused", "rs-2"), owned("loading", "rs-2")
    refused["metadata"]["labels"] = younger["metadata"]["labels"]
    refused["metadata"]["creationTimestamp"] = "2026-06-01T08:00:00Z"
    younger["metadata"]["creationTimestamp"] = "2026-06-01T09:00:00Z"
    younger["status"].pop("startTime", None)
    # Not admitted yet: the node may refuse this one, too.
    assert [t.cause for t in assess(loading, [refused, younger]).troubles] == ["refused"]
    younger["status"]["startTime"] = "2026-06-01T09:00:01Z"
    assert assess(loading, [refused, younger]).troubles == ()
    # One that was admitted before tells nothing of what happens now.
    younger["metadata"]["creationTimestamp"] = "2026-06-01T07:00:00Z"
    assert [t.cause for t in assess(loading, [refused, younger]).troubles] == ["refused"]


def test_refused_pod_of_long_ago_is_history_before_a_younger_one_is_there() -> None:
    # A worker that was scaled to no pods comes back in the revision that it had at a reboot.
    loading, refused = CASES["deployment_loading"]["object"], owned("refused", "rs-2")
    refused["metadata"]["labels"] = owned("loading", "rs-2")["metadata"]["labels"]
    refused["metadata"]["creationTimestamp"] = "2026-06-01T08:00:00Z"

    def causes(now: str) -> list[str]:
        moment = datetime.fromisoformat(now)
        assessment = rollout.assess(WORKER, loading, [refused], SETS, crash_restarts=3, now=moment)
        return [trouble.cause for trouble in assessment.troubles]

    assert causes("2026-06-01T08:00:59+00:00") == ["refused"]
    assert causes("2026-06-01T08:01:01+00:00") == []


def test_pods_of_others_do_not_count() -> None:
    other = owned("crash_loop", "rs-2")
    assert assess(CASES["deployment_loading"]["object"], [other]).pods == ()


def test_complete_workload_has_no_troubles() -> None:
    done = CASES["deployment_done"]["object"]
    assert assess(done, [owned("image_back_off", "rs-2")]).troubles == ()


def test_paused() -> None:
    paused = copy.deepcopy(CASES["deployment_loading"]["object"])
    paused["spec"]["paused"] = True
    assert [trouble.cause for trouble in assess(paused, []).troubles] == ["paused"]


@pytest.mark.parametrize("where", ["deployment", "replicaset"])
def test_pods_that_cannot_be_created(where: str) -> None:
    workload = copy.deepcopy(CASES["deployment_loading"]["object"])
    sets = copy.deepcopy(SETS)
    failing = workload if where == "deployment" else sets[1]
    failing.setdefault("status", {})["conditions"] = [
        {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": 'pods "tts-worker-x" is forbidden: exceeded quota: q',
        }
    ]
    (trouble,) = assess(workload, [], sets).troubles
    assert trouble.cause == "quota"
    assert "exceeded quota: q" in trouble.message


def test_statefulset_diagnoses_the_update_revision() -> None:
    target = rollout.Target("StatefulSet", "cartesia", "nats")
    workload = copy.deepcopy(CASES["statefulset_updating"]["object"])
    workload["spec"]["selector"] = {"matchLabels": {"app.kubernetes.io/name": "license-proxy"}}
    pods = [owned("crash_loop", "s-1"), owned("no_secret", "s-1")]
    pods[0]["metadata"]["labels"]["controller-revision-hash"] = "a"
    pods[1]["metadata"]["labels"]["controller-revision-hash"] = "b"
    assessment = rollout.assess(target, workload, pods, [], crash_restarts=3)
    assert [trouble.cause for trouble in assessment.troubles] == ["config"]
    assert len(assessment.pods) == 2


def test_ready_pods() -> None:
    assessment = assess(
        CASES["deployment_done"]["object"],
        [owned("ready", "rs-2"), owned("loading", "rs-2"), owned("leaving", "rs-2")],
    )
    assert [pod["metadata"]["name"] for pod in rollout.ready_pods(assessment)] == [
        "tts-worker-7d9f-aaaaa"
    ]


def scaled(updated: int, available: int, *, replicas: int = 2) -> dict[str, Any]:
    """A Deployment that wants two pods."""
    workload: dict[str, Any] = copy.deepcopy(CASES["deployment_done"]["object"])
    workload["status"] |= {
        "replicas": replicas,
        "updatedReplicas": updated,
        "readyReplicas": available,
        "availableReplicas": available,
    }
    return workload


@pytest.mark.parametrize(
    ("workload", "pods", "min_replicas", "done", "causes"),
    [
        # The autoscaler asks for two, one GPU is there: that is all there can be.
        (scaled(2, 1), ("ready", "no_gpu"), 1, True, []),
        (scaled(2, 1), ("ready", "no_gpu"), None, False, ["unschedulable"]),
        (scaled(2, 1), ("ready", "no_gpu"), 2, False, ["unschedulable"]),
        # The other is loading: it is waited for.
        (scaled(2, 1), ("ready", "loading"), 1, False, []),
        (scaled(2, 1), ("ready", "crash_loop"), 1, False, ["crash"]),
        # An old pod is left, and the new one finds no GPU: that would last for ever.
        (scaled(1, 2, replicas=3), ("ready", "no_gpu"), 1, False, ["unschedulable"]),
    ],
)
def test_autoscaler_may_ask_for_more_than_there_is(
    workload: Any, pods: tuple[str, ...], min_replicas: int | None, done: bool, causes: list[str]
) -> None:
    mine = [owned(name, "rs-2") for name in pods]
    for pod in mine:
        pod["metadata"]["labels"] = {"app.kubernetes.io/name": "tts-worker"}
    assessment = rollout.assess(
        WORKER, workload, mine, SETS, crash_restarts=3, min_replicas=min_replicas
    )
    assert assessment.progress.done is done
    assert [trouble.cause for trouble in assessment.troubles] == causes


def test_one_new_pod_may_suffice() -> None:
    loading = CASES["deployment_loading"]["object"]

    def first(*pods: Any) -> rollout.Assessment:
        return rollout.assess(WORKER, loading, pods, SETS, crash_restarts=3, first=True)

    none = first(owned("ready", "rs-1"), owned("loading", "rs-2"))
    assert not none.progress.done
    assert none.progress.message == "0 pods of the new revision ready"
    assert len(none.pods) == 1
    assert first(owned("ready", "rs-2"), owned("loading", "rs-1")).progress.done
    broken = first(owned("ready", "rs-1"), owned("image_back_off", "rs-2"))
    assert [trouble.cause for trouble in broken.troubles] == ["image"]
