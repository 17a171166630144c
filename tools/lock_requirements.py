# SPDX-License-Identifier: Apache-2.0
"""Write the locks: the exact version of everything that lab.in, and the clients' own, lead to.

pip resolves it with the indexes that this machine is configured for; nothing is installed.
Raises SystemExit with pip's own message when there is no solution.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (ROOT / "requirements" / "lab.in", ROOT / "tests" / "clients" / "requirements.in")


def resolve(source: Path) -> dict[str, str]:
    """Return name -> version of all that pip would install for the requirements file ``source``."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
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
    for source in SOURCES:
        pins = resolve(source)
        lines = [f"{name}=={version}\n" for name, version in sorted(pins.items())]
        header = f"# Made by `make lock` from {source.name}: edit that.\n"
        lock = source.with_suffix(".txt")
        lock.write_text(header + "".join(lines), encoding="utf-8")
        print(f"{lock.relative_to(ROOT)}: {len(pins)} packages")


if __name__ == "__main__":
    main()
