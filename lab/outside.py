# SPDX-License-Identifier: Apache-2.0
"""Servers outside the lab's cluster, as a site reaches them on the internet."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

import bcrypt

from lab.bundle.build import Bundle
from lab.config import BUCKET, STORAGE_HOST, Lab
from lab.hosts import podman, registry, start

SERVER = Path(__file__).resolve().parent / "license_endpoint.py"


def license_endpoint(lab: Lab) -> str:
    """Return the name of the container that stands in for the vendor's license endpoint."""
    return f"{lab.network}-license"


def storage(lab: Lab) -> str:
    """Return the name of the container that holds the bucket of artifacts."""
    return f"{lab.network}-storage"


def set_account(lab: Lab, **fields: Any) -> None:
    """Set what the license endpoint says of this lab from now on; nothing given: its licence is
    in order. license_endpoint.py tells the fields.
    """
    path = lab.license_directory / "account.json"
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps({"api_key": lab.api_key} | fields), encoding="utf-8")
    temporary.replace(path)


def start_all(lab: Lab, bundle: Bundle, image: str) -> None:
    """Make sure that all of it runs; needs the lab's certificates.

    Raises:
        LabError: podman could not.
    """
    _license_endpoint(lab, image)
    _storage(lab, bundle, image)
    _vendor_registry(lab, bundle, image)


def _chain(lab: Lab, name: str, target: Path) -> None:
    """Write a server's certificate with those that lead to the authority."""
    parts = [lab.directory / f"{part}.pem" for part in (name, "intermediate")]
    text = "".join(part.read_text(encoding="utf-8") for part in parts)
    target.write_text(text, encoding="utf-8")


def _vendor_registry(lab: Lab, bundle: Bundle, image: str) -> None:
    """The stand-in for the vendor's registry: only the account that it handed out may pull."""
    if not lab.pull_account.exists():
        account = {
            # Of a password bcrypt takes 72 bytes: these come first.
            "private_key_id": secrets.token_hex(20),
            "type": "service_account",
            "client_email": "images@lab.iam.gserviceaccount.com",
            "private_key": (lab.directory / "service-account.key").read_text(encoding="utf-8"),
        }
        lab.pull_account.touch(mode=0o600)
        lab.pull_account.write_text(json.dumps(account), encoding="utf-8")
    passwords = lab.directory / "vendor-registry.htpasswd"
    if not passwords.exists():
        password = lab.pull_account.read_bytes()[:72]
        hashed = bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()
        passwords.write_text(f"_json_key:{hashed}\n", encoding="utf-8")
    name = f"{lab.network}-vendor-registry"
    registry(lab, bundle, image, name, lab.vendor_registry_address, passwords)


def _license_endpoint(lab: Lab, image: str) -> None:
    folder = lab.license_directory
    folder.mkdir(mode=0o700, exist_ok=True)
    _chain(lab, "license", folder / "certificate.pem")
    shutil.copyfile(lab.directory / "license.key", folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    set_account(lab)
    name = license_endpoint(lab)
    shutil.copyfile(SERVER, folder / SERVER.name)
    if start(
        lab,
        name,
        lab.license_address,
        ["-v", f"{folder}:/srv"],
        [image, "python3", f"/srv/{SERVER.name}", "/srv", "443"],
    ):
        podman("start", name)


def _storage(lab: Lab, bundle: Bundle, image: str) -> None:
    """The emulator of Google Cloud Storage.

    A bucket is a folder in the lab's own, so its objects outlast the container.
    """
    chain = lab.directory / "storage-chain.pem"
    _chain(lab, "storage", chain)
    root = lab.directory / "storage"
    (root / BUCKET).mkdir(parents=True, exist_ok=True)
    name = storage(lab)
    if start(
        lab,
        name,
        lab.storage_address,
        ["-v", f"{bundle.storage_binary}:/usr/bin/fake-gcs-server:ro"]
        + ["-v", f"{chain}:/etc/storage.pem:ro"]
        + ["-v", f"{lab.directory / 'storage.key'}:/etc/storage.key:ro", "-v", f"{root}:/srv"],
        [image, "/usr/bin/fake-gcs-server", "-port", "443"]
        + ["-backend", "filesystem", "-filesystem-root", "/srv", "-public-host", STORAGE_HOST]
        + ["-cert-location", "/etc/storage.pem", "-private-key-location", "/etc/storage.key"]
        + ["-external-url", f"https://{STORAGE_HOST}", "-log-level", "warn"],
    ):
        podman("start", name)
