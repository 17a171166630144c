# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Finds a firewall of the host that drops what no rule lets in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .kubeadm import Runner

Installed = Callable[[str], bool]


def dropping(run: Runner, installed: Installed, root: Path = Path("/")) -> str:
    """The name of the firewall; empty when packets that no rule names are let in.

    The default of the input chain counts. A chain that accepts by default and ends with a rule that
    drops everything is not seen.

    Args:
        run: runs a command.
        installed: whether the host has a program.
        root: the host's file system.
    """
    if _ufw(root):
        return "ufw"
    if installed("firewall-cmd") and _firewalld(run):
        return "firewalld"
    if installed("nft"):
        code, out, _error = run(["nft", "--json", "list", "chains"])
        if code == 0 and (table := _nftables(out)):
            return f"nftables (table {table})"
    if installed("iptables"):
        _code, out, _error = run(["iptables", "--list-rules", "INPUT"])
        if "-P INPUT DROP" in out.splitlines():
            return "iptables"
    return ""


def _ufw(root: Path) -> bool:
    enabled = re.search(r"^ENABLED=yes", _text(root / "etc/ufw/ufw.conf"), re.MULTILINE)
    accepts = re.search(
        r"^DEFAULT_INPUT_POLICY=\"?ACCEPT", _text(root / "etc/default/ufw"), re.MULTILINE
    )
    return bool(enabled and not accepts)


def _firewalld(run: Runner) -> bool:
    code, _out, _error = run(["firewall-cmd", "--state"])
    if code:
        return False
    _code, zone, _error = run(["firewall-cmd", "--get-default-zone"])
    return zone.strip() != "trusted"


def _nftables(text: str) -> str:
    """Family and name of the first table that drops input by default; empty for none."""
    try:
        items: list[dict[str, Any]] = json.loads(text)["nftables"]
    except (ValueError, KeyError):
        return ""
    for item in items:
        chain = item.get("chain") or {}
        if chain.get("hook") == "input" and chain.get("policy") == "drop":
            return f"{chain['family']} {chain['table']}"
    return ""


def _text(path: Path) -> str:
    """A file's text; empty when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
