# SPDX-License-Identifier: Apache-2.0
"""Tasks on the controller, and the effect of an inventory's variables for all hosts there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.sonic.plugins.filter.complete_versions import (
    complete_versions,
    default_versions,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils import preflight

from tests.playbooks import ROOT, ansible
from tests.unit.test_roles_specs import load, tasks

CONTROLLER = ("localhost", "{{ site_client }}")


def delegated() -> list[tuple[str, dict[str, Any]]]:
    """Tasks that the controller runs for a host, with their files."""
    on_controller = []
    for path in sorted([*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")]):
        content = load(path) or []
        plays = [task for play in content for task in play.get("tasks", [])]
        for task in tasks(plays if path.parent.name == "playbooks" else content):
            if task.get("delegate_to") in CONTROLLER:
                on_controller.append((str(path.relative_to(ROOT)), task))
    return on_controller


def test_there_are_tasks_of_the_controller() -> None:
    assert len(delegated()) >= 5


@pytest.mark.parametrize(("path", "task"), delegated(), ids=lambda item: str(item)[:60])
def test_no_task_becomes_root_on_the_controller(path: str, task: dict[str, Any]) -> None:
    """`become: false` is not enough: ansible_become of the group all ranks above it."""
    assert task.get("vars", {}).get("ansible_become") is False, f"{path}: {task['name']}"


def test_verify_of_a_sudo_users_site_and_one_version_of_its_own(tmp_path: Path) -> None:
    inventory = {
        "all": {
            "vars": {
                "ansible_become": True,
                # This makes no task root.
                "ansible_become_exe": "/bin/false",
                "site_versions": {"kubernetes": "1.99.9"},
                "site_url": "https://speech.example.com",
                "license_proxy_api_key": "sk-1",
                "verify_model_id": "m",
                "workers": [
                    {"name": "w", "workerArgs": {"model": "o", "image": "x/w:1", "capacity": 1}}
                ],
            },
            "children": {"control_plane": {"hosts": {"cp1": {}}}},
        }
    }
    table = {**default_versions(), "kubernetes": "1.99.9"}
    play = {
        "hosts": "control_plane",
        "gather_facts": False,
        # The rest of the role asks the cluster.
        "vars": {"verify_site": {"checks": []}},
        "tasks": [
            {
                "name": "Speak",
                "ansible.builtin.include_role": {
                    "name": "baremetal.sonic.verify",
                    "tasks_from": "speech",
                    "public": True,
                },
            }
        ],
        "post_tasks": [
            {
                "name": "Compare",
                "ansible.builtin.assert": {"that": f"site_versions == {json.dumps(table)}"},
            }
        ],
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    done = ansible(
        *("--check", "-i", tmp_path / "hosts.yml", tmp_path / "play.yml"),
        # Where the tests run as root, too.
        environment={"ANSIBLE_BECOME_ALLOW_SAME_USER": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed=0" in done.stdout


def test_one_version_replaces_one() -> None:
    table = default_versions()
    assert complete_versions({}) == table
    own = complete_versions({"kubernetes": "1.36.2"})
    assert own["kubernetes"] == "1.36.2"
    assert {k: v for k, v in own.items() if k != "kubernetes"} == {
        k: v for k, v in table.items() if k != "kubernetes"
    }


def test_versions_that_are_no_components_or_are_missing() -> None:
    table = {"containerd": "2", "kubernetes": "1"}
    assert preflight.version_problems(None, table, table) == []
    assert preflight.version_problems({"containerd": "3"}, table, table) == []
    [typo] = preflight.version_problems({"kuberntes": "1"}, table, table)
    assert "kuberntes is no component: choose of containerd, kubernetes" in typo
    [short] = preflight.version_problems({"containerd": "3"}, {"containerd": "3"}, table)
    assert "site_versions has no kubernetes: given with -e it replaces" in short
