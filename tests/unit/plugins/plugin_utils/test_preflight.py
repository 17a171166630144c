# SPDX-License-Identifier: Apache-2.0
"""What preflight says of GPUs, cloned hosts and addresses."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import preflight


def test_cloned_hosts() -> None:
    [problem] = preflight.shared_machine_ids({"b": "1", "a": "1", "c": "2", "d": "", "e": ""})
    assert problem.startswith("a and b have the same /etc/machine-id")


def test_more_gpus_asked_than_there_are() -> None:
    workers: list[dict[str, Any]] = [
        {"name": "a", "replicas": 3},
        {"name": "b", "autoscaling": {"minReplicas": 2}},
    ]
    [problem] = preflight.gpu_problems(workers, {"gpu1": 4})
    assert "asks for 5 GPUs, the inventory has 4 (gpu1 4)" in problem
    assert preflight.gpu_problems(workers, {"gpu1": 4, "gpu2": 1}) == []


def test_unknown_gpus_are_not_judged() -> None:
    assert preflight.gpu_problems([{"name": "a", "replicas": 9}], {"gpu1": None}) == []


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("192.0.2.10", ""),
        ("192.0.2.10/24", "is not an IP address"),
        ("192.0.2.11", "is the address of cp1"),
    ],
)
def test_virtual_ip(address: str, problem: str) -> None:
    found = preflight.virtual_ip_problems(address, {"cp1": "192.0.2.11", "gpu1": "gpu1"})
    assert len(found) == bool(problem)
    assert all(problem in line for line in found)
