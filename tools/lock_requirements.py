# SPDX-License-Identifier: Apache-2.0
"""Write requirements/lab.txt: the exact version of everything that requirements/lab.in leads to.

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
HEADER = "# Made by `make lock` from lab.in: edit that.\n"


def resolve(source: Path) -> dict[str, str]:
    """Return name -> version of all that pip would install for the requirements file ``source``."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    command += ["--disable-pip-version-check", "--report", "-", "--requirement", str(source)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise SystemExit("lock: pip found no set of versions that fits (see above)")
    items = json.loads(result.stdout)["install"]
    return {
        re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(): item["metadata"]["version"]
        for item in items
    }


def main() -> None:
    """Resolve lab.in and write lab.txt beside it."""
    pins = resolve(ROOT / "requirements" / "lab.in")
    lines = [f"{name}=={version}\n" for name, version in sorted(pins.items())]
    (ROOT / "requirements" / "lab.txt").write_text(HEADER + "".join(lines), encoding="utf-8")
    print(f"requirements/lab.txt: {len(pins)} packages")


if __name__ == "__main__":
    main()
