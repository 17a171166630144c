# SPDX-License-Identifier: Apache-2.0
"""A run for some of the hosts (--limit): which host uses the API when the leader is not in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.playbooks import ROOT, ansible

INVENTORY = {
    "all": {
        "vars": {"ansible_connection": "local"},
        "children": {
            "control_plane": {"hosts": {"cp1": {}}},
            "gpu_workers": {"hosts": {"gpu1": {}, "gpu2": {}}},
        },
    }
}
# What the first play leaves: the role kubeadm registers this for each host.
BEFORE = {
    "hosts": "control_plane:gpu_workers",
    "gather_facts": False,
    "tasks": [{"name": "Join", "ansible.builtin.set_fact": {"kubeadm_state": {"joined": True}}}],
}


@pytest.mark.parametrize(
    ("limit", "speaks"),
    [("all", []), ("cp1,gpu2", []), ("gpu2", ["gpu2"]), ("gpu1,gpu2", ["gpu1"])],
)
def test_gpus_of_an_added_host_are_offered_once(
    tmp_path: Path, limit: str, speaks: list[str]
) -> None:
    play = yaml.safe_load((ROOT / "playbooks/cluster.yml").read_text(encoding="utf-8"))[-1]
    [task] = play["tasks"]
    role = task.pop("ansible.builtin.include_role")
    assert role["name"] == "baremetal.sonic.nvidia_device_plugin"
    assert role["apply"]["delegate_to"] == "{{ site_leader }}"
    # In its place: who would be asked, and by whom. This machine's own Python has to do.
    task["ansible.builtin.debug"] = {"msg": "{{ inventory_hostname }} asks {{ site_leader }}"}
    del play["vars"]
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(INVENTORY))
    (tmp_path / "play.yml").write_text(yaml.safe_dump([BEFORE, play]))
    done = ansible("-i", tmp_path / "hosts.yml", tmp_path / "play.yml", "--limit", limit)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = [line for line in done.stdout.splitlines() if " asks " in line]
    assert asked == [f"    msg: {host} asks cp1" for host in speaks]
