# SPDX-License-Identifier: Apache-2.0
"""Run the tests that load the collection through Ansible on the other ansible-cores.

``python -m tools.cores [RELEASE ...]``: all releases without one. A release whose Python this
machine lacks is not run; a line says so. The releases run side by side. Exit status: 0, or 1 when
a test failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tools.core_environments import CORES, ROOT, Core, environment, find_python

# They run playbooks, modules, filters and the action plugin, and render templates of roles.
TESTS = (
    "tests/unit/test_cores.py",
    "tests/unit/test_inventories.py::test_examples_are_in_order",
    "tests/unit/test_nats.py",
    "tests/unit/plugins/filter",
    "tests/unit/plugins/plugin_utils/test_images.py",
    "tests/unit/plugins/plugin_utils/test_pins.py",
)


def run(core: Core) -> tuple[bool, str]:
    """Run the tests on one release; return whether they passed, and what to print."""
    python = find_python(core)
    if python is None:
        return True, f"not run: there is no Python {core.pythons} here"
    programs = environment(core, python)
    command = [str(programs / "python"), "-m", "pytest", "-q", "-rfEs", *TESTS]
    settings = {
        **os.environ,
        "SONIC_CORE": core.release,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode == 0, done.stdout.rstrip()


def main(releases: Sequence[str]) -> int:
    """Run the named releases, and return the exit status. SystemExit: a release is unknown."""
    unknown = set(releases) - {core.release for core in CORES}
    if unknown:
        known = ", ".join(core.release for core in CORES)
        raise SystemExit(f"cores: no release {', '.join(sorted(unknown))}; there are: {known}")
    wanted = [core for core in CORES if not releases or core.release in releases]
    status = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for core, (passed, output) in zip(wanted, pool.map(run, wanted), strict=True):
            print(f"ansible-core {core.release}: {output}", flush=True)
            status = status if passed else 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
