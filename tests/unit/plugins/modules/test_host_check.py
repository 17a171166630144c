# SPDX-License-Identifier: Apache-2.0
"""What host_check reads from a host's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.modules import host_check

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 0B001EAC:0016 01001EAC:B1A4 01 00000000:00000000 02:0009D2D7 00000000     0        0 2
"""
TCP6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:280A 00000000000000000000000000000000:0000 0A 0 0 0 0 0 3
"""


def test_only_listening_ports_count() -> None:
    assert host_check.listening_ports([TCP, TCP6]) == {22, 10250}


def test_operating_system() -> None:
    text = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'
    assert host_check.operating_system(text) == "debian 12"
    assert host_check.operating_system("NAME=odd\n") == "? ?"


def test_memory() -> None:
    assert host_check.total_memory_mib("MemFree: 1 kB\nMemTotal:       24684100 kB\n") == 24105


def test_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert host_check.existing(tmp_path / "a/b/c") == tmp_path


def test_every_problem_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    options: dict[str, Any] = {
        "systems": ["plan9 4"],
        "memory_mib": 10**9,
        "disk_gib": {"/var/lib/nothing": 10**6},
        "ports": [],
    }
    problems = host_check.problems(options)
    for part in ("not root's", "is not supported: install", "aarch64", "MiB of memory", "GiB free"):
        assert any(part in problem for problem in problems), part
