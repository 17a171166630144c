# SPDX-License-Identifier: Apache-2.0
"""The role workers' ScaledObjects, and the results of their queries on a site's metrics."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit import rendering

THRESHOLD = 0.6


def worker(name: str = "tts-worker", **autoscaling: Any) -> dict[str, Any]:
    """An entry of workers with a capacity of 4 streams."""
    args = {"model": "sonic-3.5", "image": "worker:1", "capacity": 4}
    entry: dict[str, Any] = {"name": name, "workerArgs": args}
    return entry | ({"autoscaling": {"enabled": True} | autoscaling} if autoscaling else {})


def render(*workers: dict[str, Any], **variables: Any) -> list[dict[str, Any]]:
    """The objects that the role applies."""
    return rendering.render("workers", "workers.yml.j2", workers=list(workers), **variables)


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The only object of a kind."""
    [actual] = [item for item in objects if item["kind"] == kind]
    return actual


def test_worker_without_autoscaling_has_its_number_of_pods() -> None:
    objects = render(worker() | {"replicas": 3})
    assert one(objects, "Deployment")["spec"]["replicas"] == 3
    assert "ScaledObject" not in {item["kind"] for item in objects}
    off = worker(minReplicas=2) | {"replicas": 3}
    off["autoscaling"]["enabled"] = False
    assert one(render(off), "Deployment")["spec"]["replicas"] == 3


def test_worker_with_autoscaling_leaves_the_number_to_it() -> None:
    objects = render(worker(minReplicas=2, maxReplicas=5) | {"replicas": 3})
    assert "replicas" not in one(objects, "Deployment")["spec"]
    spec = one(objects, "ScaledObject")["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 5)
    assert (spec["pollingInterval"], spec["cooldownPeriod"]) == (15, 900)
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 30
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 900
    assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]
    assert [t["metadata"]["threshold"] for t in spec["triggers"]] == ["0.6", "1", "1"]
    other = one(render(worker(threshold=0.8)), "ScaledObject")["spec"]["triggers"]
    assert other[0]["metadata"]["threshold"] == "0.8"


def test_behavior_leaves_nothing_to_the_api_server() -> None:
    # What it fills in, KEDA takes for a difference, at every look.
    spec = one(render(worker(minReplicas=1)), "ScaledObject")["spec"]
    for rules in spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"].values():
        assert rules.keys() == {"stabilizationWindowSeconds", "selectPolicy", "policies"}


@pytest.mark.parametrize(("least", "replicas"), [(0, 1), (1, 1), (3, 3)])
def test_unknown_load_changes_nothing(least: int, replicas: int) -> None:
    spec = one(render(worker(minReplicas=least)), "ScaledObject")["spec"]
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
    # With 0, KEDA would scale to none when it cannot ask.
    assert spec["fallback"]["replicas"] == replicas
    for trigger in spec["triggers"]:
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        assert trigger["metricType"] == "AverageValue"


