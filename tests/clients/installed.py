# SPDX-License-Identifier: Apache-2.0
"""Install the clients from their locks, in a separate environment."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.config import cache_dir

HERE = Path(__file__).resolve().parent
PYTHON_LOCK = HERE / "requirements.txt"
# npm checks what it gets against the sums in the second.
NODE_LOCKS = (HERE / "package.json", HERE / "package-lock.json")


@dataclass(frozen=True)
class Clients:
    """Where the installed clients are."""

    folder: Path

    @property
    def programs(self) -> Path:
        """The folder of the environment's programs: Python, Node and npm."""
        return self.folder / "venv" / "bin"

    def modules(self, headers: bool) -> Path:
        """Return Node's modules: with ``ws``, which sends headers, or without, as in a browser."""
        return self.folder / ("headers" if headers else "browser") / "node_modules"


def install() -> Clients:
    """Return the clients; the first call on a machine installs them (about two minutes).

    Raises CalledProcessError when pip or npm cannot install what the locks say.
    """
    key = hashlib.sha256(f"{sys.version_info[:2]}".encode())
    for lock in (PYTHON_LOCK, *NODE_LOCKS):
        key.update(lock.read_bytes())
    clients = Clients(cache_dir() / f"clients-{key.hexdigest()[:12]}")
    clients.folder.mkdir(parents=True, exist_ok=True)
    with (clients.folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        ready = clients.folder / "ready"
        if not ready.exists():
            _install_python(clients)
            for headers in (True, False):
                _install_node(clients, headers)
            ready.touch()
    return clients


def _install_python(clients: Clients) -> None:
    venv = str(clients.programs.parent)
    subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    command = [str(clients.programs / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--requirement", str(PYTHON_LOCK)]
    subprocess.run(command, check=True)


def _install_node(clients: Clients, headers: bool) -> None:
    folder = clients.modules(headers).parent
    folder.mkdir(exist_ok=True)
    for lock in NODE_LOCKS:
        shutil.copy(lock, folder)
    command = [str(clients.programs / "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    command += [] if headers else ["--omit=optional"]
    # npm looks for its Node on the path.
    path = f"{clients.programs}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, check=True)
