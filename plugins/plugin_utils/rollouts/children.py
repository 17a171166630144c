# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Run the steps of a site as processes of ansible-playbook, and read how they ended.

Each site has its own process, since the hosts of one ansible-playbook meet at every task: there, a
dead host or a long wait of one site would hold up all others.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .engine import APPLY, REVERIFY, VERIFY, Outcome, StoppedError
from .state import SiteState

# Seconds that a process has to end by itself after SIGTERM.
GRACE_S = 10.0
POLL_S = 0.2
# Exit codes of ansible-playbook: a host failed, a host was unreachable (they can be added up).
RC_UNREACHABLE = 4
FATAL = re.compile(r"^(?:fatal|failed): \[(?P<host>[^\]]+)\].*?: (?P<kind>FAILED|UNREACHABLE)! => ")
TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?P<name>.*)\] \**$")
CHANGED = re.compile(r"^changed: \[(?P<host>[^\]\s]+)")
ENVIRONMENT = {
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_FORCE_COLOR": "0",
    "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
    # One line for each result: the reason of a failure is read from it.
    "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    "ANSIBLE_CALLBACK_FORMAT_PRETTY": "false",
    "ANSIBLE_RETRY_FILES_ENABLED": "false",
    "PYTHONUNBUFFERED": "1",
}
# Verdicts of verify with which a site goes on.
GOOD = ("pass", "warn")
PR_SET_PDEATHSIG = 1
# A process that does this, then runs the command in its place. subprocess' preexec_fn is not safe
# beside threads.
WITH_PARENT = f"""
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, {int(signal.SIGTERM)})
if os.getppid() != int(sys.argv[1]):
    sys.exit(143)
os.execv(sys.argv[2], sys.argv[2:])
"""


def end_with_parent(number: int) -> None:
    """Let the kernel send this process a signal when its parent has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


@dataclass(frozen=True)
class Ended:
    """The end of a process. timed_out: it was killed after its time."""

    rc: int
    output: str
    timed_out: bool = False


def reason(output: str) -> tuple[str, bool]:
    """Return the last error in the output of ansible-playbook, and whether a host was unreachable.

    The last one: a role that rolls back fails once more at the end, with the whole reason.
    """
    last, unreachable = "", False
    for line in output.splitlines():
        if match := FATAL.match(line):
            unreachable = match["kind"] == "UNREACHABLE"
            try:
                message = json.loads(line[match.end() :])["msg"]
            except (ValueError, KeyError, TypeError):
                message = line[match.end() :]
            last = f"{match['host']}: {' '.join(str(message).split())}"
        elif line.startswith(("ERROR!", "[ERROR]:")) and not last:
            last = line.split(" ", 1)[-1]
    return last, unreachable


def changes(output: str) -> list[str]:
    """Return the tasks that changed a host, or would have, as HOST: TASK."""
    task, listed = "", []
    for line in output.splitlines():
        if match := TASK.match(line):
            task = match["name"]
        elif match := CHANGED.match(line):
            listed.append(f"{match['host']}: {task}")
    return list(dict.fromkeys(listed))


def descendants(pid: int) -> list[int]:
    """Return the processes below a process. Those of Ansible leave its process group."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in parentheses may hold anything.
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    below: list[int] = []
    left = [pid]
    while left:
        children = parents.get(left.pop(), [])
        below += children
        left += children
    return below


