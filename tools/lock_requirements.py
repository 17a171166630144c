# SPDX-License-Identifier: Apache-2.0
"""Write the locks: the exact version of everything that each list of requirements leads to.

A lock for a release of ansible-core is made with a Python that runs it, and kept as it is where
this machine has none. pip resolves each with the indexes that this machine is configured for;
nothing is installed. Raises SystemExit with pip's own message when there is no solution.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tools.core_environments import CORES, find_python

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (ROOT / "requirements" / "lab.in", ROOT / "tests" / "clients" / "requirements.in")


def resolve(source: Path, python: Path) -> dict[str, str]:
    """Return name -> version of all that this Python's pip would install for ``source``."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    command += ["--disable-pip-version-check", "--report", "-", "--requirement", str(source)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise SystemExit("lock: no set of versions fits (pip's message is above)")
    items = json.loads(result.stdout)["install"]
    return {
        re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(): item["metadata"]["version"]
        for item in items
    }


def main() -> None:
    """Resolve each source and write its lock beside it."""
    pythons: dict[Path, Path | None] = dict.fromkeys(SOURCES, Path(sys.executable))
    pythons |= {core.source: find_python(core) for core in CORES}
    for source, python in pythons.items():
        if python is None:
            print(f"{source.relative_to(ROOT)}: no Python here runs this ansible-core; lock kept")
            continue
        pins = resolve(source, python)
        lines = [f"{name}=={version}\n" for name, version in sorted(pins.items())]
        header = f"# Made by `make lock` from {source.name}: edit that.\n"
        lock = source.with_suffix(".txt")
        lock.write_text(header + "".join(lines), encoding="utf-8")
        print(f"{lock.relative_to(ROOT)}: {len(pins)} packages")


if __name__ == "__main__":
    main()
