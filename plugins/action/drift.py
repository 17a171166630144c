# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare sites with their inventories, each in a process of its own."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts import cli, drifts
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.children import (
    AnsibleRunner,
    Processes,
    end_with_parent,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.engine import rfc3339
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.events import Events
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.inventory import (
    paths_of,
    sites_of,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.state import (
    StateError,
    lock_folder,
    write_json,
)

SAME, DRIFT, UNKNOWN = "same", "drift", "unknown"
# A line for each difference is for people: the report has all.
SHOWN = 20
display = Display()


@dataclass(frozen=True)
class Compared:
    """The result of a site. reason: why a result is unknown, or not whole."""

    differences: list[drifts.Difference]
    reason: str
    seconds: float

    @property
    def result(self) -> str:
        """Whether the site is as its inventory wants it."""
        if self.reason:
            return UNKNOWN
        return DRIFT if self.differences else SAME

    def as_dict(self) -> dict[str, Any]:
        """Return the result as drift.json has it."""
        return {
            "result": self.result,
            "reason": self.reason,
            "seconds": self.seconds,
            "differences": [each.as_dict() for each in self.differences],
        }


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller, once for all sites. Changes nothing, in check mode and without."""

    _requires_connection = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Compare the sites; fails if one differs."""
        super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(
            {
                "folder": {"type": "path", "required": True},
                "playbooks": {"type": "list", "elements": "str", "required": True},
                "sites": {"type": "list", "elements": "str", "default": []},
                "parallel": {"type": "int", "default": 4},
                "timeout": {"type": "int", "default": 1800},
            }
        )
        hosts, problems = sites_of(task_vars or {}, options["sites"], "drift_sites")
        paths, wrong = paths_of(options["playbooks"], "drift_playbooks")
        arguments, refused = cli.arguments(context.CLIARGS)
        problems += [*wrong, *refused]
        problems += [
            f"drift_{name} is {options[name]}: give at least 1"
            for name in ("parallel", "timeout")
            if options[name] < 1
        ]
        if problems:
            return {"failed": True, "changed": False, "msg": "; ".join(problems)}
        try:
            return self._compared(options, hosts, paths, arguments)
        except StateError as error:
            raise AnsibleError(str(error)) from error

    def _compared(
        self,
        options: Mapping[str, Any],
        hosts: Mapping[str, list[str]],
        paths: Mapping[str, str],
        arguments: list[str],
    ) -> dict[str, Any]:
        folder = Path(options["folder"]).absolute()
        # Also ends this process when the main one is killed: its children end with it.
        end_with_parent(signal.SIGTERM)
        with lock_folder(folder) as lock:
            processes = Processes(keep=[lock.fileno()])
            runner = AnsibleRunner(
                arguments, folder, folder, hosts, paths, options["timeout"],
                lambda _site, _step, _state: {}, processes,
            )  # fmt: skip
            events = Events(folder, "", display.display)
            results = events.side_by_side(
                list(hosts),
                options["parallel"],
                lambda site: _site(runner, site, list(paths.values()), options["timeout"]),
                processes.stop,
                "compared",
            )
            report = {
                "schema": 1,
                "at": rfc3339(time.time()),
                "playbooks": list(paths),
                "sites": {name: result.as_dict() for name, result in results.items()},
            }
            path = folder / "drift.json"
            write_json(path, report)
        for line in table(results):
            display.display(line)
        bad = [name for name, result in results.items() if result.result != SAME]
        answer: dict[str, Any] = {
            "changed": False,
            "path": str(path),
            "results": {name: result.result for name, result in results.items()},
        }
        if bad:
            return answer | {
                "failed": True,
                "msg": f"not as the inventory wants: {', '.join(bad)}; all differences: {path}",
            }
        return answer


def _site(runner: AnsibleRunner, site: str, playbooks: list[str], timeout: int) -> Compared:
    begun = time.monotonic()
    log = Path(runner.log(site))
    log.unlink(missing_ok=True)
    ended = runner.playbooks(
        site, "drift", playbooks, {}, "--check", "--diff", environment=drifts.EVENTS
    )
    events = drifts.events_of(ended.output)
    reason = drifts.failure(events)
    if ended.timed_out:
        reason = f"not done after {timeout} s (drift_timeout)"
    elif not reason and (ended.rc or not drifts.complete(events)):
        reason = f"ansible-playbook ended with {ended.rc}, see {log}"
    if not reason:
        # It has all that the tasks read.
        log.unlink(missing_ok=True)
    return Compared(drifts.differences(events), reason, round(time.monotonic() - begun, 1))


def table(results: Mapping[str, Compared]) -> list[str]:
    """Return the results in lines for people."""
    lines = []
    for name, result in results.items():
        count = len(result.differences)
        word = {SAME: "as its inventory wants", DRIFT: f"{count} differences"}
        lines.append(f"site {name}: " + word.get(result.result, f"not known: {result.reason}"))
        lines += [f"  {each.line()}" for each in result.differences[:SHOWN]]
        if count > SHOWN:
            lines.append(f"  and {count - SHOWN} more")
    return lines
