# SPDX-License-Identifier: Apache-2.0
"""An emulator of Google Cloud Storage as a process on loopback, with one bucket."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lab.bus import free_port
from lab.processes import until

BUCKET = "ours"


def find_storage() -> str | None:
    """Return fake-gcs-server's binary from FAKE_GCS_SERVER or the search path."""
    return os.environ.get("FAKE_GCS_SERVER") or shutil.which("fake-gcs-server")


def service_account() -> dict[str, Any]:
    """Return the key of a service account whose token address no server has."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    return {
        "type": "service_account",
        "project_id": "test",
        "private_key_id": "1",
        "private_key": key.private_bytes(*form, serialization.NoEncryption()).decode(),
        "client_email": "test@test.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "http://127.0.0.1:9/token",
    }


class Storage:
    """The emulator; objects lie in files below ``folder``, their sums beside them."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary = binary
        self.folder = folder / BUCKET
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port)]
        options += ["-backend", "filesystem", "-filesystem-root", str(self.folder.parent)]
        with (self.folder.parent.parent / "storage.log").open("ab") as log:
            self._process = subprocess.Popen([self._binary, *options], stdout=log, stderr=log)
        until(self._answers, "the storage answers")

    def stop(self) -> None:
        """End it."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def spoil(self, name: str) -> None:
        """Change an object's content on the disk, behind its sum's back."""
        [path] = [path for path in self.folder.rglob("*") if path.name == Path(name).name]
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        with path.open("r+b") as file:
            file.write(content)

    def _answers(self) -> bool:
        try:
            url = f"{self.url}/storage/v1/b/{BUCKET}"
            return httpx.get(url, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


def account_file(folder: Path) -> Path:
    """Write a service account's key and return where."""
    path = folder / "service-account.json"
    path.write_text(json.dumps(service_account()), encoding="utf-8")
    return path
