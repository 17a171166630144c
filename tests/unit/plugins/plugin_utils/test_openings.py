# SPDX-License-Identifier: Apache-2.0
"""What a firewall between the site's hosts has to let in, computed in one place."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.sonic.plugins.plugin_utils import openings

from tests.unit.rendering import ROOT

SITE: dict[str, Any] = {
    "addresses": {"cp1": "192.0.2.11", "gpu1": "192.0.2.21", "gpu2": "192.0.2.22"},
    "control_plane": ["cp1"],
    "ingress": ["gpu1"],
    "pods": "10.244.0.0/16",
}


def ports(host: str, source: str) -> set[str]:
    """Protocols and ports that a host has to let in from a kind of source."""
    site = openings.Site(**SITE)
    return {
        f"{opening.protocol}/{port}" if port else opening.protocol
        for opening in openings.of_host(host, site)
        if opening.source == source
        for port in opening.ports or (0,)
    }


def test_a_worker() -> None:
    assert ports("gpu2", "hosts") == {"tcp/179", "tcp/10250", "ipip"}
    assert ports("gpu2", "pods") == {"tcp/9100", "tcp/10250"}
    assert ports("gpu2", "anywhere") == set()


def test_the_control_plane() -> None:
    assert ports("cp1", "hosts") == {"tcp/179", "tcp/6443", "tcp/10250", "ipip"}
    assert ports("cp1", "pods") >= {"tcp/2379", "tcp/6443", "tcp/9379", "tcp/9100"}


def test_an_ingress_host() -> None:
    assert ports("gpu1", "anywhere") == {"tcp/80", "tcp/443"}


def test_the_text_names_addresses_and_reasons() -> None:
    text = openings.text("gpu1", openings.Site(**SITE))
    assert text.startswith("from 192.0.2.11 and 192.0.2.22 (the other hosts): ")
    assert "tcp 179 (routes of the pod network)" in text
    assert "IP protocol 4 (IPIP" in text
    assert "from 10.244.0.0/16 (pods): " in text
    assert "from anywhere: tcp 80 and 443" in text
    assert "forwarded from and to 10.244.0.0/16" in text


@pytest.mark.parametrize("name", ["preflight_node_ports", "preflight_control_plane_ports"])
def test_ports_that_preflight_wants_free_are_known(name: str) -> None:
    """What listens on a port between hosts is in the list, or only for the host itself."""
    variables = yaml.safe_load((ROOT / "roles/preflight/vars/main.yml").read_text())
    local = {10256, 2380}
    named = {
        port for opening in openings.of_host("cp1", openings.Site(**SITE)) for port in opening.ports
    }
    assert set(variables[name]) - local <= named


def test_ports_of_the_hosts_exporters_are_known() -> None:
    text = (ROOT / "roles/prometheus/templates/host-metrics.yml.j2").read_text(encoding="utf-8")
    exporters = {int(port) for port in re.findall(r"'port': (\d+)", text)}
    assert exporters
    assert exporters <= {9100, 9379}