def test_windows_are_variables() -> None:
    short = {"workers_scale_up_window": 10, "workers_scale_down_window": 20}
    spec = one(render(worker(minReplicas=1), **short), "ScaledObject")["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 10
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 20
    assert behavior["scaleDown"]["policies"][0]["periodSeconds"] == 20
    assert spec["cooldownPeriod"] == 20


POD = 'namespace="cartesia",pod="{}"'
API = 'namespace="cartesia",pod="cartesia-api-1",offering="tts/sonic-3.5"'


def pod(name: str, load: float, capacity: float) -> dict[str, str]:
    """The series of a worker's pod; `name` is the end of its own."""
    labels = POD.format(f"tts-worker-7d9f8c6b5-{name}")
    return {
        f"up{{{labels}}}": "1x30",
        f"inferno_worker_load{{{labels}}}": f"{load}x30",
        f"inferno_worker_capacity{{{labels}}}": f"{capacity}x30",
    }


def api(queue: str = "0x30", stranded: str = "0x30") -> dict[str, str]:
    """The series of an API pod; values in promtool's notation, one each 5 s."""
    return {
        f"api_queue_size{{{API}}}": queue,
        f"api_unserviceable_requests_size{{{API}}}": stranded,
    }


# The pods of a worker that is full, whose name begins as this one's does.
OTHER = {
    key.replace("tts-worker", "tts-worker-large"): value
    for key, value in pod("a1b2c", 4, 4).items()
}
DOWN = {f"up{{{POD.format('tts-worker-7d9f8c6b5-aaaaa')}}}": "0x30"}

# Series, least number of pods -> busy workers, with those that wait, stranded; pods asked for.
CASES: dict[str, tuple[dict[str, str], int, tuple[float | None, ...], int | None]] = {
    "idle": (api() | pod("aaaaa", 0, 4), 1, (0, 0, 0), 0),
    "half": (api() | pod("aaaaa", 2, 4), 1, (0.5, 0.5, 0), 1),
    "over the threshold": (api() | pod("aaaaa", 3, 4), 1, (0.75, 0.75, 0), 2),
    # A share of the streams in use would be 1 here, whatever the number of pods: 2 for ever.
    "two full": (api() | pod("aaaaa", 4, 4) | pod("bbbbb", 4, 4), 1, (2, 2, 0), 4),
    "one full, sixteen wait": (api("16x30") | pod("aaaaa", 4, 4), 1, (1, 5, 0), 5),
    "one drains": (api() | pod("aaaaa", 3, 0) | pod("bbbbb", 1, 4), 1, (0.25, 0.25, 0), 1),
    "one loads": (api() | pod("aaaaa", 0, 0) | pod("bbbbb", 4, 4), 1, (1, 1, 0), 2),
    "another worker is full": (api() | OTHER | pod("aaaaa", 1, 4), 1, (0.25, 0.25, 0), 1),
    "labels of the vendor": (
        {key.replace(',offering="tts/sonic-3.5"', ""): value for key, value in api("8x30").items()}
        | pod("aaaaa", 4, 4),
        1,
        (1, 3, 0),
        3,
    ),
    "another offering waits": (
        {key.replace("sonic-3.5", "sonic-3x5"): value for key, value in api("8x30").items()}
        | api()
        | pod("aaaaa", 4, 4),
        1,
        (1, 1, 0),
        2,
    ),
    "nothing is known": ({}, 1, (None, None, None), None),
    "no worker answers": (api() | DOWN, 1, (None, None, 0), None),
    "no worker answers, none would do": (api() | DOWN, 0, (None, None, 0), None),
    "none there, none needed": (api(), 0, (0, 0, 0), 0),
    "none there, nothing is known": ({}, 0, (None, None, None), None),
    # Seen once, 25 s ago: KEDA asks each 15 s.
    "none there, a request waits": (api(stranded="0x23 1 0x20"), 0, (0, 0, 0.25), 1),
}


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus' own evaluator of queries."""
    items = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if not items:
        pytest.skip("no promtool: set PROMTOOL to its path, or put it on the search path")
    return items


@pytest.mark.parametrize("name", CASES)
def test_queries(promtool: str, tmp_path: Path, name: str) -> None:
    series, least, values, asked = CASES[name]
    triggers = one(render(worker(minReplicas=least)), "ScaledObject")["spec"]["triggers"]
    case = {
        "interval": "5s",
        "input_series": [{"series": key, "values": value} for key, value in series.items()],
        "promql_expr_test": [
            {
                "expr": trigger["metadata"]["query"],
                "eval_time": "145s",
                "exp_samples": [] if value is None else [{"labels": "{}", "value": value}],
            }
            for trigger, value in zip(triggers, values, strict=True)
        ],
    }
    file = tmp_path / "case.yml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "5s", "tests": [case]}))
    done = subprocess.run(
        [promtool, "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # As the HorizontalPodAutoscaler does it: the most that any of its metrics asks for. One that
    # has no value keeps it from asking for fewer pods than there are.
    known = [
        math.ceil(value / float(trigger["metadata"]["threshold"]))
        for trigger, value in zip(triggers, values, strict=True)
        if value is not None
    ]
    assert (max(known) if None not in values else None) == asked
