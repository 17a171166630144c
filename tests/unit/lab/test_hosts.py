# SPDX-License-Identifier: Apache-2.0
"""The calls of podman for a lab, which change no other lab."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lab import hosts
from lab.config import HOSTS, Lab, LabError
from tests.unit.lab.conftest import Programs


def listed(*names: str, state: str = "exited", pid: int = 0) -> str:
    """Shell code that prints what podman says of containers, as JSON."""
    containers = [{"Names": [name], "Id": "f17f", "Pid": pid, "State": state} for name in names]
    return f"echo '{json.dumps(containers)}'"


# A podman with one lab of two containers, whose image a container of another lab uses or not.
TWO = listed("sonic-lab-cp1", "sonic-lab-gpu1")
PODMAN = f"""
case "$*" in
    "ps --all --filter label=baremetal.sonic.lab=lab "*) {TWO};;
    "ps "*) {listed()};;
    "volume ls --quiet --filter label=baremetal.sonic.lab=lab") echo v1;;
    "network ls --quiet --filter label=baremetal.sonic.lab=lab") echo sonic-lab;;
    "images --quiet"*) echo abc abc;;
    "rmi abc") test -z "$USER_OF_IMAGE" || {{ echo "in use by $USER_OF_IMAGE"; exit 2; }};;
