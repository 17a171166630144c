# SPDX-License-Identifier: Apache-2.0
"""The messages about a machine that cannot hold the lab, and about subnets."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest

from lab import hosts, preflight
from lab.config import Lab, LabError, cache_dir
from tests.unit.lab.conftest import Programs

ROUTES = [
    {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0"},
    {"dst": "0.0.0.0/1", "dev": "tun0"},
    {"dst": "128.0.0.0/1", "dev": "tun0"},
    {"dst": "172.30.0.0/23", "dev": "vpn0"},
    {"type": "local", "dst": "172.30.3.1", "dev": "lo"},
]
NETWORKS = [
    {"name": "podman", "subnets": [{"subnet": "10.88.0.0/16"}, {"subnet": "fd00::/64"}]},
    {"name": "sonic-other", "subnets": [{"subnet": "172.30.2.0/24"}]},
    {"name": "none", "subnets": None},
]


@pytest.fixture
def machine(programs: Programs) -> Programs:
    """A machine with a VPN, an address and the network of another lab."""
    programs.put("ip", f"echo '{json.dumps(ROUTES)}'")
    inspect = f"echo '{json.dumps(NETWORKS)}'"
    programs.put("podman", f"case $2 in ls) echo podman sonic-other none;; *) {inspect};; esac")
    return programs


def test_first_subnet_that_nothing_has(machine: Programs) -> None:
    assert hosts.free_subnet() == "172.30.4.0/24"


def test_no_subnet_is_left(machine: Programs) -> None:
    machine.put("ip", """echo '[{"dst": "172.16.0.0/12"}]'""")
    with pytest.raises(LabError, match="LAB_SUBNET"):
        hosts.free_subnet()


def test_machine_without_any_route(machine: Programs) -> None:
    machine.put("ip")
    machine.put("podman")
    assert hosts.network_subnets() == set()
    assert hosts.free_subnet() == "172.30.0.0/24"


@pytest.mark.parametrize(
    ("subnet", "message"),
    [
        ("172.30.1.0/24", "is taken by 172.30.0.0/23"),
        ("172.30.2.0/24", "is taken by 172.30.2.0/24"),
        ("172.30.3.0/24", "is taken by 172.30.3.1/32"),
        ("172.30.5.7/24", "has host bits set"),
        ("172.30.5.0", "is not a /24"),
        ("172.30.0.0/16", "is not a /24"),
        ("fd00::/64", "is not a network"),
        ("here", "is not a network"),
        ("172.30.5.0/255.255.255.0", "is not a /24, as 172.30.5.0/24 is"),
    ],
)
def test_subnets_that_are_refused(machine: Programs, subnet: str, message: str) -> None:
    (problem,) = preflight.subnet_problems(subnet, Lab("lab"))
    assert problem.startswith(f"LAB_SUBNET={subnet} ")
    assert message in problem


def test_subnet_that_is_free_or_the_labs_own(machine: Programs) -> None:
    assert preflight.subnet_problems("172.30.5.0/24", Lab("lab")) == []
    own = Lab("other", subnet="172.30.2.0/24")
    assert preflight.subnet_problems("172.30.2.0/24", own) == []


def test_all_problems_are_reported_at_once(
    machine: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(preflight, "LAB_MEMORY_GIB", 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=0))
    with pytest.raises(LabError) as caught:
        preflight.check(Lab("lab"), "172.30.1.0/24")
    for part in ("not root", "GiB of memory available", "0.0 GiB free under", "is taken by"):
        assert part in str(caught.value)


def test_less_disk_is_needed_once_the_bundle_is_built(
    machine: Programs, home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "machine_problems", list)
    monkeypatch.setattr(preflight, "LAB_MEMORY_GIB", 0)
    free = (preflight.LAB_DISK_GIB + 1) * preflight.GIB
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))
    with pytest.raises(LabError, match="XDG_CACHE_HOME"):
        preflight.check(Lab("lab"), None)
    seeded = cache_dir() / "bundle/registry/seeded.json"
    seeded.parent.mkdir(parents=True)
    seeded.write_text("{}")
    preflight.check(Lab("lab"), None)


def test_memory_in_bytes() -> None:
    assert preflight.available_memory("MemTotal: 9 kB\nMemAvailable:    2048 kB\n") == 2048 * 1024
    with pytest.raises(LabError, match="Linux"):
        preflight.available_memory("MemTotal: 9 kB\n")
