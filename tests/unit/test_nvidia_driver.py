# SPDX-License-Identifier: Apache-2.0
"""Which packages the role nvidia_driver installs, pins and holds."""

from __future__ import annotations

import fnmatch
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.driver import package
from tests.unit.rendering import ROOT, render, role_variables, templated

ROLE = ROOT / "roles/nvidia_driver"


def variables(release: str, **own: Any) -> dict[str, Any]:
    """What the role sees on a host with a release of a distribution."""
    facts = {"ansible_facts": {"distribution_release": release}, "site_apt_allow": []}
    return role_variables("site") | role_variables("nvidia_driver") | facts | own


def task(name: str, file: str = "main.yml") -> dict[str, Any]:
    """The arguments of the task with this name."""
    tasks = yaml.safe_load((ROLE / "tasks" / file).read_text(encoding="utf-8"))
    [actual] = [item for item in tasks if item["name"] == name]
    arguments: dict[str, Any] = actual["baremetal.sonic.apt_packages"]
    return arguments


@pytest.mark.parametrize(
    ("release", "branch", "modules", "packages"),
    [
        (
            "bookworm",
            "580",
            "open",
            ["linux-headers-amd64", "nvidia-driver-cuda=580.*", "nvidia-kernel-open-dkms=580.*"],
        ),
        (
            "trixie",
            "590",
            "closed",
            ["linux-headers-amd64", "nvidia-driver-cuda=590.*", "nvidia-kernel-dkms=590.*"],
        ),
        (
            "jammy",
            "580.95.05",
            "open",
            ["linux-headers-generic", "libnvidia-compute-580=580.95.05-*"]
            + ["nvidia-utils-580=580.95.05-*", "nvidia-dkms-580-open=580.95.05-*"],
        ),
        (
            "noble",
            "590",
            "open",
            ["linux-headers-generic", "libnvidia-compute=590.*"]
            + ["nvidia-utils=590.*", "nvidia-dkms-open=590.*"],
        ),
    ],
)
def test_packages(release: str, branch: str, modules: str, packages: list[str]) -> None:
    own = {"nvidia_driver_branch": branch, "nvidia_driver_kernel_modules": modules}
    actual = templated(task("Install the driver")["packages"], variables(release, **own))
    assert actual == packages


def test_a_number_is_a_branch_too() -> None:
    actual = templated("{{ nvidia_driver_pattern }}", variables("noble", nvidia_driver_branch=580))
    assert actual == "580.*"


def test_own_packages_keep_their_own_version() -> None:
    own = {"nvidia_driver_headers": [], "nvidia_driver_packages": ["a", "b=1.*"]}
    actual = templated(task("Install the driver")["packages"], variables("bookworm", **own))
    assert actual == ["a=580.*", "b=1.*"]


def test_all_packages_of_the_branch_are_held() -> None:
    held = templated(task("Install the driver")["hold"], variables("bookworm"))
    assert "libnvidia-*=580.*" in held
    assert {item.partition("=")[2] for item in held} == {"580.*"}


@pytest.mark.parametrize(
    ("branch", "running", "wanted"),
    [
        ("580", "580.95.05", "nvidia-fabricmanager=580.95.05-*"),
        ("570", "570.195.03", "nvidia-fabricmanager-570=570.195.03-*"),
        ("580", None, "nvidia-fabricmanager=580.*"),
    ],
)
def test_fabric_manager_has_the_running_version(
    branch: str, running: str | None, wanted: str
) -> None:
    own = {"nvidia_driver_branch": branch, "nvidia_driver_gpus": {"driver_version": running}}
    install = task("Install the fabric manager of the running driver", "fabric_manager.yml")
    [package] = install["packages"]
    assert templated(package, variables("bookworm", **own)) == wanted


def preferences(**own: Any) -> str:
    """The pins that the role writes."""
    site = variables("noble", **own)
    [[item]] = render("nvidia_driver", "files.yml.j2", **site)
    assert item["path"].startswith("/etc/apt/preferences.d/")
    text: str = item["content"]
    return text