esac
"""
NO_LAB = f'case "$*" in "ps "*) {listed()};; esac'
CHANGES = ("podman rm ", "podman rmi ", "podman volume rm", "podman network rm")


def changes(programs: Programs) -> list[str]:
    return [line for line in programs.ran if line.startswith(CHANGES)]


def test_all_of_a_lab_is_removed_and_nothing_else(programs: Programs) -> None:
    programs.put("podman", PODMAN)
    mine, other = Lab("lab"), Lab("other")
    mine.save()
    other.save()
    removed = hosts.destroy(mine)
    assert changes(programs) == [
        "podman rm --force --time 5 --volumes sonic-lab-cp1 sonic-lab-gpu1",
        "podman volume rm --force v1",
        "podman network rm --force sonic-lab",
        "podman rmi abc",
    ]
    assert len(removed) == 5
    assert not mine.directory.exists()
    assert other.directory.exists()


def test_image_that_another_lab_uses_stays(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER_OF_IMAGE", "33")
    programs.put("podman", PODMAN)
    removed = hosts.destroy(Lab("lab"))
    assert removed == ["2 containers", "1 volumes", "the network"]
    assert "podman rmi abc" in programs.ran


def test_nothing_to_remove(programs: Programs) -> None:
    programs.put("podman", PODMAN)
    assert hosts.destroy(Lab("absent")) == ["the hosts' image"]
    programs.put("podman", NO_LAB)
    assert hosts.destroy(Lab("absent")) == []


def test_failed_removal_keeps_the_keys_for_the_next_try(programs: Programs) -> None:
    programs.put("podman", PODMAN + 'case "$*" in "network rm"*) echo busy >&2; exit 2;; esac')
    lab = Lab("lab")
    lab.save()
    with pytest.raises(LabError, match="busy"):
        hosts.destroy(lab)
    assert lab.directory.exists()


def test_network_of_another_program_is_refused(programs: Programs) -> None:
    inspect = """echo '[{"labels": {}, "subnets": [{"subnet": "172.30.7.0/24"}]}]'"""
    programs.put("podman", f'case "$*" in "network inspect"*) {inspect};; esac')
    with pytest.raises(LabError, match="choose another LAB=name"):
        hosts._network(Lab("lab"))


def test_network_that_is_there_decides_the_subnet(programs: Programs) -> None:
    labels = '{"baremetal.sonic.lab": "lab"}'
    inspect = f"""echo '[{{"labels": {labels}, "subnets": [{{"subnet": "172.30.7.0/24"}}]}}]'"""
    programs.put("podman", f'case "$*" in "network inspect"*) {inspect};; esac')
    lab = Lab("lab", subnet="172.30.9.0/24")
    hosts._network(lab)
    assert lab.subnet == "172.30.7.0/24"
    assert not any("network create" in line for line in programs.ran)


@pytest.mark.parametrize(
    ("state", "new", "asked"),
    [
        ("missing", True, ["create --name"]),
        ("created", True, []),
        ("exited", False, ["start"]),
        ("stopping", False, ["wait", "start"]),
        ("running", False, []),
    ],
)
def test_container_in_every_state_that_an_interruption_leaves(
    programs: Programs,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    new: bool,
    asked: list[str],
) -> None:
    names = [] if state == "missing" else ["sonic-lab-cp1"]
    actual = listed(*names, state=state, pid=4242)
    programs.put("podman", f'case "$*" in *" name=^sonic-lab-cp1$ "*) {actual};; esac')
    monkeypatch.setattr(hosts, "_alive", lambda identity, pid: (identity, pid) == ("f17f", 4242))
    lab = Lab("lab", subnet="172.30.0.0/24")
    assert hosts.start(lab, "sonic-lab-cp1", "172.30.0.11", [], ["image"]) is new
    did = [line for line in programs.ran if "podman ps " not in line]
    assert len(did) == len(asked)
    assert all(f"{words} sonic-lab-cp1" in line for words, line in zip(asked, did, strict=True))
    if state == "missing":
        assert "--label baremetal.sonic.lab=lab" in did[0]
        assert "--hostname cp1" in did[0]
        assert "--ip 172.30.0.11" in did[0]


# A podman whose containers' processes were all ended at once, with their monitors.
DEAD = listed("sonic-lab-cp1", state="running", pid=999999999)
KILLED = f'case "$*" in "ps "*) {DEAD};; esac'


def test_container_that_was_killed_with_its_monitor_is_started_again(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs.put("podman", KILLED)
    monkeypatch.setattr(hosts, "EXITS", tmp_path)
    lab = Lab("lab", subnet="172.30.0.0/24")
    assert hosts.running(lab) == []
    assert hosts.start(lab, "sonic-lab-cp1", "172.30.0.11", [], ["image"]) is False
    assert (tmp_path / "f17f").read_text(encoding="utf-8") == "137"
    assert programs.ran[-1] == "podman start sonic-lab-cp1"


def test_lab_that_was_killed_is_removed_at_the_first_try(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs.put("podman", KILLED)
    monkeypatch.setattr(hosts, "EXITS", tmp_path)
    assert "1 containers" in hosts.destroy(Lab("lab"))
    assert (tmp_path / "f17f").exists()
    assert "podman rm --force --time 5 --volumes sonic-lab-cp1" in programs.ran


def test_killed_container_that_cannot_be_reported_to_podman_is_one_clear_error(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs.put("podman", KILLED)
    monkeypatch.setattr(hosts, "EXITS", tmp_path / "none")
    with pytest.raises(LabError, match="the processes of sonic-lab-cp1 are gone"):
        hosts.start(Lab("lab"), "sonic-lab-cp1", "172.30.0.11", [], ["image"])


def test_process_of_the_same_number_is_not_the_container() -> None:
    assert not hosts._alive("f17f0000", os.getpid())
    assert not hosts._alive("f17f0000", 999999999)


def test_host_that_does_not_answer_is_named(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs.put("ssh", "echo 'Connection refused' >&2; exit 255")
    times = iter([0.0, 30.0, 61.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with pytest.raises(LabError, match="cp1 does not answer on SSH after 60 s: Connection refused"):
        hosts._wait_for_ssh(Lab("lab", subnet="172.30.0.0/24"), HOSTS[0])
    assert len([line for line in programs.ran if line.endswith("root@172.30.0.11 true")]) == 2


def test_host_keys_of_two_labs_are_kept_apart() -> None:
    words = [hosts.ssh_command(Lab(name), "172.30.0.11") for name in ("one", "two")]
    known = [next(w for w in each if "UserKnownHostsFile" in w) for each in words]
    assert Path(known[0].partition("=")[2]).parent == Lab("one").directory
    assert known[0] != known[1]
