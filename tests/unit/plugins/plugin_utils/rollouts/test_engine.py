# SPDX-License-Identifier: Apache-2.0
"""The way of sites through a rollout, with a clock and sites of the test's own."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.engine import (
    Engine,
    Outcome,
    Settings,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.plan import Budget, windows
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.state import (
    SiteState,
    StateError,
    Store,
    lock_folder,
)

FORWARD = ["begin", "apply stack", "verify", "check", "end"]
BACK = ["restore", "verify again", "end"]
FAILS = Outcome(ok=False, reason="the image cannot be pulled")
DEAD = Outcome(ok=False, reason="no route to host", unreachable=True)


class KilledError(Exception):
    """The controller is killed."""


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class Sites:
    """Sites that note each step, and end it as the test says."""

    def __init__(self, **ends: Mapping[str, Outcome]) -> None:
        self.ends = ends
        self.steps: list[tuple[str, str]] = []
        self.completed: list[tuple[str, str]] = []
        self.killed_at = 0
        self._lock = threading.Lock()

    def run(self, site: str, step: str, state: SiteState) -> Outcome:
        with self._lock:
            self.steps.append((site, step))
            if len(self.steps) == self.killed_at:
                raise KilledError
            outcome = self.ends.get(site, {}).get(step, Outcome(ok=True, report={"step": step}))
            if outcome.ok:
                self.completed.append((site, step))
            return outcome

    def log(self, site: str) -> str:
        return f"{site}.log"

    def stop(self) -> None:
        pass

    def at(self, site: str) -> list[str]:
        return [step for name, step in self.steps if name == site]


class Events:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def event(self, site: str, what: str, reason: str = "") -> None:
        self.lines.append(f"{site} {what} {reason}".strip())


def settings(**changes: object) -> Settings:
    given: dict[str, object] = {"waves": [["a"], ["b", "c"]], "playbooks": ["stack"], "soak": 30.0}
    return Settings(**(given | changes))  # type: ignore[arg-type]


def rollout(
    folder: Path, sites: Sites, wanted: Settings, clock: Clock | None = None, release: str = "r1"
) -> tuple[Engine, Store]:
    store = Store(folder, release)
    store.load(restart=False)
    engine = Engine(wanted, store, sites, clock or Clock(), Events())
    engine.run()
    return engine, store


def results(store: Store) -> dict[str, str]:
    return {name: state.result for name, state in sorted(store.sites.items())}


def test_all_sites_pass_wave_by_wave(tmp_path: Path) -> None:
    sites, clock = Sites(), Clock()
    engine, store = rollout(tmp_path, sites, settings(), clock)
    assert results(store) == dict.fromkeys("abc", "passed")
    assert sites.steps[: len(FORWARD)] == [("a", step) for step in FORWARD]
    assert sites.at("b") == sites.at("c") == FORWARD
    assert clock.seconds >= 1_000_000 + 60  # two soaks, one for each wave
    assert not engine.halted
    assert json.loads((tmp_path / "state.json").read_text())["sites"]["a"]["result"] == "passed"


@pytest.mark.parametrize("step", ["apply stack", "verify", "check"])
def test_a_bad_release_is_rolled_back_at_the_canary_and_reaches_no_other_site(
    tmp_path: Path, step: str
) -> None:
    sites = Sites(a={step: FAILS})
    engine, store = rollout(tmp_path, sites, settings())
    assert results(store) == {"a": "rolled back", "b": "", "c": ""}
    assert store.site("a").reason == f"{step}: the image cannot be pulled"
    assert sites.at("a") == [*FORWARD[: FORWARD.index(step) + 1], *BACK]
    assert not sites.at("b")
    assert not sites.at("c")
    assert "1 failed in this wave, 0 may" in engine.halted
    # The same change is not tried again: the verdict stands, and the other sites stay as they are.
    again = Sites()
    engine, store = rollout(tmp_path, again, settings())
    assert again.steps == []
    assert engine.halted
    # Another change is tried.
    rollout(tmp_path, again, settings(), release="r2")
    assert again.at("c") == FORWARD


def test_another_change_waits_for_one_that_is_not_over(tmp_path: Path) -> None:
    # Its snapshot would be of a site in mid-change.
    rollout(tmp_path, Sites(a={"verify": DEAD}), settings())
    with pytest.raises(StateError, match=r"r1 is not over at a: .*rollout_restart"):
        Store(tmp_path, "r2").load(restart=False)
    assert not Store(tmp_path, "r2").load(restart=True)


def test_a_rollback_names_the_playbooks_that_it_does_not_undo(tmp_path: Path) -> None:
    platform, stack = "baremetal.sonic.platform", "baremetal.sonic.stack"
    for number, playbooks in enumerate([[platform, stack], [stack, platform]]):
        sites = Sites(a={f"apply {stack}": FAILS})
        wanted = settings(playbooks=playbooks)
        _engine, store = rollout(tmp_path, sites, wanted, release=f"r{number}")
        assert store.site("a").result == "rolled back"
        # The platform was not reached the second time.
        assert ("; not rolled back: " + platform in store.site("a").reason) == (number == 0)


def test_a_failed_rollback_halts_whatever_the_budget(tmp_path: Path) -> None:
    sites = Sites(a={"verify": FAILS, "restore": Outcome(ok=False, reason="no snapshot")})
    engine, store = rollout(tmp_path, sites, settings(budget=Budget(9, 9)))
    assert results(store) == {"a": "rollback failed", "b": "", "c": ""}
    assert engine.halted == "the rollback of a failed"
    assert "no snapshot" in store.site("a").reason


def test_without_rollback_a_failed_site_stays_as_it_is(tmp_path: Path) -> None:
    sites = Sites(a={"verify": FAILS})
    _engine, store = rollout(tmp_path, sites, settings(rollback=False))
    assert store.site("a").result == "failed"
    assert "restore" not in sites.at("a")


@pytest.mark.parametrize("step", ["begin", "apply stack", "check"])
def test_a_dead_site_is_set_aside_and_brought_in_by_the_next_run(tmp_path: Path, step: str) -> None:
    sites = Sites(b={step: DEAD})
    engine, store = rollout(tmp_path, sites, settings(budget=Budget(1, 1)))
    assert results(store) == {"a": "passed", "b": "set aside", "c": "passed"}
    assert store.site("b").reason == f"{step}: no route to host"
    assert not engine.halted
    again = Sites()
    _engine, store = rollout(tmp_path, again, settings(budget=Budget(1, 1)))
    assert results(store) == dict.fromkeys("abc", "passed")
    assert again.steps == [("b", s) for s in FORWARD[FORWARD.index(step) :]]


def test_a_dead_site_counts_against_the_budget(tmp_path: Path) -> None:
    engine, store = rollout(tmp_path, Sites(a={"begin": DEAD}), settings())
    assert results(store) == {"a": "set aside", "b": "", "c": ""}
    assert "1 failed" in engine.halted


def test_a_site_that_dies_before_its_rollback_is_rolled_back_by_the_next_run(
    tmp_path: Path,
) -> None:
    sites = Sites(a={"verify": FAILS, "restore": DEAD})
    _engine, store = rollout(tmp_path, sites, settings())
    assert store.site("a").result == "set aside"
    again = Sites()
    _engine, store = rollout(tmp_path, again, settings())
    assert again.at("a") == BACK
    assert store.site("a").result == "rolled back"


@pytest.mark.parametrize("kill", range(1, 16))
def test_killed_at_any_step_and_resumed_nothing_is_done_twice(tmp_path: Path, kill: int) -> None:
    wanted = settings(parallel=1)
    first = Sites()
    first.killed_at = kill
    with pytest.raises(KilledError):
        rollout(tmp_path, first, wanted)
    second = Sites()
    _engine, store = rollout(tmp_path, second, wanted)
    assert results(store) == dict.fromkeys("abc", "passed")
    done = first.completed + second.completed
    assert sorted(done) == sorted((site, step) for site in "abc" for step in FORWARD)


@pytest.mark.parametrize("kill", range(4, 7))
def test_killed_in_a_rollback_it_goes_on_with_the_rollback(tmp_path: Path, kill: int) -> None:
    first = Sites(a={"verify": FAILS})
    first.killed_at = kill
    with pytest.raises(KilledError):
        rollout(tmp_path, first, settings())
    second = Sites()
    _engine, store = rollout(tmp_path, second, settings())
    assert store.site("a").result == "rolled back"
    assert first.completed + second.completed == [
        ("a", step) for step in ["begin", "apply stack", *BACK]
    ]
    assert not second.at("b")


def test_a_site_outside_its_window_is_left_and_no_later_wave_begins(tmp_path: Path) -> None:
    # 1970-01-12, a Monday, 13:46 UTC.
    open_later, _problems = windows([{"from": "15:00", "to": "16:00", "zone": "UTC"}], "w")
    engine, store = rollout(tmp_path, Sites(), settings(windows={"a": open_later}))
    assert results(store) == {"a": "left for later", "b": "", "c": ""}
    assert "opens at 1970-01-12T15:00+00:00" in store.site("a").reason
    assert engine.halted.startswith("wave 1 is not complete")
    clock = Clock()
    _engine, store = rollout(
        tmp_path, Sites(), settings(windows={"a": open_later}, window_wait=7200.0), clock
    )
    assert results(store) == dict.fromkeys("abc", "passed")
    assert clock.seconds > 15 * 3600 + 11 * 86400


def test_without_windows_a_site_changes_at_any_fraction_of_a_second(tmp_path: Path) -> None:
    for number in range(50):
        clock = Clock()
        # Of such fractions, about half become a later moment when they are rounded.
        clock.seconds = 1_796_000_000 + number / 7 + 1.3e-7
        _engine, store = rollout(tmp_path, Sites(), settings(waves=[["a"]]), clock, f"r{number}")
        assert results(store) == {"a": "passed"}


def test_the_first_sites_of_a_wave_start_one_after_the_other(tmp_path: Path) -> None:
    waits: list[float] = []

    class Waits(Clock):
        def sleep(self, seconds: float) -> None:
            waits.append(seconds)
            super().sleep(seconds)

    wanted = settings(waves=[["a", "b"]], parallel=2, stagger=120.0, soak=0.0)
    _engine, store = rollout(tmp_path, Sites(), wanted, Waits())
    assert results(store) == {"a": "passed", "b": "passed"}
    assert sum(waits) == 120.0


def test_a_frozen_site_is_not_touched(tmp_path: Path) -> None:
    sites = Sites()
    _engine, store = rollout(tmp_path, sites, settings(frozen={"b": "elections"}))
    assert results(store) == {"a": "passed", "b": "left for later", "c": "passed"}
    assert store.site("b").reason == "frozen: elections (rollout_freeze)"
    assert not sites.at("b")


def test_a_lock_that_is_not_released_is_named(tmp_path: Path) -> None:
    _engine, store = rollout(tmp_path, Sites(a={"end": FAILS}), settings())
    assert store.site("a").result == "passed"
    assert "its lock was not released" in store.site("a").reason


def test_an_unreadable_state_is_no_empty_state(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(StateError, match="rollout_restart"):
        Store(tmp_path, "r1").load(restart=False)
    assert not Store(tmp_path, "r1").load(restart=True)


def test_one_run_uses_a_folder(tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(StateError, match="another rollout uses"):
        lock_folder(tmp_path)
    lock_folder(tmp_path).close()
