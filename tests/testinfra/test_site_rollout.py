# SPDX-License-Identifier: Apache-2.0
"""rollout.yml on the lab as the only site: a change that passes, and ones that are rolled back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from tests.playbooks import tried_on_lab

NAMESPACE = "cartesia"


def rolled_out(folder: Path, *options: str, **variables: Any) -> tuple[int, dict[str, Any], str]:
    """Run rollout.yml; returns its exit code, the lab's entry of rollout.json, and the output."""
    done = tried_on_lab(
        "rollout.yml", *options, rollout_folder=str(folder), rollout_soak=5, **variables
    )
    path = folder / "rollout.json"
    entry = json.loads(path.read_text("utf-8"))["sites"]["lab"] if path.exists() else {}
    return done.returncode, entry, done.stdout


def templates(kubeconfig: str) -> dict[str, Any]:
    """Return what each Deployment of the stack wants."""
    with config.new_client_from_config(config_file=kubeconfig) as connected:
        listed = client.AppsV1Api(connected).list_namespaced_deployment(NAMESPACE).items
        return {item.metadata.name: item.spec.template.to_dict() for item in listed}


def locks(kubeconfig: str) -> list[str]:
    with config.new_client_from_config(config_file=kubeconfig) as connected:
        leases = client.CoordinationV1Api(connected).list_namespaced_lease(NAMESPACE).items
        return [item.metadata.name for item in leases if item.metadata.name == "sonic-rollout"]


def test_a_change_that_passes_is_made_once(info: dict[str, Any], tmp_path: Path) -> None:
    code, entry, output = rolled_out(tmp_path)
    assert (code, entry["result"]) == (0, "passed"), output[-4000:]
    assert not locks(info["kubeconfig"])
    assert json.loads((tmp_path / "verify/lab.json").read_text("utf-8"))["verdict"] in (
        "pass",
        "warn",
    )
    log = (tmp_path / "lab.log").read_text("utf-8")
    code, again, output = rolled_out(tmp_path)
    assert (code, again["result"]) == (0, "passed"), output[-4000:]
    # The site was left alone.
    assert (tmp_path / "lab.log").read_text("utf-8") == log


def test_the_plan_of_a_change(info: dict[str, Any], tmp_path: Path) -> None:
    before = templates(info["kubeconfig"])
    code, _entry, output = rolled_out(tmp_path, "--check", workers_environment={"SONIC_PACE": "1"})
    assert code == 0, output[-4000:]
    assert "wave 1  lab  " in output
    assert "0 to change" not in output
    assert templates(info["kubeconfig"]) == before


@pytest.mark.soak
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(
            {"workers_environment": {"SONIC_MODEL": ""}, "workers_load_timeout": 40}, id="crashes"
        ),
        # Ten seconds for one second of audio.
        pytest.param({"workers_environment": {"SONIC_PACE": "10"}}, id="slow"),
        pytest.param({"workers_environment": {"SONIC_MODEL": "another"}}, id="does-not-speak"),
    ],
)
def test_a_bad_change_is_rolled_back(
    info: dict[str, Any], tmp_path: Path, bad: dict[str, Any]
) -> None:
    before = templates(info["kubeconfig"])
    code, entry, output = rolled_out(tmp_path, **bad)
    assert (code, entry["result"]) == (2, "rolled back"), output[-4000:]
    assert entry["reason"]
    assert templates(info["kubeconfig"]) == before
    assert not locks(info["kubeconfig"])
