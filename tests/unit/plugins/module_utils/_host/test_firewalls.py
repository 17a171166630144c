# SPDX-License-Identifier: Apache-2.0
"""Firewalls that drop what no rule lets in, as a host's own programs describe them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._host import firewalls


def chains(policy: str, hook: str = "input") -> str:
    """What `nft --json list chains` prints."""
    chain = {"family": "inet", "table": "filter", "name": hook, "hook": hook, "policy": policy}
    plain = {"family": "ip", "table": "nat", "name": "KUBE-SERVICES"}
    return json.dumps({"nftables": [{"metainfo": {}}, {"chain": plain}, {"chain": chain}]})


def dropping(root: Path, **answers: tuple[int, str]) -> str:
    """The firewall of a host on which only these programs are installed."""

    def run(args: list[str]) -> tuple[int, str, str]:
        return *answers[args[0].replace("-", "_")], ""

    return firewalls.dropping(run, lambda name: name.replace("-", "_") in answers, root)


def test_a_host_without_a_firewall(tmp_path: Path) -> None:
    assert dropping(tmp_path) == ""


@pytest.mark.parametrize(
    ("enabled", "policy", "expected"),
    [("yes", "DROP", "ufw"), ("yes", "REJECT", "ufw"), ("yes", "ACCEPT", ""), ("no", "DROP", "")],
)
def test_ufw(tmp_path: Path, enabled: str, policy: str, expected: str) -> None:
    (tmp_path / "etc/ufw").mkdir(parents=True)
    (tmp_path / "etc/default").mkdir()
    (tmp_path / "etc/ufw/ufw.conf").write_text(f"# ENABLED=no\nENABLED={enabled}\n")
    (tmp_path / "etc/default/ufw").write_text(f'DEFAULT_INPUT_POLICY="{policy}"\n')
    assert dropping(tmp_path) == expected


@pytest.mark.parametrize(
    ("code", "zone", "expected"),
    [(0, "public\n", "firewalld"), (0, "trusted\n", ""), (252, "", "")],
)
def test_firewalld(tmp_path: Path, code: int, zone: str, expected: str) -> None:
    assert dropping(tmp_path, firewall_cmd=(code, zone)) == expected


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        (chains("drop"), "nftables (table inet filter)"),
        (chains("accept"), ""),
        (chains("drop", "forward"), ""),
        ("nonsense", ""),
    ],
)
def test_nftables(tmp_path: Path, out: str, expected: str) -> None:
    assert dropping(tmp_path, nft=(0, out)) == expected


@pytest.mark.parametrize(
    ("out", "expected"),
    [("-P INPUT DROP\n-A INPUT -i lo -j ACCEPT\n", "iptables"), ("-P INPUT ACCEPT\n", "")],
)
def test_iptables(tmp_path: Path, out: str, expected: str) -> None:
    assert dropping(tmp_path, iptables=(0, out)) == expected
