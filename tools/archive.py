# SPDX-License-Identifier: Apache-2.0
"""Check the collection's archive: galaxy-importer imports it, antsibull-docs reads its documents.

``python -m tools.archive``. Exit status: 0, or 1 when one of them complains. A warning of
galaxy-importer counts: on Galaxy its log is all that tells of one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tools.core_environments import FLOOR, ROOT, environment, find_python

# make test runs ansible-lint, ansible-test and ruff over the sources themselves.
IMPORTER = """\
[galaxy-importer]
check_required_tags = True
run_ansible_lint = False
run_ansible_test = False
run_flake8 = False
"""


def build(folder: Path, programs: Path) -> Path:
    """Build the archive into ``folder`` and return its path.

    Raises subprocess.CalledProcessError: ansible-galaxy refuses galaxy.yml.
    """
    subprocess.run(
        [programs / "ansible-galaxy", "collection", "build", "--output-path", folder],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    [archive] = folder.glob("*.tar.gz")
    return archive


def install(archive: Path, folder: Path, programs: Path) -> Path:
    """Install the archive below ``folder`` without a network and return the collection's folder.

    Raises subprocess.CalledProcessError: ansible-galaxy refuses it.
    """
    command = [str(programs / "ansible-galaxy"), "collection", "install", "--offline"]
    settings = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(folder)}
    # Outside the repository, whose ansible.cfg names the checkout as an installed collection.
    settings.pop("ANSIBLE_CONFIG", None)
    subprocess.run(
        [*command, str(archive), "--collections-path", str(folder)],
        cwd=folder,
        env=settings,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return folder / "ansible_collections" / "baremetal" / "sonic"


def complaints(log: str) -> list[str]:
    """Return the lines of galaxy-importer's log that are warnings or errors."""
    return re.findall(r"^(?:WARNING|ERROR|CRITICAL): .*$", log, re.MULTILINE)


def _importer(archive: Path, programs: Path, settings: Mapping[str, str]) -> list[str]:
    """Import the archive as Galaxy does; return what galaxy-importer complains about."""
    config = archive.parent / "galaxy-importer.cfg"
    config.write_text(IMPORTER, encoding="utf-8")
    done = subprocess.run(
        [programs / "python", "-m", "galaxy_importer.main", archive],
        cwd=archive.parent,
        env={**settings, "GALAXY_IMPORTER_CONFIG": str(config)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = complaints(done.stdout)
    if not lines and "Importer processing completed successfully" not in done.stdout:
        lines = [f"galaxy-importer did not finish:\n{done.stdout[-2000:]}"]
    return lines


def _documents(collection: Path, programs: Path, settings: Mapping[str, str]) -> list[str]:
    """Return what antsibull-docs complains about in the documentation of plugins and roles."""
    command = [str(programs / "antsibull-docs"), "lint-collection-docs", "--plugin-docs"]
    done = subprocess.run(
        [*command, "--skip-rstcheck", str(collection)],
        cwd=collection,
        env=dict(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    return lines or ([f"antsibull-docs ends with {done.returncode}"] if done.returncode else [])


def main() -> int:
    """Build, install and check the archive, print what is wrong, and return the exit status."""
    python = find_python(FLOOR)
    if python is None:
        raise SystemExit(f"archive: install Python {FLOOR.pythons} with venv")
    programs = environment(FLOOR, python)
    settings = {
        key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")
    } | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory(prefix="baremetal-sonic-") as name:
        folder = Path(name)
        archive = build(folder, programs)
        lines = _importer(archive, programs, settings)
        lines += _documents(install(archive, folder, programs), programs, settings)
    print(*lines, sep="\n" if lines else "")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
