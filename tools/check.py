# SPDX-License-Identifier: Apache-2.0
"""Run the project's checks: ``python -m tools.check [STAGE or GROUP ...]``, all without one.

Groups: lint (yamllint, ansible-lint, ruff, mypy, shellcheck, changelog, reference pages, archive,
wording), unit, cores, sanity, molecule. The stages of lint run in parallel and are reported
together. The groups after it run in order, each only when all before it passed. Each stage prints
one line with its result and its seconds. The last line is ``N passed, M failed``, where a test of
pytest counts as one and so does any other stage.

Molecule's lab has a name of its own that follows from this checkout's place. It is removed before
(a killed run may have left it) and after, also when a check fails or a signal ends the run.
Exit status: 0, or 1 when anything failed, or 128 + the signal's number.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from lab.bundle.build import program
from lab.config import Lab
from tools.sanity_home import sanity_home

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".lab"
COLLECTION = Path("ansible_collections/baremetal/sonic")
LINKED = STATE / "collections" / COLLECTION
# The running process group, so that a later run can end it if this one is killed.
GROUP = STATE / "check.group"
UNIT_REPORT = STATE / "report" / "unit.xml"
LAB_REPORT = STATE / "report" / "testinfra.xml"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class StoppedError(Exception):
    """A signal asked the run to end; ``args[0]`` is its number."""


@dataclass(frozen=True)
class Outcome:
    """The result of a stage: numbers of passed and failed, and its output if it was not shown."""

    passed: int
    failed: int
    output: str = ""


@dataclass(frozen=True)
class Stage:
    """One check: its name, its group, and what runs it."""

    name: str
    group: str
    run: Callable[[], Outcome]


def environment() -> dict[str, str]:
    """Return a check's environment: Ansible finds this checkout as a collection, no colours."""
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(STATE / "collections"),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "PY_COLORS": "0",
    }


