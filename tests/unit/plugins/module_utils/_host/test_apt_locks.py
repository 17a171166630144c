# SPDX-License-Identifier: Apache-2.0
"""Waiting for the locks of dpkg and apt, with a process of the test's own that holds one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._host.apt_locks import (
    Apt,
    LockedError,
    described,
    held,
    holder,
    refused,
)

# As dpkg, apt and unattended-upgrades take them: by fcntl, not by flock.
HOLD = """
import fcntl, sys
held = open(sys.argv[1], "w")
fcntl.lockf(held, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
Hold = Callable[[Path], "subprocess.Popen[str]"]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Start a process that holds a lock until its input ends."""
    started: list[subprocess.Popen[str]] = []

    def start(lock: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(lock), "as-unattended-upgrade"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        release(process)


def release(process: subprocess.Popen[str]) -> None:
    """End a process that holds a lock."""
    process.communicate()


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 100.0
        self.at: dict[float, Callable[[], None]] = {}

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for when in [when for when in self.at if when <= self.now]:
            self.at.pop(when)()


class Commands:
    """What is run, with answers of the test's own; the last answer is given again."""

    def __init__(self, *answers: tuple[int, str, str]) -> None:
        self.answers = list(answers) or [(0, "done", "")]
        self.ran: list[list[str]] = []
        self.environment: dict[str, str] = {}

    def __call__(self, command: list[str], **options: Any) -> tuple[int, str, str]:
        self.ran.append(command)
        self.environment = options["environ_update"]
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def apt(commands: Commands, clock: Clock, *locks: Path, timeout_s: float = 60) -> Apt:
    return Apt(commands, NOTES.append, timeout_s, locks, clock, clock.sleep)


NOTES: list[str] = []


@pytest.fixture(autouse=True)
def no_notes() -> None:
    NOTES.clear()


def test_free_locks_and_missing_ones_cost_no_time(tmp_path: Path) -> None:
    (tmp_path / "free").touch()
    clock, commands = Clock(), Commands()
    runner = apt(commands, clock, tmp_path / "free", tmp_path / "missing")
    assert runner(["apt-get", "update"]) == (0, "done", "")
    assert (clock.now, runner.summary(), NOTES) == (100.0, [], [])
    assert commands.environment["LC_ALL"] == "C.UTF-8"


def test_the_holder_is_named_by_process_and_command(tmp_path: Path, hold: Hold) -> None:
    lock = tmp_path / "lock"
    process = hold(lock)
    named = holder(lock)
    assert named is not None
    assert named.startswith(f"process {process.pid} ({sys.executable}")
    assert held([tmp_path / "free", lock]) == f"{lock} is held by {named}"
    release(process)
    assert holder(lock) is None


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_command_waits_for_any_of_the_locks(tmp_path: Path, hold: Hold, number: int) -> None:
    locks = [tmp_path / str(index) for index in range(4)]
    for lock in locks:
        lock.touch()
    process = hold(locks[number])
    clock, commands = Clock(), Commands()
    clock.at[130.0] = lambda: release(process)
    runner = apt(commands, clock, *locks)
    assert runner(["dpkg", "--configure", "--pending"])[0] == 0
    assert clock.now == 130.0
    assert len(commands.ran) == 1
    [note] = NOTES
    assert note.startswith(f"waiting up to 60 s: {locks[number]} is held by process {process.pid}")
    [summary] = runner.summary()
    assert summary.startswith(f"waited 30 s: {locks[number]} is held by process {process.pid}")


def test_a_lock_that_stays_taken_fails_and_names_the_holder(tmp_path: Path, hold: Hold) -> None:
    lock = tmp_path / "lock-frontend"
    process = hold(lock)
    clock, commands = Clock(), Commands()
    with pytest.raises(LockedError) as caught:
        apt(commands, clock, lock)(["apt-get", "update"])
    assert f"after 60 s of waiting, {lock} is held by process {process.pid}" in str(caught.value)
    assert "run this again" in str(caught.value)
    assert clock.now == 160.0
    assert commands.ran == []


REFUSALS = [
    "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 812 (apt-get)",
    "E: Unable to lock directory /var/lib/apt/lists/",
    "E: Unable to acquire the dpkg frontend lock (/x), is another process using it?",
    "dpkg: error: dpkg frontend lock was locked by another process with pid 812",
    "dpkg: error: dpkg database lock was locked by another process with pid 812",
]


@pytest.mark.parametrize("message", REFUSALS)
def test_a_command_that_met_a_lock_is_run_again(message: str) -> None:
    clock, commands = Clock(), Commands((100, "", message), (100, "", message), (0, "done", ""))
    runner = apt(commands, clock)
    assert runner(["apt-get", "update"]) == (0, "done", "")
    assert len(commands.ran) == 3
    assert runner.summary() == [f"waited 4 s: apt says: {message}"]


def test_a_command_that_meets_a_lock_for_ever_fails() -> None:
    clock, commands = Clock(), Commands((100, "", REFUSALS[0]))
    with pytest.raises(LockedError, match=r"after 60 s .* It is held by process 812 \(apt-get\)"):
        apt(commands, clock)(["apt-get", "update"])
    assert clock.now == 160.0


@pytest.mark.parametrize(
    "message",
    [
        "E: Unable to fetch some archives",
        (
            "E: Could not open lock file /var/lib/dpkg/lock - open (13: Permission denied)\n"
            "E: Unable to acquire the dpkg frontend lock (/x), are you root?"
        ),
        "",
    ],
)
def test_other_failures_are_not_waited_for(message: str) -> None:
    clock, commands = Clock(), Commands((100, "", message))
    assert not refused(message)
    assert apt(commands, clock)(["apt-get", "update"]) == (100, "", message)
    assert clock.now == 100.0


def test_a_holder_that_cannot_be_seen() -> None:
    assert "another container" in described(0)
    assert described(2**22 + 1) == f"process {2**22 + 1}, which has just ended"
