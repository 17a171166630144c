# SPDX-License-Identifier: Apache-2.0
"""How hosts reach registries of the site's own: what preflight refuses."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import registries

PEM = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n"
HOST = "registry.example.com:5000"


@pytest.mark.parametrize(
    ("access", "says"),
    [
        ({HOST: {"ca": PEM, "username": "robot", "password": "s3cret"}}, ""),
        ({HOST: {"ca": PEM}}, ""),
        ({HOST: {"ca": "/etc/ssl/ca.pem"}}, "ca holds no certificate"),
        ({HOST: {"username": "robot"}}, "give both username and password"),
        ({HOST: {"password": "s3cret"}}, "give both username and password"),
        ({HOST: {"user": "robot"}}, "no user: choose of ca, username, password"),
        ({HOST: "s3cret"}, "has to be a dictionary"),
        ({f"https://{HOST}": {"ca": PEM}}, "write the host and port only"),
        ({"registry.example.com": {"ca": PEM}}, "is the host of no mirror"),
    ],
)
def test_access(access: dict[str, Any], says: str) -> None:
    values = {"site_registry_access": access, "site_registry_mirror": f"https://{HOST}"}
    actual = registries.problems(values)
    assert [says in line for line in actual] == ([True] if says else [])
    assert "s3cret" not in str(actual)


def test_no_login_over_http() -> None:
    access = {HOST: {"username": "robot", "password": "s3cret"}}
    values = {"site_registry_access": access, "containerd_mirrors": {"ghcr.io": f"http://{HOST}"}}
    [problem] = registries.problems(values)
    assert "without TLS" in problem


def test_nothing_given() -> None:
    assert registries.problems({}) == []
