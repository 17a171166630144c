# SPDX-License-Identifier: Apache-2.0
"""Who speaks to the API: the first control plane of each site, by playbooks/leader.yml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.playbooks import ROOT, ansible

INVENTORY = {
    "all": {
        "children": {
            "control_plane": {
                "hosts": {
                    "a1": {"site_name": "a"},
                    "a2": {"site_name": "a"},
                    "b1": {"site_name": "b"},
                    # The inventory names the leader of site c.
                    "c1": {"site_name": "c", "site_leader": "c2"},
                    "c2": {"site_name": "c", "site_leader": "c2"},
                }
            },
            "gpu_workers": {"hosts": {"gpu1": {"site_name": "a"}}},
        },
    }
}


def speaking(folder: Path, *options: str, initialized: bool = True) -> list[str]:
    """The hosts of a play that speaks to the API; the group is made twice, as by site.yml."""
    before: dict[str, Any] = {
        "hosts": "a1",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Initialize the control plane",
                "ansible.builtin.debug": {"msg": "initialized"},
                "changed_when": not initialized,
                "register": "kubeadm_state",
            }
        ],
    }
    speaks = {
        "hosts": "sonic_leaders",
        "gather_facts": False,
        "tasks": [{"name": "Speak", "ansible.builtin.debug": {"msg": "speaks"}}],
    }
    leader = yaml.safe_load((ROOT / "playbooks/leader.yml").read_text(encoding="utf-8"))
    (folder / "hosts.yml").write_text(yaml.safe_dump(INVENTORY), encoding="utf-8")
    plays = [before, *leader, *leader, speaks]
    (folder / "play.yml").write_text(yaml.safe_dump(plays), encoding="utf-8")
    done = ansible("-i", folder / "hosts.yml", folder / "play.yml", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=1" not in done.stdout or not initialized
    _before, _task, rest = done.stdout.partition("TASK [Speak]")
    return sorted(line.split("[")[1].split("]")[0] for line in rest.splitlines() if "ok: [" in line)


@pytest.mark.parametrize(
    ("limit", "leaders"),
    [
        ("all", ["a1", "b1", "c2"]),
        ("b1", ["b1"]),
        # No leader is among them, so no play speaks to the API.
        ("a2,gpu1", []),
    ],
)
def test_one_host_of_each_site_speaks(tmp_path: Path, limit: str, leaders: list[str]) -> None:
    assert speaking(tmp_path, "--limit", limit) == leaders


def test_check_mode_leaves_out_a_control_plane_that_is_yet_to_be_initialized(
    tmp_path: Path,
) -> None:
    assert speaking(tmp_path, "--check", initialized=False) == ["b1", "c2"]
    assert speaking(tmp_path, initialized=False) == ["a1", "b1", "c2"]


def test_no_other_playbook_chooses_the_host_that_speaks() -> None:
    actual = {}
    for path in sorted(ROOT.glob("playbooks/*.yml")):
        text = path.read_text(encoding="utf-8")
        if "hosts: sonic_leaders" in text:
            assert "import_playbook: leader.yml" in text.split("hosts: sonic_leaders")[0], path
        actual[path.stem] = text.count("end_host")
    # In cluster.yml an added GPU host asks the leader, which is not among the hosts of the run.
    assert {name: count for name, count in actual.items() if count} == {"cluster": 1}