def tracked() -> list[str]:
    """Return the files of this checkout that git has or would take, relative to its root.

    Raises SystemExit outside a git checkout.
    """
    command = [
        "git",
        "-C",
        str(ROOT),
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise SystemExit(
            "check: this is not a git checkout: clone the repository and run the checks there"
        )
    names = sorted(set(filter(None, result.stdout.split("\0"))))
    return [name for name in names if (ROOT / name).exists() or (ROOT / name).is_symlink()]


def quiet(*command: str, cwd: Path = ROOT) -> Outcome:
    """Run a command and keep its output for the report."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Outcome(int(result.returncode == 0), int(result.returncode != 0), result.stdout)


def loud(*command: str, cwd: Path = ROOT, more: Mapping[str, str] | None = None) -> int:
    """Run a command whose output is shown as it comes, and return its exit status.

    It has a process group of its own, so that a signal to this run can end all of it in order.
    """
    sys.stdout.flush()
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={**environment(), **(more or {})},
        stdin=subprocess.DEVNULL,
        process_group=0,
    ) as process:
        GROUP.write_text(f"{process.pid} {started(process.pid)}", encoding="utf-8")
        try:
            return process.wait()
        except BaseException:
            end_group(process.pid, process.poll)
            raise
        finally:
            GROUP.unlink(missing_ok=True)


def started(pid: int) -> str | None:
    """Return when a process started, in the kernel's ticks; None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def end_group(pid: int, ended: Callable[[], object]) -> None:
    """End a process group, politely first, until ``ended`` returns something other than None."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
        limit = time.monotonic() + 20
        while time.monotonic() < limit:
            if ended() is not None:
                return
            time.sleep(0.1)


def end_leftover() -> None:
    """End the processes of a run that was killed."""
    if not GROUP.exists():
        return
    # An incomplete file, of a run that was killed while it wrote it, names no process.
    number, _space, when = GROUP.read_text(encoding="utf-8").partition(" ")
    if number.isdigit() and started(int(number)) == when:
        print("==> ending what a killed run left running", flush=True)
        end_group(int(number), lambda: None if started(int(number)) == when else True)
    GROUP.unlink(missing_ok=True)


def counted(report: Path, status: int) -> Outcome:
    """Return the counts of a JUnit report by pytest; a missing or unreadable one is one failure.

    A skipped test counts as failed: lab/bootstrap brings all that the tests need.
    """
    try:
        suites = list(ET.parse(report).getroot().iter("testsuite"))
    except (OSError, ET.ParseError):
        return Outcome(0, 1)
    total, bad = (
        sum(int(suite.get(key, "0")) for suite in suites for key in keys)
        for keys in (("tests",), ("failures", "errors", "skipped"))
    )
    return Outcome(total - bad, max(bad, int(status != 0)))


def slowest(reports: Sequence[Path], most: int = 20) -> list[str]:
    """Return a line for each of the slowest tests of JUnit reports, the slowest first.

    A report that is missing or not whole has no lines: its stage has failed already.
    """
    tests: list[tuple[float, str]] = []
    for report in reports:
        try:
            cases = list(ET.parse(report).getroot().iter("testcase"))
        except (OSError, ET.ParseError):
            continue
        for case in cases:
            name = f"{case.get('classname', '')}::{case.get('name', '')}"
            tests.append((float(case.get("time", "0")), name))
    tests.sort(reverse=True)
    return [f"{seconds:7.1f} s  {name}" for seconds, name in tests[:most]]


def yamllint() -> Outcome:
    """Lint all YAML, by .yamllint."""
    return quiet("yamllint", "--strict", ".")


def ansible_lint() -> Outcome:
    """Lint roles and playbooks with the production profile, by .ansible-lint."""
    return quiet("ansible-lint", "--offline", "--nocolor", "-q")


def ruff_check() -> Outcome:
    """Lint all Python, by pyproject.toml."""
    return quiet(
        "ruff", "check", "--cache-dir", str(STATE / "ruff"), "--output-format", "concise", "."
    )


def ruff_format() -> Outcome:
    """Compare all Python with ruff's format."""
    return quiet("ruff", "format", "--cache-dir", str(STATE / "ruff"), "--check", "--diff", ".")


def mypy() -> Outcome:
    """Check the types of all Python, the collection's under the name Ansible imports it by."""
    paths: list[str] = []
    for folder in ("plugins", "tests", "lab", "services", "tools"):
        if any((ROOT / folder).rglob("*.py")):
            base = LINKED.relative_to(ROOT) if folder == "plugins" else Path()
            paths.append(str(base / folder))
    return quiet("mypy", *paths)


def shellcheck() -> Outcome:
    """Check all shell scripts, found by their first line."""
    scripts = [
        name
        for name in tracked()
        if (ROOT / name).is_file()
        and (ROOT / name)
        .open("rb")
        .readline()
        .startswith((b"#!/usr/bin/env bash", b"#!/bin/bash", b"#!/bin/sh"))
    ]
    return quiet("shellcheck", *scripts)


def changelog() -> Outcome:
    """Check the changelog's fragments."""
    return quiet("antsibull-changelog", "lint", cwd=LINKED)


def reference() -> Outcome:
    """Check that docs/reference/ is up to date."""
    return quiet(sys.executable, "-m", "tools.reference", "--check")


def archive() -> Outcome:
    """Check the collection's archive as Galaxy imports it, and the documents in it."""
    return quiet(sys.executable, "-m", "tools.archive")


def wording() -> Outcome:
    """Refuse the words that tools/wording.yml lists."""
    return quiet(sys.executable, "-m", "tools.wording")


def cores() -> Outcome:
    """Load and run the collection on the other releases of ansible-core that it supports."""
    status = loud(sys.executable, "-m", "tools.cores")
    return Outcome(int(status == 0), int(status != 0))


def unit() -> Outcome:
    """Run the unit tests."""
    report = UNIT_REPORT
    command = [sys.executable, "-m", "pytest", "-q", "-rfEs", f"--junitxml={report}", "tests/unit"]
    programs = {
        "FAKE_GCS_SERVER": str(program("fake-gcs-server", "fake-gcs-server")),
        "NATS_SERVER": str(program("nats-server", "nats-server")),
        "PROMTOOL": str(program("prometheus", "promtool")),
    }
    status = loud(*command, more=programs)
    return counted(report, status)


def sanity() -> Outcome:
    """Run ansible-test sanity on a copy: it insists on a real folder of the collection's name."""
    with tempfile.TemporaryDirectory(prefix="baremetal-sonic-") as folder:
        copy = Path(folder) / COLLECTION
        for name in tracked():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
        command = ["ansible-test", "sanity", "--local", "--requirements", "--python", PYTHON]
        status = loud(*command, "--color", "no", cwd=copy, more={"HOME": str(sanity_home())})
    return Outcome(int(status == 0), int(status != 0))


def test_lab() -> Lab:
    """Return the lab that the tests use: one for each checkout, the same every time."""
    return Lab(f"molecule-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:4]}")


def lab_down() -> int:
    """Remove the tests' lab and what molecule keeps about it; return the exit status."""
    shutil.rmtree(STATE / "molecule", ignore_errors=True)
    return loud(sys.executable, "-m", "lab", "down", more={"LAB": test_lab().name})


def molecule() -> Outcome:
    """Run molecule's default scenario on a separate lab, and always remove it."""
    report = LAB_REPORT
    more = {
        "LAB": test_lab().name,
        "LAB_STATE": str(test_lab().directory),
        "SONIC_TESTS": "quick",
        "MOLECULE_EPHEMERAL_DIRECTORY": str(STATE / "molecule" / "default"),
    }
    try:
        # Created here because molecule hides the progress; its own create then has nothing to do.
        status = (
            lab_down()
            or loud(sys.executable, "-m", "lab", "create", more=more)
            or loud("molecule", "test", "--destroy=always", more=more)
        )
    finally:
        left = lab_down()
    verified = counted(report, status) if report.exists() else Outcome(0, 0)
    broken = int(bool(status or left))
    return Outcome(verified.passed + 1 - broken, max(verified.failed, broken))


STAGES = (
    Stage("ansible-lint", "lint", ansible_lint),
    Stage("mypy", "lint", mypy),
    Stage("yamllint", "lint", yamllint),
    Stage("ruff check", "lint", ruff_check),
    Stage("ruff format", "lint", ruff_format),
    Stage("shellcheck", "lint", shellcheck),
    Stage("changelog", "lint", changelog),
    Stage("reference pages", "lint", reference),
    Stage("archive", "lint", archive),
    Stage("wording", "lint", wording),
    Stage("unit tests", "unit", unit),
    Stage("other ansible-cores", "cores", cores),
    Stage("ansible-test sanity", "sanity", sanity),
    Stage("molecule", "molecule", molecule),
)


class Run:
    """One run over some stages: prints a line a stage and keeps the counts."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages
        self.begun = time.monotonic()
        self.passed = 0
        self.failed = 0

    def note(self, stage: Stage, outcome: Outcome, seconds: float) -> None:
        """Print a stage's result, with its output when it failed, and count it."""
        self.passed += outcome.passed
        self.failed += outcome.failed
        if outcome.failed and outcome.output:
            print(outcome.output.rstrip())
        place = f"{self.stages.index(stage) + 1}/{len(self.stages)}"
        verdict = "FAILED" if outcome.failed else "ok"
        elapsed = time.monotonic() - self.begun
        print(
            f"==> [{place}] {stage.name}: {verdict} ({seconds:.0f} s; {elapsed:.0f} s in all)",
            flush=True,
        )

    def timed(self, stage: Stage) -> tuple[Stage, Outcome, float]:
        """Run one stage and return it with its outcome and its seconds."""
        begun = time.monotonic()
        outcome = stage.run()
        return stage, outcome, time.monotonic() - begun

    def together(self, stages: Sequence[Stage]) -> None:
        """Run stages in parallel; all run to their end, also when one fails."""
        if stages:
            print(f"==> {', '.join(stage.name for stage in stages)}", flush=True)
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            for result in pool.map(self.timed, stages):
                self.note(*result)

    def all(self) -> None:
        """Run the stages of lint together, then the others in order up to the first that fails."""
        self.together([stage for stage in self.stages if stage.group == "lint"])
        for stage in self.stages:
            if stage.group == "lint":
                continue
            if self.failed:
                print(f"==> {stage.name}: not run, because of what failed before it", flush=True)
                continue
            print(f"==> {stage.name}", flush=True)
            self.note(*self.timed(stage))


def chosen(names: Sequence[str]) -> list[Stage]:
    """Return the stages of these names or groups, all without one. SystemExit: unknown name."""
    known = {stage.name for stage in STAGES} | {stage.group for stage in STAGES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(
            f"check: no stage {', '.join(unknown)}; there are: {', '.join(sorted(known))}"
        )
    return [stage for stage in STAGES if not names or {stage.name, stage.group} & set(names)]


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep a second run of the checks out of this checkout. SystemExit: one is under way."""
    (STATE / "report").mkdir(parents=True, exist_ok=True)
    with (STATE / "check.lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(
                "check: another run of the checks is under way in this checkout"
            ) from None
        yield


def on_signal(number: int, _frame: FrameType | None) -> None:
    """Turn the first signal into an exception that cleans up; further ones are ignored."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise StoppedError(number)


def main(arguments: Sequence[str]) -> int:
    """Run the stages that the arguments name, and return the exit status."""
    stages = chosen(arguments)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, on_signal)
    with alone():
        end_leftover()
        for report in (UNIT_REPORT, LAB_REPORT):
            report.unlink(missing_ok=True)
        run = Run(stages)
        status = 0
        try:
            run.all()
        except StoppedError as stopped:
            status = 128 + int(stopped.args[0])
            run.failed += 1
            print("==> interrupted; what the run had made is removed", flush=True)
        lines = slowest((UNIT_REPORT, LAB_REPORT))
        if lines:
            print("==> slowest tests", *lines, sep="\n")
        print(f"{run.passed} passed, {run.failed} failed", flush=True)
    return status or int(run.failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