class Processes:
    """The processes under way, which stop() ends all at once."""

    def __init__(self, keep: Sequence[int] = (), grace: float = GRACE_S) -> None:
        """keep: file descriptors that the processes inherit."""
        self._keep = keep
        self._grace = grace
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End all processes. A run() under way, or later, raises StoppedError."""
        self._stopped.set()

    def run(
        self, command: Sequence[str], log: Path, timeout: float, environment: Mapping[str, str]
    ) -> Ended:
        """Run a command to its end, or kill it and all below it. Its output is added to the log."""
        if self._stopped.is_set():
            raise StoppedError
        with log.open("ab") as file:
            start = file.tell()
            process = subprocess.Popen(
                [sys.executable, "-c", WITH_PARENT, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
                pass_fds=tuple(self._keep),
            )
            end = time.monotonic() + timeout
            while (rc := process.poll()) is None:
                if self._stopped.wait(POLL_S):
                    self._kill(process)
                    raise StoppedError
                if time.monotonic() > end:
                    self._kill(process)
                    rc = -signal.SIGKILL
                    break
        with log.open("rb") as file:
            file.seek(start)
            output = file.read().decode("utf-8", "replace")
        return Ended(rc, output, timed_out=rc == -signal.SIGKILL and time.monotonic() > end)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        below = descendants(process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self._grace)
        for pid in {*below, *descendants(process.pid), process.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


class AnsibleRunner:
    """Runs steps by ansible-playbook with the options of this run."""

    def __init__(
        self,
        options: Sequence[str],
        folder: Path,
        steps: Path,
        hosts: Mapping[str, Sequence[str]],
        paths: Mapping[str, str],
        timeout: float,
        variables: Callable[[str, str, SiteState], Mapping[str, Any]],
        processes: Processes,
    ) -> None:
        """A runner.

        Args:
            options: of ansible-playbook, for all sites: inventory, extra variables and so on.
            folder: for logs and reports.
            steps: the playbook of the steps that are not playbooks of their own.
            hosts: the hosts of each site.
            paths: what ansible-playbook is given for each playbook's name, verify among them.
            timeout: seconds for each step.
            variables: the extra variables of a site's step.
            processes: starts and ends the processes.
        """
        self._options = list(options)
        self._folder = folder
        self._steps = steps
        self._hosts = hosts
        self._paths = paths
        self._timeout = timeout
        self._variables = variables
        self._processes = processes

    def log(self, site: str) -> str:
        """Return the path of the site's log."""
        return str(self._folder / f"{site}.log")

    def _report_of(self, site: str, step: str) -> Path:
        """Return where a step writes its report for the controller."""
        if step in (VERIFY, REVERIFY):
            return self._folder / "verify" / f"{site}.json"
        return self._folder / f"{site}.step.json"

    def stop(self) -> None:
        """End all steps under way."""
        self._processes.stop()

    def run(self, site: str, step: str, state: SiteState) -> Outcome:
        """Run a step. Before one that lasts, its process renews the site's lock."""
        self._report_of(site, step).unlink(missing_ok=True)
        variables = dict(self._variables(site, step, state))
        playbooks = [str(self._steps)]
        if step.startswith(APPLY) or step in (VERIFY, REVERIFY):
            variables["_rollout_step"] = "renew"
            # ansible-playbook stops at the first playbook that fails: without the lock, no change.
            name = step.removeprefix(APPLY) if step.startswith(APPLY) else "verify"
            playbooks.append(self._paths[name])
        else:
            variables["_rollout_step"] = step
        ended = self.playbooks(site, step, playbooks, variables)
        return self._outcome(site, step, ended)

    def plan(self, site: str, playbooks: Sequence[str]) -> tuple[Outcome, list[str]]:
        """Run the playbooks in check mode; return the end, and the tasks that would change."""
        paths = [self._paths[name] for name in playbooks]
        ended = self.playbooks(site, "plan", paths, {}, "--check", "--diff")
        return self._outcome(site, "plan", ended), changes(ended.output)

    def playbooks(
        self,
        site: str,
        step: str,
        playbooks: Sequence[str],
        variables: Mapping[str, Any],
        *more: str,
        environment: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run playbooks at a site. environment: ENVIRONMENT without it."""
        command = [sys.executable, "-m", "ansible", "playbook", *self._options, *more]
        command += ["--limit", ",".join(self._hosts[site])]
        if variables:
            command += ["-e", json.dumps(dict(variables))]
        log = Path(self.log(site))
        with log.open("a", encoding="utf-8") as file:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            print(f"\n===== {stamp} {site}: {step}", file=file)
        variables_of_process = os.environ | dict(environment or ENVIRONMENT)
        return self._processes.run([*command, *playbooks], log, self._timeout, variables_of_process)

    def _outcome(self, site: str, step: str, ended: Ended) -> Outcome:
        report: dict[str, Any] = {}
        path = self._report_of(site, step)
        with contextlib.suppress(OSError, ValueError):
            report = json.loads(path.read_text(encoding="utf-8"))
        if ended.rc == 0:
            if step in (VERIFY, REVERIFY) and report.get("verdict") not in GOOD:
                verdict = report.get("verdict", "none")
                return Outcome(False, f"verify gave no good verdict in {path}: {verdict}")
            return Outcome(ok=True, report=report)
        text, unreachable = reason(ended.output)
        if ended.timed_out:
            text = f"not done after {self._timeout:.0f} s (rollout_step_timeout)"
            unreachable = False
        elif not text:
            text = f"ansible-playbook ended with {ended.rc}, see {self.log(site)}"
        unreachable = unreachable or (ended.rc > 0 and bool(ended.rc & RC_UNREACHABLE))
        return Outcome(ok=False, reason=text, unreachable=unreachable, report=report)
