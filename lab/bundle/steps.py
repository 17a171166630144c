# SPDX-License-Identifier: Apache-2.0
"""Cached build steps: each is keyed by its content, runs once, and leaves whole results only."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.config import LabError


def digest(*parts: str | bytes | Path) -> str:
    """Return a short name for a step's inputs; a path stands for the file's bytes."""
    total = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part
        data = data.encode() if isinstance(data, str) else data
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:16]


def run(
    command: Sequence[str | Path], *, cwd: Path | None = None, env: dict[str, str] | None = None
) -> str:
    """Run a command and return its standard output; what it warns of is not part of that.

    Raises:
        LabError: it failed; the message has the command and the end of its output.
    """
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"{error.filename} is not on this machine: run 'make lab' again") from error
    if done.returncode:
        tail = "\n".join(f"{done.stdout}\n{done.stderr}".strip().splitlines()[-25:])
        words = " ".join(str(word) for word in command)
        raise LabError(f"failed ({done.returncode}): {words}\n{tail}")
    return done.stdout


def read_json(path: Path) -> dict[str, Any]:
    """Return the content that write_json wrote; empty if the file is missing or incomplete."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON file atomically."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(json.dumps(data, indent=1), encoding="utf-8")
    temporary.replace(path)


@dataclass(frozen=True)
class Step:
    """One result: `build` fills the folder it is given; `key` names the content of its inputs.

    Of the steps of a `group` only one runs at a time.
    """

    name: str
    key: str
    seconds: int
    build: Callable[[Path], None]
    needs: tuple[str, ...] = ()
    group: str = ""

    def output(self, cache: Path) -> Path:
        """Return the folder of the finished result."""
        return cache / "steps" / f"{self.name.replace('/', '_').replace(':', '-')}-{self.key}"


def closure(wanted: Iterable[str], steps: dict[str, Step]) -> list[Step]:
    """Return the steps of these names and all that they need, each once, needs first.

    Raises:
        LabError: a step needs one that there is not.
    """
    needed: dict[str, Step] = {}

    def add(name: str, by: str) -> None:
        if name in needed:
            return
        if name not in steps:
            raise LabError(f"parts that can never be built: {by} needs {name}")
        for need in steps[name].needs:
            add(need, name)
        needed[name] = steps[name]

    for name in wanted:
        add(name, "the bundle")
    return list(needed.values())


class Pace:
    """How long is left, by the speed of what is finished.

    `expected` has the seconds that each part takes on a slow machine with nothing cached. What a
    machine really needs shows after the first parts: until then the expectation weighs as much as
    WEIGHT of them.
    """

    WEIGHT = 0.05

    def __init__(self, expected: dict[str, float]) -> None:
        self._left = dict(expected)
        self._total = sum(expected.values())

    def finish(self, name: str) -> None:
        """Take a part off what is left."""
        del self._left[name]

    def left(self, elapsed: float) -> float:
        """Return the seconds that are left after `elapsed` ones."""
        left = sum(self._left.values())
        weight = self.WEIGHT * self._total
        finished = self._total - left
        return left * (elapsed + weight) / (finished + weight) if self._total else 0.0


class Runner:
    """Runs the steps that are missing, a few at a time, and shows how far it is."""

    def __init__(self, cache: Path, say: Callable[[str], None], workers: int = 2) -> None:
        """`cache` is the folder of results; `say` prints one line of progress."""
        self.cache = cache
        self.say = say
        self.workers = workers

    def _one(self, step: Step) -> float:
        started = time.monotonic()
        target = step.output(self.cache)
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="new-", dir=target.parent))
        try:
            step.build(scratch)
            scratch.chmod(0o755)
            scratch.rename(target)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        return time.monotonic() - started

    def complete(self, steps: Iterable[Step]) -> bool:
        """Return whether every result is there; true then for good, so no lock is needed to ask."""
        return all(step.output(self.cache).exists() for step in steps)

    def run(self, steps: Iterable[Step]) -> int:
        """Build what is missing, in the order of needs; returns how many were built.

        Only one run may be under way in a cache.

        Raises:
            LabError: a step failed (those already running are let finish, and are kept), or needs
                one that there is not.
        """
        self._sweep()
        wanted = {step.name: step for step in steps}
        done = {name for name, step in wanted.items() if step.output(self.cache).exists()}
        todo = {name: step for name, step in wanted.items() if name not in done}
        if not todo:
            return 0
        pace = Pace({n: float(s.seconds) for n, s in todo.items()})
        count, total = 0, len(todo)
        self.say(
            f"building {total} of {len(wanted)} parts, {len(done)} are cached; about"
            f" {_clock(pace.left(0.0))} on two cores where nothing is compiled yet"
        )
        started = time.monotonic()
        running: dict[Future[float], str] = {}
        failure: BaseException | None = None
        with ThreadPoolExecutor(self.workers) as pool:
            while todo or running:
                for name, step in [(n, s) for n, s in todo.items() if done.issuperset(s.needs)]:
                    groups = {wanted[other].group for other in running.values()} - {""}
                    if failure is None and len(running) < self.workers and step.group not in groups:
                        running[pool.submit(self._one, todo.pop(name))] = name
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    error = future.exception()
                    if error is not None:
                        failure = failure or error
                        continue
                    done.add(name)
                    count += 1
                    elapsed = time.monotonic() - started
                    pace.finish(name)
                    self.say(
                        f"[{count}/{total}] {name}: {future.result():.0f} s; elapsed"
                        f" {_clock(elapsed)}, about {_clock(pace.left(elapsed))} to go"
                    )
        if failure is not None:
            raise failure
        if todo:
            wants = [f"{n} needs {', '.join(set(s.needs) - done)}" for n, s in todo.items()]
            raise LabError(f"parts that can never be built: {'; '.join(wants)}")
        return count

    def _sweep(self) -> None:
        """Remove what a run that was killed left half done; only one build runs at a time."""
        for scratch in (self.cache / "steps").glob("new-*"):
            shutil.rmtree(scratch, ignore_errors=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
