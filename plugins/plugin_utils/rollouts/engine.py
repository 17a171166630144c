# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Take sites through the steps of a rollout, wave by wave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from .plan import Budget, Window, opening
from .state import ASIDE, FAILED, LATER, PASSED, ROLLED_BACK, STUCK, SiteState, Store

BEGIN, VERIFY, SOAK, CHECK = "begin", "verify", "soak", "check"
RESTORE, REVERIFY, END = "restore", "verify again", "end"
APPLY = "apply "
OWN = "baremetal.sonic."
# Seconds. While a site waits, the engine looks this often whether the run is to stop.
TICK = 1.0


class StoppedError(Exception):
    """The run is to stop: the step under way has no result."""


@dataclass(frozen=True)
class Outcome:
    """The end of a step at a site.

    unreachable: a host of the site did not answer, which says nothing about the change.
    report: what the step wrote for the controller.
    """

    ok: bool
    reason: str = ""
    unreachable: bool = False
    report: Mapping[str, Any] = field(default_factory=dict)


class Runner(Protocol):
    """Runs one step at one site, to its end."""

    def run(self, site: str, step: str, state: SiteState) -> Outcome:
        """Return how the step ended. It is given time enough by the runner itself."""

    def log(self, site: str) -> str:
        """Return the path of the site's log."""

    def stop(self) -> None:
        """End all steps under way. Each run() then raises StoppedError."""


