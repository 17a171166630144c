# SPDX-License-Identifier: Apache-2.0
"""What stands outside the lab's cluster, for what a site reaches on the internet."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from lab.config import Lab
from lab.hosts import podman, start

SERVER = Path(__file__).resolve().parent / "license_endpoint.py"


def license_endpoint(lab: Lab) -> str:
    """The name of the container that stands in for the vendor's license endpoint."""
    return f"{lab.network}-license"


def set_account(lab: Lab, **fields: Any) -> None:
    """Set what the license endpoint says of this lab from now on; nothing given: its licence is
    in order. license_endpoint.py tells the fields.
    """
    path = lab.license_directory / "account.json"
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps({"api_key": lab.api_key} | fields), encoding="utf-8")
    temporary.replace(path)


def start_all(lab: Lab, image: str) -> None:
    """Make sure that all of it runs; needs the lab's certificates.

    Raises:
        LabError: podman could not.
    """
    folder = lab.license_directory
    folder.mkdir(mode=0o700, exist_ok=True)
    parts = [lab.directory / f"{name}.pem" for name in ("license", "intermediate")]
    chain = "".join(part.read_text(encoding="utf-8") for part in parts)
    (folder / "certificate.pem").write_text(chain, encoding="utf-8")
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
