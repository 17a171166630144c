# SPDX-License-Identifier: Apache-2.0
"""The files of the role nvidia_container_toolkit."""

from __future__ import annotations

import configparser
from pathlib import Path

import yaml

from tests.unit.rendering import ROOT, render

ROLE = ROOT / "roles/nvidia_container_toolkit"
LINKS = "/usr/bin/nvidia-ctk system create-dev-char-symlinks"


def files() -> dict[str, str]:
    [items] = render(
        "nvidia_container_toolkit",
        "files.yml.j2",
        site_versions={"nvidia_container_toolkit": "1.20.1"},
    )
    return {item["path"]: item["content"] for item in items}


def test_links_are_made_when_the_driver_is_loaded() -> None:
    [rule] = [text for path, text in files().items() if path.startswith("/etc/udev/rules.d/")]
    [line] = [line for line in rule.splitlines() if not line.startswith("#")]
    parts = line.split(", ")
    assert parts[:2] == ['ACTION=="add"', 'DEVPATH=="/bus/pci/drivers/nvidia"']
    assert parts[2] == f'RUN+="{LINKS} --create-all"'


def test_links_are_made_at_each_boot_and_in_the_run_itself() -> None:
    [(path, text)] = [item for item in files().items() if "/systemd/system/" in item[0]]
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text)
    assert unit["Service"]["ExecStart"] == LINKS
    assert unit["Service"]["RemainAfterExit"] == "yes"
    # A pod with a GPU is started by the kubelet.
    assert "kubelet.service" in unit["Unit"]["Before"]
    tasks = yaml.safe_load((ROLE / "tasks/main.yml").read_text(encoding="utf-8"))
    modules = [task.get("baremetal.sonic.systemd_service", {}).get("name") for task in tasks]
    variables = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
    assert modules[-1] == "{{ nvidia_container_toolkit_links_unit }}"
    assert Path(path).name == variables["nvidia_container_toolkit_links_unit"]
