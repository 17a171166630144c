# SPDX-License-Identifier: Apache-2.0
"""Run playbooks: the collection's own on the lab, and small ones without hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.config import Lab

ROOT = Path(__file__).resolve().parent.parent


def ansible(
    *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook in the repository with this checkout's collection; it may fail."""
    ours = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".lab/collections"),
        "ANSIBLE_NOCOLOR": "1",
    }
    return subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", *arguments],
        cwd=ROOT,
        env=os.environ | ours | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def tried_on_lab(
    playbook: str, *options: str, **variables: Any
) -> subprocess.CompletedProcess[str]:
    """Run one of the playbooks with these variables over the lab's own; it may fail."""
    lab = Lab.load(os.environ.get("LAB") or "lab")
    return ansible(
        *("-i", "inventories/lab", f"playbooks/{playbook}", "-e", json.dumps(variables), *options),
        environment=lab.environment,
    )


def on_lab(playbook: str, *options: str, **variables: Any) -> str:
    """Run one of the playbooks with these variables over the lab's own; returns its output."""
    done = tried_on_lab(playbook, *options, **variables)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def refused_on_lab(playbook: str, **variables: Any) -> str:
    """Run a playbook that has to fail; returns its output, in one line."""
    done = tried_on_lab(playbook, **variables)
    assert done.returncode != 0, done.stdout[-4000:]
    return " ".join(done.stdout.split())


def offline(folder: Path, inventory: Any, play: Any, variables: Mapping[str, Any]) -> None:
    """Run a play that speaks to no host; the folder takes the files that this needs."""
    files = {"play.json": [play], "hosts.json": inventory, "variables.json": variables}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    done = ansible(
        "-i", folder / "hosts.json", "-e", f"@{folder}/variables.json", folder / "play.json"
    )
    assert done.returncode == 0, done.stdout + done.stderr
