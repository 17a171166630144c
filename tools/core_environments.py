# SPDX-License-Identifier: Apache-2.0
"""Python environments with the releases of ansible-core that `make test` checks besides its own.

Each one has a lock, requirements/core-RELEASE.txt, and is kept in the cache folder. `make lock`
writes the locks.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.config import cache_dir

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Core:
    """A release of ansible-core, with the oldest and the newest Python that runs it."""

    release: str
    oldest: tuple[int, int]
    newest: tuple[int, int]

    @property
    def source(self) -> Path:
        """The requirements that are asked for."""
        return ROOT / "requirements" / f"core-{self.release}.in"

    @property
    def lock(self) -> Path:
        """The exact versions that they lead to."""
        return self.source.with_suffix(".txt")

    @property
    def pythons(self) -> str:
        """The range of Python's releases, for a person."""
        return " to ".join(f"{major}.{minor}" for major, minor in (self.oldest, self.newest))


# The floor of meta/runtime.yml, which also has the tools that check the archive, and the newest.
# The release between them, 2.19, is the one of requirements/lab.txt: all other checks use it.
FLOOR = Core("2.18", (3, 11), (3, 13))
NEWEST = Core("2.21", (3, 12), (3, 14))
CORES = (FLOOR, NEWEST)


def _candidates(core: Core) -> Iterator[Path]:
    """Yield the Pythons to try: this one, then by name, then those of pyenv."""
    yield Path(sys.executable)
    for minor in range(core.newest[1], core.oldest[1] - 1, -1):
        named = shutil.which(f"python3.{minor}")
        if named:
            yield Path(named)
        yield from Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3")


def find_python(core: Core) -> Path | None:
    """Return a Python that runs this release and can make environments; None if there is none."""
    probe = (
        "import ensurepip, sys, venv; "
        f"sys.exit(not {core.oldest} <= sys.version_info[:2] <= {core.newest})"
    )
    for candidate in _candidates(core):
        tried = subprocess.run([candidate, "-c", probe], capture_output=True, check=False)
        if tried.returncode == 0:
            return candidate
    return None


def environment(core: Core, python: Path) -> Path:
    """Return the folder of the programs of this release's environment; make it if it is missing.

    Its programs also find the collections that the lab's environment has: the dependencies.
    Raises subprocess.CalledProcessError: pip cannot install the lock.
    """
    version = subprocess.run(
        [python, "-c", "import sys; print(sys.version, sys.base_prefix)"],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    key = hashlib.sha256(version + core.lock.read_bytes()).hexdigest()[:12]
    folder = cache_dir() / f"core-{core.release}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = folder / ".ready"
        if not ready.exists():
            print(f"making the Python environment {folder.name}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([python, "-m", "venv", folder], check=True)
            install = ["install", "--quiet", "--disable-pip-version-check", "--requirement"]
            subprocess.run([folder / "bin/python", "-m", "pip", *install, core.lock], check=True)
            ready.touch()
        _link_collections(folder)
    return folder / "bin"


def _link_collections(folder: Path) -> None:
    """Link the collections of this Python's environment into that of ``folder``."""
    [packages] = folder.glob("lib/python3.*/site-packages")
    here = Path(sysconfig.get_path("purelib")) / "ansible_collections"
    link = packages / "ansible_collections"
    if not link.is_symlink() or link.readlink() != here:
        link.unlink(missing_ok=True)
        link.symlink_to(here)
