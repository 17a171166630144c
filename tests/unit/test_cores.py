# SPDX-License-Identifier: Apache-2.0
"""The collection loads on this ansible-core; tools/cores.py runs this on the other releases too."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.release import __version__

from tests.playbooks import ROOT, ansible

MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("[!_]*.py"))
PLAYBOOKS = sorted(path for path in (ROOT / "playbooks").glob("*.yml"))
INVENTORIES = ("lab", "single-site", "two-sites")


def play(folder: Path, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run tasks on this machine; return what each one returned."""
    playbook = folder / "play.yml"
    content = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    playbook.write_text(yaml.safe_dump(content), encoding="utf-8")
    done = ansible(
        *("-i", "localhost,", "-c", "local", playbook),
        environment={"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"},
    )
    start, end = done.stdout.find("{"), done.stdout.rfind("\n}") + 2
    assert start >= 0, done.stdout + done.stderr
    [ran] = json.loads(done.stdout[start:end])["plays"]
    return [task["hosts"]["localhost"] for task in ran["tasks"]]


def test_release_is_the_one_that_was_asked_for() -> None:
    asked = os.environ.get("SONIC_CORE", "2.19")
    assert __version__.startswith(f"{asked}.")
    floor = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))
    assert floor["requires_ansible"].startswith(">=2.18.")


@pytest.mark.parametrize("name", INVENTORIES)
def test_playbooks_have_no_syntax_error(name: str) -> None:
    hosts = ROOT / "inventories" / name / "hosts.yml"
    done = ansible("--syntax-check", "-i", hosts, *PLAYBOOKS)
    assert done.returncode == 0, done.stderr
    assert "does not support Ansible version" not in done.stderr
    assert done.stdout.count("playbook: ") == len(PLAYBOOKS)


def test_every_module_starts_and_refuses_wrong_options(tmp_path: Path) -> None:
    # With its imports on the host, and before it reads or changes anything there.
    tasks = [
        {f"baremetal.sonic.{name}": {"no_such_option": 1}, "ignore_errors": True}
        for name in MODULES
    ]
    results = dict(zip(MODULES, play(tmp_path, tasks), strict=True))
    refused = re.compile("missing required arguments|no_such_option")
    assert not {
        name: result["msg"]
        for name, result in results.items()
        if not refused.search(str(result["msg"]))
    }


def test_module_returns_its_result(tmp_path: Path) -> None:
    [result] = play(tmp_path, [{"baremetal.sonic.gpu_info": {}}])
    assert result["changed"] is False
    assert isinstance(result["gpus"], list)
