# SPDX-License-Identifier: Apache-2.0
"""The one model of a worker: its defaults, its shape, and what preflight reports of it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible_collections.baremetal.sonic.plugins.plugin_utils.worker_specs import (
    InvalidWorkersError,
    WorkerSpec,
    worker_specs,
)

from tests.unit.rendering import ROOT, templated

REGISTRY, TAG = "registry.example.com/speech", "sonic-1"
ARGS = {"model": "m", "image": "w", "capacity": 4}


def spec(args: dict[str, Any] | None = None, **entry: Any) -> WorkerSpec:
    """The only worker of an inventory, with the least that it needs."""
    [actual] = worker_specs(
        [{"name": "tts", "workerArgs": ARGS | (args or {})} | entry], REGISTRY, TAG
    )
    return actual


def scaled(least: int, most: int, threshold: float = 0.6) -> WorkerSpec:
    """An autoscaled worker."""
    options = {"enabled": True, "minReplicas": least, "maxReplicas": most, "threshold": threshold}
    return spec(autoscaling=options)


def test_the_least_that_a_worker_needs_is_completed() -> None:
    image = f"{REGISTRY}/w:{TAG}"
    assert spec() == WorkerSpec("tts", "m", image, 4, min_replicas=1, max_replicas=1)
    assert spec().speaks
    assert not spec({"operation": "STT"}).speaks


def test_every_value_of_the_vendors_form_arrives() -> None:
    args = {"gpuType": "g", "operation": "STT", "useCB": False, "useLora": True}
    scaling = {"enabled": True, "threshold": 0.8, "minReplicas": 2, "maxReplicas": 5}
    assert spec(args, autoscaling=scaling).as_dict() == {
        "name": "tts",
        "model": "m",
        "image": f"{REGISTRY}/w:{TAG}",
        "capacity": 4,
        "gpu_type": "g",
        "operation": "STT",
        "speaks": False,
        "use_cb": False,
        "use_lora": True,
        "autoscaled": True,
        "threshold": 0.8,
        "min_replicas": 2,
        "max_replicas": 5,
    }


@pytest.mark.parametrize(
    ("entry", "bounds"),
    [
        ({}, (1, 1)),
        ({"replicas": 3}, (3, 3)),
        ({"replicas": "3"}, (3, 3)),
        ({"replicas": None, "autoscaling": None}, (1, 1)),
        ({"autoscaling": {"minReplicas": 0, "maxReplicas": 7}}, (1, 1)),
        ({"autoscaling": {"enabled": False, "minReplicas": 0}, "replicas": 2}, (2, 2)),
        ({"autoscaling": {"enabled": "no", "minReplicas": 0}}, (1, 1)),
        ({"autoscaling": {"enabled": True}}, (1, 10)),
        ({"autoscaling": {"enabled": True, "minReplicas": 0}, "replicas": 3}, (0, 10)),
        ({"autoscaling": {"enabled": "true", "maxReplicas": 4}}, (1, 4)),
    ],
)
def test_bounds_of_the_number_of_pods(entry: dict[str, Any], bounds: tuple[int, int]) -> None:
    actual = spec(**entry)
    assert (actual.min_replicas, actual.max_replicas) == bounds


def test_the_documented_defaults_are_those_of_the_model() -> None:
    text = (ROOT / "roles/site/meta/argument_specs.yml").read_text(encoding="utf-8")
    options = yaml.safe_load(text)["argument_specs"]["variables"]["options"]["workers"]["options"]
    args, scaling = options["workerArgs"]["options"], options["autoscaling"]["options"]
    documented = {
        "gpu_type": args["gpuType"]["default"],
        "operation": args["operation"]["default"],
        "use_cb": args["useCB"]["default"],
        "use_lora": args["useLora"]["default"],
        "autoscaled": scaling["enabled"]["default"],
        "threshold": scaling["threshold"]["default"],
        "min_replicas": scaling["minReplicas"]["default"],
        "max_replicas": scaling["maxReplicas"]["default"],
    }
    needed = {"name", "model", "image", "capacity"}
    own = {item.name: item.default for item in fields(WorkerSpec) if item.name not in needed}
    assert own == documented
    assert options["replicas"]["default"] == spec().min_replicas


@pytest.mark.parametrize(
    ("worker", "says"),
    [
        (scaled(-1, 2), "minReplicas is -1: set it to 0 or more"),
        (scaled(3, 2), "maxReplicas is 2: set it to 3 or more"),
        (scaled(0, 0), "maxReplicas is 0: set it to 1 or more"),
        (scaled(1, 2, 60), "threshold is 60: it is a share"),
        (scaled(1, 2, 0), "threshold is 0: it is a share"),
    ],
)
def test_autoscaling_that_cannot_work(worker: WorkerSpec, says: str) -> None:
    [problem] = worker.problems()
    assert problem.startswith("worker tts: autoscaling.")
    assert says in problem


def test_autoscaling_that_can_work_or_is_off() -> None:
    off = spec(autoscaling={"enabled": False, "minReplicas": 5, "maxReplicas": 1})
    assert [worker.problems() for worker in (scaled(0, 1, 1.0), spec(), off)] == [[], [], []]


def test_every_problem_is_reported_at_once() -> None:
    bad = [
        {"workerArgs": {"model": "m", "capacity": "many", "operation": "SING"}},
        "tts",
        {"name": "ok", "workerArgs": ARGS, "autoscaling": {"minReplicas": 1.5}},
    ]
    with pytest.raises(InvalidWorkersError) as caught:
        worker_specs(bad, REGISTRY, TAG)
    starts = (
        "workers[0].name is missing: give a name",
        "workers[0].workerArgs.image is missing: give an image",
        "workers[0].workerArgs.capacity is 'many': give a whole number",
        "workers[0].workerArgs.operation is 'SING': give TTS or STT",
        "workers[1].name is missing",
        "workers[1].workerArgs.model is missing",
        "workers[1].workerArgs.image is missing",
        "workers[1].workerArgs.capacity is missing",
        "workers[2].autoscaling.minReplicas is 1.5: give a whole number",
    )
    problems = sorted(caught.value.problems)
    for line, start in zip(problems, sorted(starts), strict=True):
        assert line.startswith(start)


def test_a_text_is_no_list_of_workers() -> None:
    with pytest.raises(InvalidWorkersError, match="workers is not a list"):
        worker_specs("tts", REGISTRY, TAG)


def test_the_filter_names_what_is_wrong() -> None:
    expression = "{{ workers | baremetal.sonic.worker_specs('r', 't') }}"
    [actual] = templated(expression, {"workers": [{"name": "tts", "workerArgs": ARGS}]})
    assert (actual["image"], actual["min_replicas"]) == ("r/w:t", 1)
    with pytest.raises(AnsibleError, match=r"workers\[0\]\.name is missing"):
        templated(expression, {"workers": [{"workerArgs": ARGS}]})
