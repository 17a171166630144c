# SPDX-License-Identifier: Apache-2.0
"""Where the lab keeps things, and what its hosts are."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
INGRESS_HOST = "speech.lab.test"
# The second one has a certificate of its own.
INGRESS_HOSTS = (INGRESS_HOST, "voice.lab.test")
# Where the vendor's license endpoint would be.
LICENSE_HOST = "license.lab.test"
STORAGE_HOST = "storage.lab.test"
BUCKET = "lab-artifacts"


def for_anybody(image: str) -> str:
    """Return a stand-in's image from the site's registry, which needs no credentials."""
    return image.replace("us-docker.pkg.dev/", "ghcr.io/", 1)


class LabError(Exception):
    """An error that the user can fix; the message says how."""


def cache_dir() -> Path:
    """Things that can be rebuilt: Go's outputs, packages, images, root file systems."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "baremetal-sonic"


def state_dir() -> Path:
    """Things that belong to a running lab: keys, addresses, certificates."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(base) / "baremetal-sonic"


@dataclass(frozen=True)
class Host:
    """One machine of the lab; `octet` is the last part of its address."""

    name: str
    octet: int
    groups: tuple[str, ...]
    gpus: int = 0


HOSTS = (
    Host("cp1", 11, ("control_plane", "ingress")),
    Host("gpu1", 21, ("gpu_workers", "ingress"), gpus=2),
    Host("gpu2", 22, ("gpu_workers",), gpus=4),
)


@dataclass
class Lab:
    """A lab's name and what was decided when it was created (kept in lab.json)."""

    name: str
    subnet: str = ""
    api_key: str = ""
    reference_tag: str = ""
    package_key: str = ""
    packages_folder: str = ""
    manifests_folder: str = ""
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", self.name):
            raise LabError(
                f"LAB={self.name!r} is not a lab's name: use a lower-case letter, then up to 19"
                " letters, digits or dashes"
            )

    @property
    def directory(self) -> Path:
        """The lab's own folder of keys and state."""
        return state_dir() / self.name

    @property
    def network(self) -> str:
        """The podman network's name, and the prefix of every container and volume."""
        return f"sonic-{self.name}"

    @property
    def label(self) -> str:
        """The label that everything of this lab carries, and nothing else does."""
        return f"baremetal.sonic.lab={self.name}"

    def address(self, octet: int) -> str:
        """Return an address in the lab's /24, for example 172.30.3.11."""
        return f"{self.subnet.rsplit('.', 1)[0]}.{octet}"

    @property
    def registry_address(self) -> str:
        """The site's registry serves on port 5000 here."""
        return self.address(2)

    @property
    def files_address(self) -> str:
        """The apt repository and the wheels are served on port 80 here."""
        return self.address(3)

    @property
    def license_address(self) -> str:
        """The stand-in for the vendor's license endpoint serves on port 443 here."""
        return self.address(5)

    @property
    def license_directory(self) -> Path:
        """The folder with the endpoint's settings and the requests that it got."""
        return self.directory / "license-endpoint"

    @property
    def storage_address(self) -> str:
        """The storage that holds the bucket of artifacts serves on port 443 here."""
        return self.address(4)

    @property
    def vendor_registry_address(self) -> str:
        """The stand-in for the vendor's registry serves on port 5000 here, if it knows who asks."""
        return self.address(6)

    @property
    def vendor_registry_url(self) -> str:
        """Where the lab's hosts find images of us-docker.pkg.dev: it holds them as ghcr.io's."""
        return f"http://{self.vendor_registry_address}:5000/v2/ghcr.io"

    @property
    def pull_account(self) -> Path:
        """The service account that may pull from that registry, as the vendor hands one out."""
        return self.directory / "pull-account.json"

    @property
    def ingress_address(self) -> str:
        """The first ingress host."""
        return self.address(next(h.octet for h in HOSTS if "ingress" in h.groups))

    @property
    def virtual_address(self) -> str:
        """The address that the ingress hosts share."""
        return self.address(10)

    @property
    def ssh_key(self) -> Path:
        """The private key that opens every host of this lab."""
        return self.directory / "id_ed25519"

    @property
    def ca_file(self) -> Path:
        """The lab's own certificate authority."""
        return self.directory / "ca.pem"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, fetched after the cluster is up."""
        return self.directory / "kubeconfig"

    def save(self) -> None:
        """Write lab.json whole or not at all."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self.directory / "lab.json.new"
        data = asdict(self) | {
            "registry_url": f"http://{self.registry_address}:5000",
            "vendor_registry_url": self.vendor_registry_url,
            "packages_url": f"http://{self.files_address}/{self.packages_folder}",
            "wheels_url": f"http://{self.files_address}/wheels/",
            "manifests_url": f"http://{self.files_address}/{self.manifests_folder}",
            "ingress_hosts": list(INGRESS_HOSTS),
            "virtual_address": self.virtual_address,
            "license_host": LICENSE_HOST,
            "license_address": self.license_address,
            "storage_host": STORAGE_HOST,
            "storage_address": self.storage_address,
            "bucket": BUCKET,
        }
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.directory / "lab.json")

    @classmethod
    def load(cls, name: str) -> Lab:
        """Return the lab as it was saved, or a new one that has only its name.

        Raises:
            LabError: the name, or what was saved, cannot be a lab's.
        """
        lab = cls(name)
        try:
            data = json.loads((lab.directory / "lab.json").read_text(encoding="utf-8"))
            for entry in fields(cls):
                # Saved by an older version, it may lack what came later.
                setattr(lab, entry.name, data.get(entry.name, getattr(lab, entry.name)))
            # A copied file must not turn this lab into the one that it came from.
            lab.name = name
        except FileNotFoundError:
            return lab
        except (ValueError, AttributeError) as error:
            raise LabError(
                f"{lab.directory}/lab.json does not describe a lab ({error}): remove that file,"
                f" then 'make lab-down LAB={name}'"
            ) from error
        return lab

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment that makes inventories/lab describe this lab."""
        return dict(os.environ) | {
            "LAB_STATE": str(self.directory),
            "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        }
