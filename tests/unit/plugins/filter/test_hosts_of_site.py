# SPDX-License-Identifier: Apache-2.0
"""Hosts of one site, as a template gets them."""

from __future__ import annotations

import pytest
from ansible_collections.baremetal.sonic.plugins.filter.hosts_of_site import FilterModule

HOSTVARS = {
    "cp1": {"site_name": "berlin"},
    "gpu2": {"site_name": "berlin"},
    "gpu1": {"site_name": "paris"},
    "old": {},
}


@pytest.mark.parametrize(
    ("site", "hosts"),
    [
        ("berlin", ["gpu2", "cp1"]),
        ("paris", ["gpu1"]),
        ("default", ["old"]),
        ("ber", []),
    ],
)
def test_hosts_of_a_site_in_their_order(site: str, hosts: list[str]) -> None:
    hosts_of_site = FilterModule().filters()["hosts_of_site"]
    assert hosts_of_site(["gpu2", "cp1", "gpu1", "old"], HOSTVARS, site) == hosts
