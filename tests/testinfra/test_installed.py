# SPDX-License-Identifier: Apache-2.0
"""The installed archive runs the lab's site without a change, on each ansible-core that is here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab.config import Lab
from tools.archive import build, install
from tools.core_environments import CORES, ROOT, environment, find_python

pytestmark = pytest.mark.soak
OWN = "own"


@pytest.mark.parametrize("release", [OWN, *(core.release for core in CORES)])
def test_site_from_the_archive_changes_nothing(release: str, tmp_path: Path) -> None:
    programs = Path(sys.executable).parent
    for core in CORES:
        if core.release == release:
            python = find_python(core)
            if python is None:
                pytest.skip(f"there is no Python {core.pythons} here")
            programs = environment(core, python)
    install(build(tmp_path, programs), tmp_path, programs)
    # Without the repository's ansible.cfg, as on a controller that has no checkout.
    settings = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    done = subprocess.run(
        [programs / "ansible-playbook", "-i", ROOT / "inventories/lab", "baremetal.sonic.site"],
        cwd=tmp_path,
        env=settings
        | {
            "LAB_STATE": str(Lab.load(os.environ.get("LAB") or "lab").directory),
            "ANSIBLE_COLLECTIONS_PATH": str(tmp_path),
            "ANSIBLE_NOCOLOR": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    counts = re.findall(r"ok=(\d+) +changed=(\d+)", done.stdout)
    assert len(counts) >= 3
    assert {changed for _ok, changed in counts} == {"0"}, done.stdout[-4000:]
