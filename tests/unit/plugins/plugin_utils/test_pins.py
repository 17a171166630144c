# SPDX-License-Identifier: Apache-2.0
"""Signing keys and manifests from the network are pinned, or preflight reports what to set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible_collections.baremetal.sonic.plugins.plugin_utils import pins
from ansible_collections.baremetal.sonic.plugins.plugin_utils.role_defaults import plain_defaults

from tests.unit.rendering import ROOT, render

URL = "https://packages.example.com/key.asc"
DIGEST = "0f" * 32
FINGERPRINT = "27E215654B45AA335CF43162EA203887E6377761"


def problems(values: dict[str, Any]) -> list[str]:
    """What is wrong with these variables over the roles' defaults."""
    return pins.problems({**plain_defaults(), **values})


def repository(**fields: Any) -> dict[str, Any]:
    return {"name": "own", "uris": "http://192.0.2.3", "suites": "./"} | fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"key": "-----BEGIN"}, None),
        ({"key": "-----BEGIN", "key_url": URL}, None),
        ({"key_url": URL, "fingerprints": [FINGERPRINT]}, None),
        ({"key_url": URL}, "own has a key_url without fingerprints"),
        ({"key_url": URL, "fingerprints": []}, "own has a key_url without fingerprints"),
        ({}, "own has no signing key"),
    ],
)
def test_signing_keys(fields: dict[str, Any], message: str | None) -> None:
    actual = problems({"site_package_repositories": [repository(**fields)]})
    assert [message in line for line in actual if message] == ([True] if message else [])
    assert bool(actual) == bool(message)


@pytest.mark.parametrize(("address", "digest", "switch"), pins.MANIFESTS)
def test_manifests(address: str, digest: str, switch: str) -> None:
    assert problems({}) == []
    assert problems({digest: DIGEST, address: "http://192.0.2.3/m.yaml"}) == []
    assert problems({digest: "", address: "/opt/manifest.yaml"}) == []
    assert problems({digest: "", switch: False}) == []
    for values in ({digest: ""}, {digest: "", address: "http://192.0.2.3/m.yaml"}):
        [problem] = problems(values)
        assert problem.startswith(f"{digest} is empty")
        assert f"set {address} to the path" in problem
    [problem] = problems({digest: "latest"})
    assert problem.startswith(f"{digest} is no SHA-256")


@pytest.mark.parametrize("role", ["keda", "prometheus"])
def test_the_roles_own_sums_are_whole(role: str) -> None:
    text = (ROOT / "roles" / role / "defaults/main.yml").read_text(encoding="utf-8")
    sums = {k: v for k, v in yaml.safe_load(text).items() if k.endswith("_manifest_sha256")}
    assert sums
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in sums.values())


def test_the_sites_own_repositories_are_pinned() -> None:
    text = (ROOT / "roles/site/defaults/main.yml").read_text(encoding="utf-8")
    repositories = yaml.safe_load(text)["site_package_repositories"]
    assert pins.repository_problems(repositories) == []
    assert all(item["fingerprints"] for item in repositories)


def test_the_host_is_given_fingerprints_with_the_key() -> None:
    given = repository(key="KEY", fingerprints=[FINGERPRINT])
    [documents] = render("host", "repositories.yml.j2", site_package_repositories=[given])
    assert (documents[0]["key"], documents[0]["fingerprints"]) == ("KEY", [FINGERPRINT])
    own = repository(key="KEY")
    [documents] = render("host", "repositories.yml.j2", site_package_repositories=[own])
    assert documents[0]["fingerprints"] == []


def test_the_host_is_given_no_key_of_the_network_without_fingerprints(tmp_path: Path) -> None:
    (tmp_path / "key.asc").write_text("KEY", encoding="utf-8")
    given = repository(key_url=f"file://{tmp_path}/key.asc")
    with pytest.raises(AnsibleError, match="own has a key_url without fingerprints"):
        render("host", "repositories.yml.j2", site_package_repositories=[given])
    pinned = given | {"fingerprints": [FINGERPRINT]}
    [documents] = render("host", "repositories.yml.j2", site_package_repositories=[pinned])
    assert documents[0]["fingerprints"] == [FINGERPRINT]