REPOSITORIES = {
    "NVIDIA": [("libnvidia-compute", "580.95.05-1"), ("libnvidia-compute", "590.44.01-1")]
    + [("libnvidia-container1", "1.20.1-1")],
    "Ubuntu": [("libnvidia-compute", "580.999-0ubuntu0.24.04.1"), ("bash", "5.2")],
}


def apt_root(folder: Path) -> dict[str, str]:
    """A root for apt with two repositories; returns apt's environment."""
    sources = []
    for origin, packages in REPOSITORIES.items():
        flat = folder / origin
        flat.mkdir()
        text = "".join(
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n"
            f"Filename: {name}.deb\nSize: 1\nSHA256: {'0' * 64}\n\n"
            for name, version in packages
        )
        (flat / "Packages").write_text(text)
        (flat / "Release").write_text(f"Origin: {origin}\nDate: Sat, 28 Nov 2026 00:00:00 UTC\n")
        sources.append(f"deb [trusted=yes arch=amd64] copy:{flat} ./\n")
    for name in ("etc/preferences.d", "state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "etc/sources.list").write_text("".join(sources))
    (folder / "status").touch()
    lines = {
        "Dir::Etc": folder / "etc",
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
    }
    (folder / "apt.conf").write_text("".join(f'{key} "{text}";\n' for key, text in lines.items()))
    environment = dict(os.environ) | {"APT_CONFIG": str(folder / "apt.conf"), "LC_ALL": "C"}
    subprocess.run(["apt-get", "-qq", "update"], env=environment, check=True)
    return environment


def candidate(name: str, environment: dict[str, str]) -> str:
    """The version that apt would install."""
    done = subprocess.run(
        ["apt-cache", "policy", name], env=environment, check=True, capture_output=True, text=True
    )
    [line] = [line for line in done.stdout.splitlines() if line.startswith("  Candidate: ")]
    return line.split(": ")[1]


@pytest.mark.skipif(not Path("/usr/bin/apt-cache").exists(), reason="no apt here")
def test_apt_takes_the_branch_from_one_repository(tmp_path: Path) -> None:
    environment = apt_root(tmp_path)
    # Without the pins: the newest branch of any repository.
    assert candidate("libnvidia-compute", environment) == "590.44.01-1"
    pins = tmp_path / "etc/preferences.d/driver.pref"
    pins.write_text(preferences())
    assert candidate("libnvidia-compute", environment) == "580.95.05-1"
    assert candidate("libnvidia-container1", environment) == "1.20.1-1"
    assert candidate("bash", environment) == "5.2"
    pins.write_text(preferences(nvidia_driver_refused_origins=[]))
    assert candidate("libnvidia-compute", environment) == "580.999-0ubuntu0.24.04.1"


def test_versions_go_down_only_where_that_is_allowed() -> None:
    assert preferences().endswith("Pin-Priority: 1000\n")
    assert preferences(site_apt_allow=["downgrade"]).endswith("Pin-Priority: 1001\n")


def test_the_lab_offers_what_the_role_asks_for(tmp_path: Path) -> None:
    package.build_packages(tmp_path)
    built = {}
    for deb in tmp_path.glob("*.deb"):
        shown = subprocess.run(
            ["dpkg-deb", "--showformat=${Package} ${Version}", "--show", deb],
            check=True,
            capture_output=True,
            text=True,
        )
        name, version = shown.stdout.split()
        built[name] = version
    lab = yaml.safe_load((ROOT / "inventories/lab/group_vars/all/site.yml").read_text())
    own = {"nvidia_driver_headers": lab["nvidia_driver_headers"]}
    asked = templated(task("Install the driver")["packages"], variables("bookworm", **own))
    assert asked
    for item in asked:
        name, _sign, pattern = item.partition("=")
        assert fnmatch.fnmatchcase(built[name], pattern)
