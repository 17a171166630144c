# SPDX-License-Identifier: Apache-2.0
"""The cache of build steps: only complete results, also after an interrupted build."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.bundle.steps import Pace, Runner, Step, digest, read_json, run, write_json
from lab.config import REPOSITORY, LabError

# Builds one step that writes half of its result; the program that it runs waits for what stops it.
STOPPED = """
import subprocess, sys
from pathlib import Path
from lab.bundle.steps import Pace, Runner, Step, run

def half(out):
    (out / "half").write_text("half")
    run(["sh", "-c", 'touch "$0"; exec sleep 60', sys.argv[1] + "/under-way"])

def first(out):
    (out / "result").write_text("whole")

steps = [Step("first", "k", 1, first), Step("go:a/b", "k", 1, half, needs=("first",))]
Runner(Path(sys.argv[1]), lambda text: None).run(steps)
"""


def step(name: str, build: Callable[[Path], None] | None = None, *needs: str) -> Step:
    def write(out: Path) -> None:
        (out / "result").write_text(name)

    return Step(name, "k", 1, build or write, needs)


def fail(_out: Path) -> None:
    raise LabError("no compiler")


def names(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "steps").iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_build_that_is_stopped_leaves_a_cache_that_can_be_used(
    tmp_path: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(tmp_path)],
        cwd=REPOSITORY,
        stderr=subprocess.DEVNULL,
        process_group=0,
    ) as process:
        while not (tmp_path / "under-way").exists():
            assert process.poll() is None
            time.sleep(0.01)
        # As a terminal does: to the build and to the programs that it runs.
        os.killpg(process.pid, number)
        assert process.wait(20) != 0
    assert not step("go:a/b").output(tmp_path).exists()
    assert (step("first").output(tmp_path) / "result").read_text() == "whole"
    built = Runner(tmp_path, print).run([step("first", fail), step("go:a/b", None, "first")])
    assert built == 1
    assert names(tmp_path) == ["first-k", "go-a_b-k"]


def test_built_once_and_again_for_another_key(tmp_path: Path) -> None:
    runner = Runner(tmp_path, print)
    assert runner.run([step("a")]) == 1
    assert runner.run([step("a", fail)]) == 0
    assert runner.run([Step("a", "other", 1, step("a").build)]) == 1


def test_failure_keeps_what_was_finished_and_lets_the_rest_end(tmp_path: Path) -> None:
    failed = threading.Event()

    def slow(out: Path) -> None:
        assert failed.wait(10)
        (out / "result").write_text("slow")

    def broken(out: Path) -> None:
        (out / "half").write_text("half")
        failed.set()
        raise LabError("no compiler")

    steps = [step("a"), step("slow", slow), step("broken", broken)]
    with pytest.raises(LabError, match="no compiler"):
        Runner(tmp_path, print, workers=3).run(steps)
    assert names(tmp_path) == ["a-k", "slow-k"]


def test_nothing_is_begun_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no compiler"):
        Runner(tmp_path, print, workers=1).run([step("a", fail), step("b"), step("c", None, "a")])
    assert names(tmp_path) == []


def test_needs_come_first_and_are_never_waited_for_in_vain(tmp_path: Path) -> None:
    order: list[str] = []
    steps = [step("c", lambda _out: order.append("c"), "b")]
    steps += [step("b", lambda _out: order.append("b"), "a")]
    steps += [step("a", lambda _out: order.append("a"))]
    Runner(tmp_path, print).run(steps)
    assert order == ["a", "b", "c"]
    with pytest.raises(LabError, match="x needs nothing-of-this-name"):
        Runner(tmp_path, print).run([step("x", None, "a", "nothing-of-this-name"), step("a")])
    with pytest.raises(LabError, match="can never be built"):
        Runner(tmp_path, print).run([step("p", None, "q"), step("q", None, "p")])


class Tally:
    """A build that counts how many of its kind run at the same time."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, _out: Path) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.01)
        with self._lock:
            self.now -= 1


def test_no_more_at_once_than_workers(tmp_path: Path) -> None:
    tally = Tally()
    Runner(tmp_path, print, workers=2).run([step(str(n), tally) for n in range(6)])
    assert tally.most == 2


def test_of_a_group_one_at_a_time_and_others_beside_it(tmp_path: Path) -> None:
    every, grouped = Tally(), Tally()

    steps = [Step(f"go:{n}", "k", 1, grouped, group="go") for n in range(4)]
    Runner(tmp_path, print, workers=3).run([*steps, *(step(str(n), every) for n in range(4))])
    assert grouped.most == 1
    assert every.most > 1


def test_time_to_go_follows_the_speed_of_what_is_finished() -> None:
    pace = Pace({"a": 100.0, "b": 100.0, "c": 800.0})
    assert pace.left(0.0) == 1000.0
    pace.finish("a")
    assert pace.left(100.0) == pytest.approx(900.0)
    # Twice as slow as expected: what is left takes nearly twice as long, too.
    assert 1400.0 < pace.left(200.0) < 1800.0
    # From a cache of the compiler's it takes a tenth.
    assert 300.0 < pace.left(10.0) < 400.0
    pace.finish("b")
    pace.finish("c")
    assert pace.left(50.0) == 0.0


def test_result_can_be_read_by_servers_of_other_users(tmp_path: Path) -> None:
    Runner(tmp_path, print).run([step("a")])
    assert step("a").output(tmp_path).stat().st_mode & 0o777 == 0o755


def test_digest_knows_where_a_part_ends(tmp_path: Path) -> None:
    assert digest("ab", "c") != digest("a", "bc")
    path = tmp_path / "file"
    path.write_text("a")
    before = digest(path)
    path.write_text("b")
    assert digest(path) != before
    assert digest(path) == digest("b")


@pytest.mark.parametrize("text", [None, "", '{"a": ', "[]", "null", "\0\0", "\udcff"])
def test_notes_that_are_not_whole_are_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "notes.json").write_bytes(text.encode("utf-8", errors="surrogateescape"))
    assert read_json(tmp_path / "notes.json") == {}
    assert Runner(tmp_path, print).run([step("a")]) == 1


def test_notes_come_back(tmp_path: Path) -> None:
    write_json(tmp_path / "notes.json", {"a": 1})
    assert read_json(tmp_path / "notes.json") == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["notes.json"]


def test_failed_command_is_reported_with_the_end_of_its_output() -> None:
    script = "seq 100; echo reason >&2; exit 3"
    with pytest.raises(LabError) as caught:
        run(["sh", "-c", script])
    lines = str(caught.value).splitlines()
    assert lines[0] == f"failed (3): sh -c {script}"
    assert lines[-1] == "reason"
    assert len(lines) == 26


def test_command_that_is_not_there() -> None:
    with pytest.raises(LabError, match="no-such-program is not on this machine"):
        run(["no-such-program"])


def test_warnings_are_not_part_of_the_output() -> None:
    assert run(["sh", "-c", r"echo careful >&2; printf 'a\377'"]) == "a\ufffd"
