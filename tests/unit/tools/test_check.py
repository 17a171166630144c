# SPDX-License-Identifier: Apache-2.0
"""The counts of the checks: a failure never counts as passed, a killed run is cleaned up."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import check
from tools.check import Outcome, Stage

REPORT = '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>'


@pytest.mark.parametrize(
    ("counts", "status", "outcome"),
    [
        ((5, 0, 0, 0), 0, (5, 0)),
        ((5, 1, 1, 1), 1, (2, 3)),
        ((5, 0, 0, 1), 0, (4, 1)),
        ((5, 0, 0, 0), 2, (5, 1)),
        ((0, 0, 0, 0), 5, (0, 1)),
    ],
)
def test_counts_of_a_report(
    tmp_path: Path, counts: tuple[int, ...], status: int, outcome: tuple[int, int]
) -> None:
    report = tmp_path / "unit.xml"
    report.write_text(REPORT.format(*counts))
    assert check.counted(report, status) == Outcome(*outcome)


@pytest.mark.parametrize("text", [None, "", "<testsuites><testsuite tests='5'"])
def test_report_that_is_not_whole_is_a_failure(tmp_path: Path, text: str | None) -> None:
    report = tmp_path / "unit.xml"
    if text is not None:
        report.write_text(text)
    assert check.counted(report, 0) == Outcome(0, 1)


def test_slowest_tests_of_all_reports(tmp_path: Path) -> None:
    case = "<testcase classname='{}' name='{}' time='{}'/>"
    cases = [
        case.format("tests.unit.a", "quick", "0.1"),
        case.format("tests.unit.a", "slow", "9.26"),
    ]
    (tmp_path / "unit.xml").write_text(
        f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"
    )
    (tmp_path / "lab.xml").write_text(
        f"<testsuite>{case.format('lab.b', 'slower', '61')}</testsuite>"
    )
    (tmp_path / "half.xml").write_text("<testsuite><testcase")
    reports = [tmp_path / f"{name}.xml" for name in ("unit", "lab", "half", "missing")]
    assert check.slowest(reports, 2) == [
        "   61.0 s  lab.b::slower",
        "    9.3 s  tests.unit.a::slow",
    ]


def test_stages_by_name_or_group() -> None:
    assert check.chosen([]) == list(check.STAGES)
    assert {stage.group for stage in check.chosen(["lint"])} == {"lint"}
    assert [stage.name for stage in check.chosen(["sanity", "mypy"])] == [
        "mypy",
        "ansible-test sanity",
    ]
    with pytest.raises(SystemExit, match=r"no stage linty, x; there are: .*mypy"):
        check.chosen(["lint", "linty", "x"])


def test_failure_of_lint_stops_what_follows_but_not_its_neighbours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran: list[str] = []

    def stage(name: str, group: str, outcome: Outcome) -> Stage:
        def run() -> Outcome:
            ran.append(name)
            return outcome

        return Stage(name, group, run)

    run = check.Run(
        [
            stage("a", "lint", Outcome(0, 1, "what is wrong\n")),
            stage("b", "lint", Outcome(1, 0, "what is noise\n")),
            stage("c", "unit", Outcome(9, 0)),
        ]
    )
    run.all()
    assert sorted(ran) == ["a", "b"]
    assert (run.passed, run.failed) == (1, 1)
    output = capsys.readouterr().out
    assert "what is wrong" in output
    assert "what is noise" not in output
    assert "==> [1/3] a: FAILED" in output
    assert "==> c: not run" in output


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(check, "STATE", tmp_path)
    monkeypatch.setattr(check, "GROUP", tmp_path / "check.group")
    return tmp_path


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], process_group=0) as process:
        yield process
        process.kill()


def test_what_a_killed_run_left_is_ended(state: Path, sleeper: subprocess.Popen[bytes]) -> None:
    check.GROUP.write_text(f"{sleeper.pid} {check.started(sleeper.pid)}")
    check.end_leftover()
    assert sleeper.wait(5) == -signal.SIGINT
    assert not check.GROUP.exists()


@pytest.mark.parametrize("text", ["{pid} 1", "", "{pid}", "{pid} ", "{pid} 2 3"])
def test_no_other_process_is_ended(
    state: Path, sleeper: subprocess.Popen[bytes], text: str
) -> None:
    """The number may be another process's by now; and the note may be half written."""
    check.GROUP.write_text(text.format(pid=sleeper.pid))
    check.end_leftover()
    assert sleeper.poll() is None
    assert not check.GROUP.exists()


def test_ended_process_has_no_start(sleeper: subprocess.Popen[bytes]) -> None:
    assert check.started(os.getpid())
    sleeper.kill()
    sleeper.wait()
    assert check.started(sleeper.pid) is None


def test_command_is_noted_while_it_runs(state: Path) -> None:
    script = f'until grep -q "^$$ [0-9]" {check.GROUP} 2>&-; do sleep 0.01; done; exit 7'
    assert check.loud("timeout", "10", "sh", "-c", script.replace("$$", "$PPID"), cwd=state) == 7
    assert not check.GROUP.exists()


def test_second_run_is_kept_out(state: Path) -> None:
    with check.alone(), pytest.raises(SystemExit, match="another run"), check.alone():
        pass
    with check.alone():
        pass


def test_lab_of_the_tests_is_the_checkouts_own(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = check.test_lab()
    assert check.test_lab() == mine
    monkeypatch.setattr(check, "ROOT", Path("/another/checkout"))
    assert check.test_lab().name != mine.name
