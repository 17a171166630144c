# SPDX-License-Identifier: Apache-2.0
"""What each supported release of a distribution installs from."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleError

from tests.unit.rendering import role_variables, templated

CUDA = "https://developer.download.nvidia.com/compute/cuda/repos"
OLD_KEY, NEW_KEY = "3bf863cc.pub", "8793F200.pub"


def repositories(release: str) -> dict[str, dict[str, Any]]:
    """The default of site_package_repositories on a host with this release, by name."""
    # site_versions of the role's vars needs hostvars, so the defaults' plain table stands here.
    facts = {"ansible_facts": {"distribution_release": release}}
    variables = role_variables("site") | {"site_versions": {"kubernetes": "1.36.3"}} | facts
    actual = templated("{{ site_package_repositories }}", variables)
    return {item["name"]: item for item in actual}


@pytest.mark.parametrize(
    ("release", "docker", "cuda", "key"),
    [
        ("bookworm", "debian", "debian12", OLD_KEY),
        ("trixie", "debian", "debian13", NEW_KEY),
        ("jammy", "ubuntu", "ubuntu2204", OLD_KEY),
        ("noble", "ubuntu", "ubuntu2404", OLD_KEY),
    ],
)
def test_sources(release: str, docker: str, cuda: str, key: str) -> None:
    actual = repositories(release)
    containerd, driver = actual["containerd"], actual["nvidia-driver"]
    assert containerd["uris"] == f"https://download.docker.com/linux/{docker}"
    assert containerd["key_url"] == f"https://download.docker.com/linux/{docker}/gpg"
    assert (containerd["suites"], containerd["components"]) == (release, "stable")
    assert driver["uris"] == f"{CUDA}/{cuda}/x86_64/"
    assert driver["key_url"] == f"{CUDA}/{cuda}/x86_64/{key}"
    # A key file's name is the end of its fingerprint.
    [fingerprint] = driver["fingerprints"]
    assert fingerprint.endswith(key.removesuffix(".pub").upper())
    assert actual["kubernetes"]["uris"].endswith("/v1.36/deb/")


@pytest.mark.parametrize("release", ["bullseye", ""])
def test_a_release_outside_the_table(release: str) -> None:
    with pytest.raises(AnsibleError, match="not in the table of roles/site"):
        repositories(release)
