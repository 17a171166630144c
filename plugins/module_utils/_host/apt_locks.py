# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Run dpkg and apt on a host where other programs run them too.

unattended-upgrades, apt-daily and people hold the locks of dpkg and apt for minutes, most often
after a boot. apt's DPkg::Lock::Timeout waits for one of the four locks only. dpkg waits for none.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# In the order in which apt takes them: apt.conf(5), Dir::State::Lists and Dir::Cache::Archives.
LOCKS = (
    Path("/var/lib/dpkg/lock-frontend"),
    Path("/var/lib/dpkg/lock"),
    Path("/var/lib/apt/lists/lock"),
    Path("/var/cache/apt/archives/lock"),
)
PAUSE_S = 2.0
# Messages of apt and dpkg in the locale C when another program holds a lock.
REFUSED = re.compile(
    r"Could not get lock|Unable to (?:acquire|lock) |lock was locked by another process"
    r"|frontend is locked by another|Unable to lock"
)
# struct flock of fcntl(2) on 64-bit Linux: type, whence, start, length, pid.
_FLOCK = "hhqqi4x"


class LockedError(Exception):
    """Another program kept a lock; the message names the lock and its holder."""


def holder(lock: Path) -> str | None:
    """Return the process that holds a lock, as messages name it; None if it is free or missing."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
    finally:
        os.close(descriptor)
    kind, _whence, _start, _length, pid = struct.unpack(_FLOCK, answer)
    return None if kind == fcntl.F_UNLCK else described(pid)


def described(pid: int) -> str:
    """Name a process by its ID and its command line, at most 120 characters of it."""
    if pid <= 0:
        return "a process outside this host's view (in another container)"
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        name = " ".join(words.decode("utf-8", "replace").split())
        name = name or Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return f"process {pid}, which has just ended"
    return f"process {pid} ({name[:120]})"


def refused(output: str) -> bool:
    """Whether a command failed because another program holds a lock."""
    # If a lock file cannot be opened, no program holds it: waiting would not help.
    return bool(REFUSED.search(output)) and "Could not open lock file" not in output


def held(locks: Sequence[Path]) -> str:
    """Name the first taken lock and its holder; empty when all are free."""
    for lock in locks:
        if who := holder(lock):
            return f"{lock} is held by {who}"
    return ""


@dataclass
class Apt:
    """Runs commands of apt and dpkg. Waits while another program holds a lock.

    run: AnsibleModule.run_command. say: logs each wait when it begins (to the host's journal).
    timeout_s: how long all commands together may wait. waited: the locks that were waited for,
    one line each.
    """

    run: Callable[..., tuple[int, str, str]]
    say: Callable[[str], None]
    timeout_s: float
    locks: Sequence[Path] = LOCKS
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    waited: list[str] = field(default_factory=list)
    spent_s: float = 0.0

    def __call__(self, command: list[str], **options: Any) -> tuple[int, str, str]:
        """Run a command, again after each wait; return exit code, stdout and stderr.

        Raises:
            LockedError: another program kept a lock for timeout_s.
        """
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8")
        while True:
            self._wait(held(self.locks))
            code, out, error = self.run(command, environ_update=environment, **options)
            if not code or not refused(f"{error}\n{out}"):
                return code, out, error
            # Another program was faster, or it holds a lock that is not in the list.
            self._wait(held(self.locks) or _refusal(f"{error}\n{out}"), again=False)

    def _wait(self, what: str, again: bool = True) -> None:
        """Wait while another program holds a lock. Raises LockedError."""
        while what:
            if what not in self.waited:
                self.waited.append(what)
                self.say(f"waiting up to {self.timeout_s:.0f} s: {what}")
            if self.spent_s >= self.timeout_s:
                raise LockedError(
                    f"after {self.timeout_s:.0f} s of waiting, {what}. Let it finish, or stop it"
                    " (systemctl stop unattended-upgrades apt-daily.service), and run this again"
                )
            began = self.clock()
            self.sleep(PAUSE_S)
            self.spent_s += self.clock() - began
            if not again:
                return
            what = held(self.locks)

    def summary(self) -> list[str]:
        """Return one line with the locks and the time waited; empty for no wait."""
        if not self.waited:
            return []
        return [f"waited {self.spent_s:.0f} s: {'; '.join(self.waited)}"]


def _refusal(output: str) -> str:
    """Return the line of apt or dpkg that names the lock."""
    lines = [line.strip() for line in output.splitlines() if REFUSED.search(line)]
    return f"apt says: {lines[0]}" if lines else ""
