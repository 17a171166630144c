# SPDX-License-Identifier: Apache-2.0
"""The role nvidia_driver reboots no host under pods with GPUs, and no two nodes at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.playbooks import ROOT, ansible


def handlers() -> list[dict[str, Any]]:
    """The role's handlers as tasks, with stand-ins for what needs a host."""
    tasks = yaml.safe_load((ROOT / "roles/nvidia_driver/handlers/main.yml").read_text())
    kept = []
    for task in tasks:
        assert task.pop("listen") == "Reboot for the driver"
        if "baremetal.sonic.host_check" in task:
            assert task.pop("register") == "nvidia_driver_host"
            del task["baremetal.sonic.host_check"]
            task["ansible.builtin.set_fact"] = {"nvidia_driver_host": {"node": "{{ node }}"}}
        if task.pop("ansible.builtin.reboot", None):
            line = "{{ inventory_hostname }}"
            script = f"echo + {line} >> {{{{ log }}}}; sleep 0.5; echo - {line} >> {{{{ log }}}}"
            task["ansible.builtin.command"] = {"argv": ["sh", "-c", script]}
        if "baremetal.sonic.gpu_info" not in task:
            kept.append(task)
    return kept


def run(folder: Path, nodes: dict[str, dict[str, Any]]) -> tuple[str, list[str]]:
    """Run the handlers for hosts by their state; returns Ansible's output and the reboots' log."""
    log = folder / "log"
    log.touch()
    hosts = {host: {"node": node} for host, node in nodes.items()}
    common = {"ansible_connection": "local", "log": str(log)}
    inventory = {"all": {"hosts": hosts, "vars": common}}
    play = {"hosts": "all", "gather_facts": False, "tasks": handlers()}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    done = ansible("-i", folder / "hosts.yml", folder / "play.yml")
    return done.stdout, log.read_text().splitlines()


def test_nodes_reboot_one_by_one_and_never_under_pods(tmp_path: Path) -> None:
    drained = {"joined": True, "gpu_pods": []}
    busy = {"joined": True, "gpu_pods": ["cartesia/tts-1"]}
    output, log = run(tmp_path, {"gpu1": drained, "gpu2": busy, "gpu3": drained, "gpu4": drained})
    assert sorted(log[::2]) == ["+ gpu1", "+ gpu3", "+ gpu4"]
    assert [line[2:] for line in log[::2]] == [line[2:] for line in log[1::2]]
    text = " ".join(output.split())
    assert "a reboot of gpu2, which would end cartesia/tts-1" in text
    assert "kubectl drain gpu2" in text


def test_new_hosts_reboot_together(tmp_path: Path) -> None:
    blank = {"joined": False, "gpu_pods": []}
    _output, log = run(tmp_path, {"gpu1": blank, "gpu2": blank})
    assert log[0][0] == log[1][0] == "+"
