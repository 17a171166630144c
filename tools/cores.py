# SPDX-License-Identifier: Apache-2.0
"""Run the tests that load the collection through Ansible on the other ansible-cores.

``python -m tools.cores [RELEASE ...]``: all releases without one. A release whose Python this
machine lacks is not run; a line says so. Exit status: 0, or 1 when a test failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from tools.core_environments import CORES, ROOT, Core, environment, find_python

# They run playbooks, modules, filters and the action plugin, and render templates of roles.
TESTS = (
    "tests/unit/test_cores.py",
    "tests/unit/test_inventories.py",
    "tests/unit/test_nats.py",
    "tests/unit/plugins/filter",
    "tests/unit/plugins/plugin_utils/test_images.py",
    "tests/unit/plugins/plugin_utils/test_pins.py",
)


def run(core: Core) -> bool:
    """Run the tests on one release; return whether they passed."""
    python = find_python(core)
    if python is None:
        print(f"ansible-core {core.release}: not run: there is no Python {core.pythons} here")
        return True
    programs = environment(core, python)
    print(f"ansible-core {core.release}:", flush=True)
    options = ["-q", "-rfEs", "-p", "no:cacheprovider"]
    command = [str(programs / "python"), "-m", "pytest", *options, *TESTS]
    settings = {
        **os.environ,
        "SONIC_CORE": core.release,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.run(command, cwd=ROOT, env=settings, check=False).returncode == 0


def main(releases: Sequence[str]) -> int:
    """Run the named releases, and return the exit status. SystemExit: a release is unknown."""
    unknown = set(releases) - {core.release for core in CORES}
    if unknown:
        known = ", ".join(core.release for core in CORES)
        raise SystemExit(f"cores: no release {', '.join(sorted(unknown))}; there are: {known}")
    wanted = [core for core in CORES if not releases or core.release in releases]
    passed = [run(core) for core in wanted]
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
