# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roll a change out over many sites, each in a process of its own."""

from __future__ import annotations

import getpass
import hashlib
import json
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible import context
from ansible.errors import AnsibleError
from ansible.module_utils.urls import open_url
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts import cli, plan
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.children import (
    AnsibleRunner,
    Processes,
    end_with_parent,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.engine import (
    REVERIFY,
    Engine,
    Settings,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.events import Events
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.inventory import (
    COLLECTION,
    leader_of,
    paths_of,
    sites_of,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.state import (
    PASSED,
    SiteState,
    StateError,
    Store,
    controller_id,
    lock_folder,
)

STEPS = COLLECTION / "playbooks" / "rollout_site.yml"
WEBHOOK_S = 5
# Checks of verify that compare workers with the inventory. After a rollback it wants what failed.
OF_THE_CHANGE = ("workers", "images", "autoscaling")
display = Display()


class RealClock:
    """The time of this machine."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller, once for all sites."""

    _requires_connection = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Plan the rollout in check mode, otherwise run it."""
        super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(
            {
                "folder": {"type": "path", "required": True},
                "playbooks": {"type": "list", "elements": "str", "required": True},
                "sites": {"type": "list", "elements": "str", "default": []},
                "waves": {"type": "list", "elements": "raw", "default": []},
                "parallel": {"type": "int", "default": 4},
                "max_failures": {"type": "int", "default": 0},
                "max_failures_wave": {"type": "int", "default": 0},
                "soak": {"type": "int", "default": 60},
                "stagger": {"type": "int", "default": 0},
                "window_wait": {"type": "int", "default": 0},
                "step_timeout": {"type": "int", "default": 3600},
                "rollback": {"type": "bool", "default": True},
                "restart": {"type": "bool", "default": False},
                "release": {"type": "str", "default": ""},
                "reason": {"type": "str", "default": ""},
                "webhook": {"type": "str", "default": "", "no_log": True},
            }
        )
        variables = task_vars or {}
        try:
            return self._rollout(options, variables)
        except StateError as error:
            raise AnsibleError(str(error)) from error

    def _rollout(self, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        hosts, problems = sites_of(variables, options["sites"], "rollout_sites")
        waves, wrong = plan.waves(list(hosts), options["waves"])
        problems += wrong
        allowed: dict[str, list[plan.Window]] = {}
        frozen: dict[str, str] = {}
        for site, members in hosts.items():
            leader = variables["hostvars"][leader_of(members, variables)]
            given = leader.get("rollout_windows") or []
            allowed[site], wrong = plan.windows(given, f"site {site}: rollout_windows")
            problems += wrong
            frozen[site] = str(leader.get("rollout_freeze") or "")
        paths, wrong = paths_of(options["playbooks"], "rollout_playbooks")
        problems += wrong
        paths["verify"] = str(COLLECTION / "playbooks" / "verify.yml")
        problems += _numbers(options)
        arguments, refused = cli.arguments(context.CLIARGS)
        problems += refused
        if options["webhook"] and urlsplit(options["webhook"]).scheme not in ("http", "https"):
            problems.append("rollout_webhook: give a URL that begins with https:// or http://")
        if problems:
            listed = "\n".join(f"  {n}. {line}" for n, line in enumerate(problems, start=1))
            return {
                "failed": True,
                "changed": False,
                "problems": problems,
                "msg": f"{len(problems)} to fix before anything is changed:\n{listed}",
            }
        settings = Settings(
            waves=waves,
            playbooks=options["playbooks"],
            parallel=options["parallel"],
            budget=plan.Budget(options["max_failures_wave"], options["max_failures"]),
            soak=options["soak"],
            stagger=options["stagger"],
            window_wait=options["window_wait"],
            rollback=options["rollback"],
            windows=allowed,
            frozen={site: why for site, why in frozen.items() if why},
        )
        folder = Path(options["folder"]).absolute()
        # Also ends this process when the main one is killed: its children end with it.
        end_with_parent(signal.SIGTERM)
        with lock_folder(folder) as lock:
            processes = Processes(keep=[lock.fileno()])
            release = _release(options, hosts, variables)
            events = Events(folder, release, display.display, _poster(options["webhook"]))
            runner = AnsibleRunner(
                arguments,
                folder,
                STEPS,
                hosts,
                paths,
                options["step_timeout"],
                _Variables(options, folder, release),
                processes,
            )
            if variables.get("ansible_check_mode"):
                return _planned(settings, runner, events)
            return _rolled_out(settings, runner, events, Store(folder, release), options["restart"])


def _rolled_out(
    settings: Settings, runner: AnsibleRunner, events: Events, store: Store, restart: bool
) -> dict[str, Any]:
    resumed = store.load(restart)
    before = {name for name, state in store.sites.items() if state.final}
    events.event("", f"release {store.release} " + ("resumed" if resumed else "begun"))
    engine = Engine(settings, store, runner, RealClock(), events)
    with events.heartbeat(store):
        engine.run()
    names = [name for wave in settings.waves for name in wave]
    states = {name: store.site(name) for name in names}
    table = events.table(states, engine.halted)
    good = all(state.result == PASSED for state in states.values())
    result: dict[str, Any] = {
        "changed": any(state.final and name not in before for name, state in states.items()),
        "failed": not good,
        "release": store.release,
        "halted": engine.halted,
        "results": {name: state.result or "not started" for name, state in states.items()},
        "table": table,
    }
    if not good:
        left = [name for name, state in states.items() if state.result != PASSED]
        result["msg"] = (
            f"not passed: {', '.join(left)}"
            + (f"; halted: {engine.halted}" if engine.halted else "")
            + (
                ". Repair the change: a site does not try the same one again, unless"
                " rollout_restart is true"
                if any(states[name].final for name in left)
                else ". Run again to go on"
            )
        )
    return result


def _planned(settings: Settings, runner: AnsibleRunner, events: Events) -> dict[str, Any]:
    """Run the playbooks in check mode at all sites: nothing is changed, and no lock is taken."""
    plans = events.side_by_side(
        [name for wave in settings.waves for name in wave],
        settings.parallel,
        lambda name: runner.plan(name, settings.playbooks),
        runner.stop,
    )
    table, wrong = [], []
    for number, wave in enumerate(settings.waves, start=1):
        for name in wave:
            outcome, tasks = plans[name]
            text = f"{len(tasks)} to change" if outcome.ok else f"failed: {outcome.reason}"
            table.append(f"wave {number}  {name}  {text}  {runner.log(name)}")
            table += [f"    {task}" for task in tasks]
            wrong += [] if outcome.ok else [name]
    for line in table:
        display.display(line)
    result: dict[str, Any] = {
        "changed": any(tasks for _outcome, tasks in plans.values()),
        "failed": bool(wrong),
        "plans": {name: tasks for name, (_outcome, tasks) in plans.items()},
        "table": table,
    }
    if wrong:
        result["msg"] = f"no plan for {', '.join(wrong)}: see the table"
    return result


class _Variables:
    """The extra variables of a site's step. All are private to the role rollout."""

    def __init__(self, options: Mapping[str, Any], folder: Path, release: str) -> None:
        self._options = options
        self._folder = folder
        self._release = release
        user = f"{getpass.getuser()}@{socket.gethostname()}"
        self._holder = f"{user}/{controller_id(folder)}"

    def __call__(self, site: str, step: str, state: SiteState) -> Mapping[str, Any]:
        options = self._options
        return {
            **({"_verify_skip": OF_THE_CHANGE} if step == REVERIFY else {}),
            "_rollout_release": self._release,
            "_rollout_holder": self._holder,
            "_rollout_reason": options["reason"] or f"rollout of {', '.join(options['playbooks'])}",
            "_rollout_under_way": step,
            # A step, and a soak after it, pass before the next step renews the lock.
            "_rollout_lease_seconds": options["step_timeout"] + options["soak"] + 120,
            "_rollout_report": str(self._folder / f"{site}.step.json"),
            "_rollout_seconds": max(options["soak"], 60),
            "_rollout_before": state.reports.get("begin", {}).get("figures") or {},
            "_rollout_verdict": state.reports.get("verdict") or {},
            "verify_folder": str(self._folder / "verify"),
        }


def _numbers(options: Mapping[str, Any]) -> list[str]:
    least = {
        "parallel": 1, "max_failures": 0, "max_failures_wave": 0, "soak": 0, "stagger": 0,
        "window_wait": 0, "step_timeout": 1,
    }  # fmt: skip
    problems = [
        f"rollout_{name} is {options[name]}: give at least {number}"
        for name, number in least.items()
        if options[name] < number
    ]
    if not options["playbooks"]:
        problems.append("rollout_playbooks is empty: name at least one playbook")
    return problems


def _release(
    options: Mapping[str, Any], hosts: Mapping[str, Sequence[str]], variables: Mapping[str, Any]
) -> str:
    """Return the name of the wanted change: a digest of playbooks, collection and variables."""
    wanted: dict[str, Any] = {
        "playbooks": options["playbooks"],
        "release": options["release"],
        "collection": cli.version(COLLECTION),
        "hosts": {},
    }
    for members in hosts.values():
        for host in members:
            given = variables["hostvars"].raw_get(host)
            wanted["hosts"][host] = {k: v for k, v in given.items() if cli.is_inventory(k)}
    text = json.dumps(wanted, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _poster(url: str) -> Any:
    """Return what posts an event; a failure is a warning."""

    def post(event: Mapping[str, Any]) -> None:
        try:
            open_url(
                url,
                data=json.dumps(event),
                headers={"Content-Type": "application/json"},
                method="POST",
                timeout=WEBHOOK_S,
            ).close()
        except (OSError, ValueError) as error:
            display.warning(f"rollout_webhook: the event was not delivered: {error}")

    return post if url else None
