# SPDX-License-Identifier: Apache-2.0
"""Preflight's messages about GPUs, cloned hosts and addresses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import preflight
from ansible_collections.baremetal.sonic.plugins.plugin_utils.role_defaults import plain_defaults
from ansible_collections.baremetal.sonic.plugins.plugin_utils.worker_specs import WorkerSpec

from tests.unit.plugins.plugin_utils.authority import Authority


def test_cloned_hosts() -> None:
    [problem] = preflight.shared_machine_ids({"b": "1", "a": "1", "c": "2", "d": "", "e": ""})
    assert problem.startswith("a and b have the same /etc/machine-id")


def test_one_branch_of_the_driver_for_a_site() -> None:
    assert preflight.driver_problems({"gpu1": "580", "gpu2": "580"}) == []
    assert preflight.driver_problems({"gpu1": None, "gpu2": None}) == []
    [problem] = preflight.driver_problems({"gpu3": None, "gpu2": "590", "gpu1": "590"})
    assert "(the default: gpu3; 590: gpu1, gpu2): set it once" in problem


def worker(name: str, replicas: int) -> WorkerSpec:
    """A worker with this number of pods."""
    return WorkerSpec(name, "m", "x/w:1", 4, min_replicas=replicas, max_replicas=replicas)


def scaled(name: str, least: int, most: int) -> WorkerSpec:
    """An autoscaled worker."""
    return replace(worker(name, least), autoscaled=True, max_replicas=most)


def test_more_gpus_asked_than_there_are() -> None:
    workers = [worker("a", 3), scaled("b", 2, 10), scaled("c", 0, 10), worker("d", 0)]
    [problem] = preflight.gpu_problems(workers, {"gpu1": 4})
    assert "asks for 5 GPUs, the inventory has 4 (gpu1 4)" in problem
    assert preflight.gpu_problems(workers, {"gpu1": 4, "gpu2": 1}) == []


def test_unknown_gpus_are_not_checked() -> None:
    assert preflight.gpu_problems([worker("a", 9)], {"gpu1": None}) == []
    assert preflight.gpu_warnings([worker("a", 9)], {"gpu1": None}) == []


def test_autoscaling_that_may_want_more_gpus_than_there_are() -> None:
    gpus: dict[str, int | None] = {"gpu1": 2, "gpu2": 4}
    [warning] = preflight.gpu_warnings([scaled("a", 1, 7), scaled("b", 1, 2)], gpus)
    assert "worker a: maxReplicas is 7, the inventory has 6 GPUs (gpu1 2, gpu2 4)" in warning
    [warning] = preflight.gpu_warnings([scaled("a", 1, 5), worker("b", 2)], gpus)
    assert "all workers together may grow to 7 pods, the inventory has 6" in warning
    assert preflight.gpu_warnings([scaled("a", 1, 4), worker("b", 2)], gpus) == []


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("192.0.2.10", ""),
        ("192.0.2.10/24", "is not an IP address"),
        ("192.0.2.11", "is the address of cp1"),
    ],
)
def test_virtual_ip(address: str, problem: str) -> None:
    problems = preflight.virtual_ip_problems(address, {"cp1": "192.0.2.11", "gpu1": "gpu1"})
    assert len(problems) == bool(problem)
    assert all(problem in line for line in problems)


GOOGLE = json.dumps({"client_email": "a", "private_key": "b", "token_uri": "c"})
ALLOWED = {"name": "storage.googleapis.com", "used_by": ["artifact-sync"]}


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        ({}, []),
        ({"artifact_sync_bucket": "b", "artifact_sync_service_account": GOOGLE}, []),
        ({"artifact_sync_volume": {"emptyDir": {}}, "egress_allowlist": []}, []),
        ({"artifact_sync_bucket": "b", "egress_allowlist": [ALLOWED]}, []),
        (
            {"artifact_sync_bucket": "b", "artifact_sync_volume": {"emptyDir": {}}},
            ["both set"],
        ),
        (
            {
                "artifact_sync_bucket": "b",
                "artifact_sync_service_account": "secret",
                "artifact_sync_ca_file": "/none.pem",
                "artifact_sync_interval": 0,
                "artifact_sync_endpoint": "storage.example.com",
            },
            ["artifact_sync_interval", "JSON key", "no file /none.pem", "https://"],
        ),
        (
            {"artifact_sync_bucket": "b", "artifact_sync_endpoint": "https://s.example.com:8443"},
            ["does not let artifact-sync to s.example.com:8443"],
        ),
        (
            {"artifact_sync_bucket": "b", "egress_allowlist": [ALLOWED | {"used_by": ["api"]}]},
            ["does not let artifact-sync to storage.googleapis.com:443"],
        ),
        (
            {"artifact_sync_bucket": "b", "egress_mode": "airgapped"},
            ["set artifact_sync_volume instead"],
        ),
        # Private addresses can be reached.
        (
            {"artifact_sync_bucket": "b", "egress_mode": "airgapped", "egress_profile": "vendor"},
            [],
        ),
    ],
)
def test_artifacts(values: dict[str, Any], problems: list[str]) -> None:
    actual = preflight.artifact_problems({**plain_defaults(), **values})
    assert len(actual) == len(problems)
    assert all(text in line for text, line in zip(problems, actual, strict=True))
    assert "secret" not in "".join(actual)


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ({}, []),
        ({"api": "a" * 16, "tts": "b_-4567890123456", "stt": "c" * 16}, []),
        ({"api": "a" * 16}, []),
        ({"api": "short", "tts": "1234567890123456"}, ["nats_users.api has", "nats_users.tts has"]),
        ({"api": "a" * 16, "worker": "b" * 16}, ["nats_users.worker is no user"]),
        ({"stt": "with space 123456"}, ["nats_users.stt has"]),
    ],
)
def test_nats_users(users: dict[str, str], message: list[str]) -> None:
    problems = preflight.nats_problems({"nats_users": users}, 1)
    assert [line[: len(start)] for line, start in zip(problems, message, strict=True)] == message
    assert "short" not in "".join(problems)


def test_nats_certificate_comes_whole() -> None:
    authority = Authority()
    server = authority.server(["nats"])
    tls = {"nats_certificate": server["certificate"], "nats_key": server["key"]}
    tls["nats_ca"] = authority.certificate
    assert preflight.nats_problems(tls, 1) == []
    [problem] = preflight.nats_problems(tls | {"nats_key": ""}, 1)
    assert problem.startswith("nats_key: give all of")
    [problem] = preflight.nats_problems(tls, 3)
    assert "not for nats-0.nats-headless" in problem


def test_open_nats_has_no_use_for_passwords_and_certificates() -> None:
    given = {"nats_access": "open", "nats_users": {"api": "a" * 16}}
    [problem] = preflight.nats_problems(given, 1)
    assert "nats_access is open" in problem
    assert "nats_users is given" in problem
    assert preflight.nats_problems({"nats_access": "open"}, 1) == []


def test_keys_that_no_header_holds_are_named_and_not_shown() -> None:
    good = {"license_proxy_api_key": "sk-1\n", "vendor_chart_openai_api_key": ""}
    assert preflight.secret_problems(good) == []
    [problems] = preflight.secret_problems({"license_proxy_api_key": "sk-1\nsk-2"})
    assert problems.startswith(
        "license_proxy_api_key holds a character that no HTTP header may hold"
    )
    assert "sk-" not in problems
