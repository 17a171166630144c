# SPDX-License-Identifier: Apache-2.0
"""What runs on hosts needs no newer Python than that of the oldest supported release."""

from __future__ import annotations

import subprocess
import sys
import tomllib

from tests.playbooks import ROOT

# Ubuntu 22.04 has it; Debian 12 has 3.11.
OLDEST = "3.10"
COLLECTION = ".lab/collections/ansible_collections/baremetal/sonic/plugins"


def test_modules_use_the_library_of_the_oldest_python() -> None:
    """mypy knows since when each name of the standard library exists."""
    paths = [f"{COLLECTION}/{folder}" for folder in ("modules", "module_utils")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-version", OLDEST, *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues found" in done.stdout


def test_ruff_checks_their_syntax_for_the_oldest_python() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    targets = settings["tool"]["ruff"]["per-file-target-version"]
    version = f"py{OLDEST.replace('.', '')}"
    assert targets == {f"plugins/{name}/**": version for name in ("modules", "module_utils")}