class Clock(Protocol):
    """The time, and waiting."""

    def now(self) -> float:
        """Seconds since 1970."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class Teller(Protocol):
    """Shows and publishes what happens."""

    def event(self, site: str, what: str, reason: str = "") -> None:
        """Show one event."""


@dataclass(frozen=True)
class Settings:
    """How a rollout goes.

    playbooks: what is applied at each site, in this order. soak, stagger, window_wait: seconds.
    frozen: why a site may not change, by site. windows: when a site may change, by site.
    """

    waves: Sequence[Sequence[str]]
    playbooks: Sequence[str]
    parallel: int = 4
    budget: Budget = field(default_factory=Budget)
    soak: float = 0.0
    stagger: float = 0.0
    window_wait: float = 0.0
    rollback: bool = True
    windows: Mapping[str, Sequence[Window]] = field(default_factory=dict)
    frozen: Mapping[str, str] = field(default_factory=dict)

    @property
    def steps(self) -> list[str]:
        """The way forward of a site, until its end."""
        applies = [f"{APPLY}{playbook}" for playbook in self.playbooks]
        return [BEGIN, *applies, VERIFY, SOAK, CHECK]


class Engine:
    """Runs a rollout. All of its state is in the store, after each transition."""

    def __init__(
        self, settings: Settings, store: Store, runner: Runner, clock: Clock, teller: Teller
    ) -> None:
        self._settings = settings
        self._store = store
        self._runner = runner
        self._clock = clock
        self._teller = teller
        self.halted = ""

    def run(self) -> None:
        """Run all waves, or as many as the verdicts allow. Raises StateError."""
        former: list[SiteState] = []
        for number, names in enumerate(self._settings.waves, start=1):
            for name in names:
                self._store.site(name).wave = number
        # A site that an earlier run set aside, or left, is started again.
        for state in self._store.sites.values():
            if not state.final:
                state.result = state.reason = ""
        self._store.save()
        for number, names in enumerate(self._settings.waves, start=1):
            self._wave(number, names, former)
            states = [self._store.site(name) for name in names]
            if not self.halted and any(state.result == LATER for state in states):
                self.halted = f"wave {number} is not complete: sites of it are left for later"
            if self.halted:
                return
            former += states

    def _wave(self, number: int, names: Sequence[str], former: Sequence[SiteState]) -> None:
        self._note(names, former)
        waiting = [name for name in names if not self._store.site(name).final]
        if waiting and not self.halted:
            self._teller.event(
                "", f"wave {number} of {len(self._settings.waves)}: " + ", ".join(waiting)
            )
        with ThreadPoolExecutor(self._settings.parallel) as pool:
            jobs = [
                pool.submit(self._start, place, name, names, former)
                for place, name in enumerate(waiting)
            ]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                self.halted = self.halted or "the run was stopped"
                self._runner.stop()
                raise

    def _note(self, names: Sequence[str], former: Sequence[SiteState]) -> None:
        """Halt when the budget is exhausted, or a rollback failed."""
        states = [self._store.site(name) for name in names]
        stuck = [name for name in names if self._store.site(name).result == STUCK]
        why = self._settings.budget.exhausted(
            (state.bad for state in states), (state.bad for state in former)
        )
        if stuck:
            why = f"the rollback of {', '.join(stuck)} failed"
        if why and not self.halted:
            self.halted = why
            self._teller.event("", "halted", why)

    def _start(
        self, place: int, name: str, names: Sequence[str], former: Sequence[SiteState]
    ) -> None:
        if place and self._settings.stagger and place < self._settings.parallel:
            self._wait_until(self._clock.now() + place * self._settings.stagger)
        if self.halted or not self._may_change(name):
            return
        state = self._store.site(name)
        state.log = self._runner.log(name)
        state.started = state.started or rfc3339(self._clock.now())
        begun = self._clock.now()
        try:
            self._site(name, state)
        finally:
            state.seconds = round(state.seconds + self._clock.now() - begun, 1)
            state.ended = rfc3339(self._clock.now())
            self._store.save()
        self._teller.event(name, state.result, state.reason)
        self._note(names, former)

    def _may_change(self, name: str) -> bool:
        """Wait for the site's window, if it opens in time; otherwise leave the site for later."""
        state = self._store.site(name)
        if state.done:
            # A site in the middle of a change is worse than one that changes outside its hours.
            return True
        reason = ""
        if freeze := self._settings.frozen.get(name):
            reason = f"frozen: {freeze} (rollout_freeze)"
        else:
            # As one moment: seconds as a float and back may be a microsecond more.
            now = moment(self._clock.now())
            at = opening(self._settings.windows.get(name, ()), now)
            left = (at - now).total_seconds() if at else float("inf")
            if at is None or left > self._settings.window_wait:
                reason = "outside its maintenance windows" + (
                    f"; the next one opens at {at.isoformat(timespec='minutes')}" if at else ""
                )
            elif left:
                self._teller.event(name, f"waits for its window at {at.isoformat()}")
                self._wait_until(at.timestamp())
        if reason:
            state.result, state.reason = LATER, reason
            self._store.save()
            self._teller.event(name, LATER, reason)
        return not (reason or self.halted)

    def _wait_until(self, end: float) -> None:
        while not self.halted and (left := end - self._clock.now()) > 0:
            self._clock.sleep(min(left, TICK))

    def _site(self, name: str, state: SiteState) -> None:
        """Take a site forward, or back, from where it is."""
        if not state.failure:
            for step in self._settings.steps:
                outcome = self._step(name, step, state)
                if outcome.ok:
                    continue
                if outcome.unreachable or step == BEGIN:
                    state.result, state.reason = ASIDE, f"{step}: {outcome.reason}"
                    return
                state.failure = f"{step}: {outcome.reason}"
                self._store.save()
                break
        result, reason = self._back(name, state) if state.failure else (PASSED, "")
        if result == ASIDE:
            state.result, state.reason = result, reason
            return
        state.reports["verdict"] = {"result": result, "reason": reason}
        ended = self._step(name, END, state)
        if not ended.ok:
            reason = (f"{reason}; " if reason else "") + (
                f"its lock was not released and expires by itself: {ended.reason}"
            )
        state.result, state.reason = result, reason

    def _back(self, name: str, state: SiteState) -> tuple[str, str]:
        """Roll a site back; return its result and the reason."""
        if not self._settings.rollback:
            return FAILED, f"{state.failure}; not rolled back (rollout_rollback)"
        if RESTORE not in state.done:
            self._teller.event(name, "rolls back")
        for step in (RESTORE, REVERIFY):
            outcome = self._step(name, step, state)
            if outcome.unreachable:
                return ASIDE, f"{state.failure}; not rolled back yet, {step}: {outcome.reason}"
            if not outcome.ok:
                return STUCK, f"{state.failure}; {step}: {outcome.reason}"
        # A snapshot is of the stack. Other playbooks that have run, or begun, stay as they are.
        others = [name for name in self._applied(state) if name.removeprefix(OWN) != "stack"]
        kept = f"; not rolled back: {', '.join(others)}" if others else ""
        return ROLLED_BACK, state.failure + kept

    def _applied(self, state: SiteState) -> list[str]:
        """Return the playbooks that have run at a site, the one that failed among them."""
        playbooks = list(self._settings.playbooks)
        done = sum(f"{APPLY}{name}" in state.done for name in playbooks)
        return playbooks[: done + 1]

    def _step(self, name: str, step: str, state: SiteState) -> Outcome:
        """Run a step that is not done. It may have been interrupted: each can run again."""
        if step in state.done:
            return Outcome(ok=True)
        state.step = step
        if step == SOAK:
            state.soak_until = state.soak_until or self._clock.now() + self._settings.soak
            self._store.save()
            # Not cut short by a halt elsewhere: the site needs its verdict.
            while (left := state.soak_until - self._clock.now()) > 0:
                self._clock.sleep(min(left, TICK))
            outcome = Outcome(ok=True)
        else:
            self._store.save()
            begun = self._clock.now()
            outcome = self._runner.run(name, step, state)
            seconds = self._clock.now() - begun
            word = "done" if outcome.ok else "failed"
            self._teller.event(name, f"{step}: {word} ({seconds:.0f} s)", outcome.reason)
        if outcome.report:
            state.reports[step] = dict(outcome.report)
        if outcome.ok:
            state.done.append(step)
            state.step = ""
        self._store.save()
        return outcome


def moment(seconds: float) -> datetime:
    """Return a moment in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def rfc3339(seconds: float) -> str:
    """Return a moment as text, in UTC."""
    return moment(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")
