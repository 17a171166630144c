# SPDX-License-Identifier: Apache-2.0
"""The mirrors of images that the role containerd configures."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.unit.rendering import render

UPSTREAM = {"ghcr.io", "docker.io", "nvcr.io", "quay.io", "registry.k8s.io", "us-docker.pkg.dev"}


def mirrors(**variables: Any) -> dict[str, str]:
    """The mirror of each registry that has one; the rest of its file is the same for all."""
    site = {
        "site_versions": {"pause": "3.10", "containerd": "2.3.7"},
        "site_registry_mirror": "",
    }
    [files] = render("containerd", "files.yml.j2", **site | variables)
    hosts = {}
    for item in files:
        folder, name = Path(item["path"]).parent, Path(item["path"]).name
        if folder.parent != Path("/etc/containerd/certs.d"):
            continue
        assert name == "hosts.toml"
        if item.get("state") == "absent":
            continue
        settings = tomllib.loads(item["content"])
        upstream = "registry-1.docker.io" if folder.name == "docker.io" else folder.name
        assert settings["server"] == f"https://{upstream}"
        [(hosts[folder.name], host)] = settings["host"].items()
        assert host == {"capabilities": ["pull", "resolve"], "override_path": True}
    return hosts


def test_upstream() -> None:
    assert mirrors() == {}


def test_one_mirror_for_all() -> None:
    configured = mirrors(site_registry_mirror="http://192.0.2.2:5000")
    assert configured == {name: f"http://192.0.2.2:5000/v2/{name}" for name in UPSTREAM}


@pytest.mark.parametrize("mirror", ["", "http://192.0.2.2:5000"])
def test_another_mirror_for_some(mirror: str) -> None:
    own = {"ghcr.io": "https://harbor.example.com/v2/ghcr", "example.com": "https://b.example.com"}
    configured = mirrors(site_registry_mirror=mirror, containerd_mirrors=own)
    assert configured == (mirrors(site_registry_mirror=mirror) | own)


def test_none_for_some() -> None:
    configured = mirrors(
        site_registry_mirror="http://192.0.2.2:5000", containerd_mirrors={"ghcr.io": ""}
    )
    assert set(configured) == UPSTREAM - {"ghcr.io"}


def test_containerd_is_pinned_without_lowering_it() -> None:
    """`apt upgrade` restarts every pod's runtime otherwise; above 1000 a pin would downgrade."""
    site = {"site_versions": {"pause": "3.10", "containerd": "2.3.7"}, "site_registry_mirror": ""}
    [items] = render("containerd", "files.yml.j2", **site)
    [pin] = [i["content"] for i in items if i["path"].startswith("/etc/apt/preferences.d/")]
    fields = dict(line.split(": ", 1) for line in pin.splitlines() if not line.startswith("#"))
    assert fields == {
        "Package": "containerd.io",
        "Pin": "version 2.3.7-*",
        "Pin-Priority": "1000",
    }


def test_a_config_of_another_program_is_kept() -> None:
    site = {"site_versions": {"pause": "3.10", "containerd": "2.3.7"}, "site_registry_mirror": ""}
    [items] = render("containerd", "files.yml.j2", **site)
    [config] = [item for item in items if item["path"] == "/etc/containerd/config.toml"]
    assert config["marker"] in config["content"].splitlines()[0]


ACCESS = {
    "harbor.example.com:8443": {"ca": "PEM", "username": "robot", "password": "s3cret"},
    "open.example.com": {"ca": "OTHER"},
}


def items(**variables: Any) -> dict[str, dict[str, Any]]:
    """All files of the role by their paths."""
    site = {"site_versions": {"pause": "3.10", "containerd": "2.3.7"}, "site_registry_mirror": ""}
    [actual] = render("containerd", "files.yml.j2", **site | variables)
    return {item["path"]: item for item in actual}


def test_a_registry_with_its_own_ca_and_a_login() -> None:
    mirrors = {"ghcr.io": "https://harbor.example.com:8443/v2/ghcr"}
    mirrors |= {
        "quay.io": "https://open.example.com/v2/quay",
        "nvcr.io": "http://plain.example.com",
    }
    actual = items(site_registry_access=ACCESS, containerd_mirrors=mirrors)
    ca = "/etc/containerd/registry-ca/harbor.example.com_8443.pem"
    assert actual[ca]["content"] == "PEM"
    ghcr = actual["/etc/containerd/certs.d/ghcr.io/hosts.toml"]
    assert ghcr["mode"] == "0600"
    [host] = tomllib.loads(ghcr["content"])["host"].values()
    assert host["ca"] == ca
    # As curl --user robot:s3cret sends it.
    assert host["header"] == {"authorization": "Basic cm9ib3Q6czNjcmV0"}
    assert host["override_path"] is True
    quay = actual["/etc/containerd/certs.d/quay.io/hosts.toml"]
    [host] = tomllib.loads(quay["content"])["host"].values()
    assert (quay["mode"], "header" in host) == ("0644", False)
    assert host["ca"] == "/etc/containerd/registry-ca/open.example.com.pem"
    nvcr = actual["/etc/containerd/certs.d/nvcr.io/hosts.toml"]
    [host] = tomllib.loads(nvcr["content"])["host"].values()
    assert "ca" not in host


DROP_IN = "/etc/systemd/system/containerd.service.d/baremetal-sonic-proxy.conf"


def test_containerd_pulls_by_the_proxy() -> None:
    environment = {"HTTPS_PROXY": "http://u:p%40@proxy:3128", "NO_PROXY": "a,b", "HTTP_PROXY": ""}
    drop_in = items(site_proxy_environment=environment | {"https_proxy": "x"})[DROP_IN]
    assert drop_in["mode"] == "0600"
    assert drop_in["content"].splitlines()[1:] == [
        "[Service]",
        'Environment="HTTPS_PROXY=http://u:p%%40@proxy:3128"',
        'Environment="NO_PROXY=a,b"',
    ]


def test_without_a_proxy_the_drop_in_goes() -> None:
    assert items()[DROP_IN] == {"path": DROP_IN, "state": "absent"}
