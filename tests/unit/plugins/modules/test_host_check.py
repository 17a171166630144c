# SPDX-License-Identifier: Apache-2.0
"""What host_check reads from a host's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._gpu import nvml
from ansible_collections.baremetal.sonic.plugins.modules import host_check

from tests.unit.plugins.modules.running import Modules
from tests.unit.rendering import role_variables

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


RELEASES = {
    "bookworm": 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n',
    "trixie": 'ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n',
    "jammy": 'ID=ubuntu\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\nUBUNTU_CODENAME=jammy\n',
    "noble": 'ID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\n',
}


@pytest.mark.parametrize("release", RELEASES)
def test_the_table_has_every_supported_release(release: str) -> None:
    table = role_variables("site")["site_distributions"]
    assert set(table) == set(RELEASES)
    facts = host_check.distribution_facts(RELEASES[release])
    assert facts["distribution_release"] == release
    assert facts["distribution"] in ("Debian", "Ubuntu")
    assert host_check.operating_system(RELEASES[release]) == table[release]["system"]


def test_a_release_without_a_code_name() -> None:
    assert host_check.distribution_facts("ID=arch\n")["distribution_release"] == ""


def test_memory() -> None:
    assert host_check.total_memory_mib("MemFree: 1 kB\nMemTotal:       24684100 kB\n") == 24105


def test_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert host_check.existing(tmp_path / "a/b/c") == tmp_path


def test_every_problem_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    options: dict[str, Any] = {
        "systems": ["plan9 4"],
        "memory_mib": 10**9,
        "disk_gib": {"/var/lib/nothing": 10**6},
        "ports": [],
        "gpus": -1,
        "kernel_modules": "open",
        "time": -1.0,
        "skip": [],
    }
    problems = host_check.problems(options)
    for part in ("not root's", "is not supported: install", "aarch64", "MiB of memory", "GiB free"):
        assert any(part in problem for problem in problems), part
    assert [problem.rsplit(" ", 1)[1] for problem in problems] == [
        "[user]", "[system]", "[processor]", "[memory]", "[disk]",
    ]  # fmt: skip
    skipped = options | {"skip": ["user", "memory"]}
    assert [problem.rsplit(" ", 1)[1] for problem in host_check.problems(skipped)] == [
        "[system]", "[processor]", "[disk]",
    ]  # fmt: skip


TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.0
           /24 link UNICAST
        |-- 192.0.2.11
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
     |-- 10.1.0.5
        /32 host LOCAL
Local:
        |-- 192.0.2.11
           /32 host LOCAL
"""
ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
kube-bridge\t0001F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth0\t0002F40A\t0C0200C0\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
PEM = "-----BEGIN CERTIFICATE-----\nAQIDBA==\n-----END CERTIFICATE-----\n"


def test_addresses_of_the_host_itself() -> None:
    assert host_check.own_addresses(TRIE) == ["10.1.0.5", "192.0.2.11"]
    assert host_check.own_addresses("") == []


def test_networks_without_those_of_a_cluster() -> None:
    assert host_check.connected_networks(ROUTES) == [
        {"network": "192.0.2.0/24", "interface": "eth0"},
        {"network": "172.17.0.0/16", "interface": "docker0"},
    ]
    assert host_check.connected_networks("") == []


def test_a_cluster_is_known_by_its_ca() -> None:
    digest = "9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a"
    assert host_check.certificate_digest(f"# kubeadm's\n{PEM}{PEM}") == digest
    for none in ("", "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----\n" + PEM[:40]):
        assert host_check.certificate_digest(none) == ""


@pytest.mark.parametrize(
    ("wanted", "there", "right"),
    [(-1, 0, True), (-1, 4, True), (0, 0, False), (0, 1, True), (4, 4, True), (4, 3, False)],
)
def test_gpus_of_the_inventory_and_of_the_bus(
    monkeypatch: pytest.MonkeyPatch, wanted: int, there: int, right: bool
) -> None:
    monkeypatch.setattr(nvml.Host, "read", lambda: nvml.Host(pci_gpus=there))
    actual = host_check.CHECKS["gpus"]({"gpus": wanted})
    assert (actual == []) == right
    assert right or f"{there} of NVIDIA's GPUs are on the PCI bus" in actual[0]


@pytest.mark.parametrize(
    ("controller", "says"),
    [(-1, ""), (1000, ""), (1119, ""), (700, "300 s ahead of"), (1500, "500 s behind")],
)
def test_clocks(monkeypatch: pytest.MonkeyPatch, controller: float, says: str) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    actual = host_check.CHECKS["clock"]({"time": controller})
    assert [says in line for line in actual] == ([True] if says else [])


@pytest.mark.parametrize(
    ("gpus", "on", "loaded", "problem"),
    [
        (4, True, None, True),
        (4, False, None, False),
        (4, None, None, False),
        (4, True, "580.95.05", False),
        (-1, True, None, False),
    ],
)
def test_secure_boot(
    monkeypatch: pytest.MonkeyPatch, gpus: int, on: bool | None, loaded: str | None, problem: bool
) -> None:
    host = nvml.Host(secure_boot=on, module_version=loaded)
    monkeypatch.setattr(nvml.Host, "read", lambda: host)
    results = host_check.CHECKS["secure-boot"]({"gpus": gpus})
    assert bool(results) == problem
    assert not problem or "mokutil --import" in results[0]


V100, T4, H100, B200 = 0x1DB4, 0x1EB8, 0x2330, 0x2901


@pytest.mark.parametrize(
    ("kind", "numbers", "says"),
    [
        ("open", (T4, H100, B200), ""),
        ("open", (V100, V100, T4), "10de:1db4 (lspci -nn) is older than Turing"),
        ("closed", (V100, H100), ""),
        ("closed", (B200,), "10de:2901 (lspci -nn) is Blackwell or later"),
        ("", (V100, B200), ""),
    ],
)
def test_kernel_modules_that_do_not_drive_a_gpu(
    monkeypatch: pytest.MonkeyPatch, kind: str, numbers: tuple[int, ...], says: str
) -> None:
    host = nvml.Host(pci_gpus=len(numbers), pci_gpu_ids=numbers)
    monkeypatch.setattr(nvml.Host, "read", lambda: host)
    results = host_check.CHECKS["kernel-modules"]({"gpus": 0, "kernel_modules": kind})
    assert [says in line for line in results] == ([True] if says else [])
    assert not host_check.CHECKS["kernel-modules"]({"gpus": -1, "kernel_modules": kind})


def test_packages_and_place_in_a_cluster_are_returned(modules: Modules) -> None:
    modules.program("dpkg-query", "printf 'ii \\tkubelet\\t1.36.3-1.1\\nrc \\tnvidia-smi\\t1\\n'")
    result = modules.call(host_check.main, memory_mib=0, systems=[], skip=["control-plane"])
    assert result["packages"] == {"kubelet": "1.36.3-1.1"}
    assert set(result["node"]) == {"api_server", "control_plane", "gpu_pods", "joined", "reset"}
    assert modules.ran[-1].endswith("-- kubelet containerd.io *nvidia*")
