# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module that waits in parts, and show its progress between them."""

from __future__ import annotations

import time
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Seconds of a part in which nothing changes. A line is repeated so often: the seconds in it grow.
PART_S = 20.0
# The first part: what is there is shown at once.
FIRST_PART_S = 1.0
# Callbacks whose output a program reads.
FOR_PROGRAMS = ("json", "jsonl", "null")


class WaitingAction(ActionBase):  # type: ignore[misc]
    """Runs the module of its name until that waits no more."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the result of the module's last part."""
        super().run(tmp, task_vars)
        if self._task.async_val:
            # Ansible shows nothing of a task in the background.
            whole: dict[str, Any] = self._execute_module(task_vars=task_vars, wrap_async=True)
            return whole
        began = time.monotonic()
        arguments = {**self._task.args, "part_s": FIRST_PART_S}
        while True:
            result: dict[str, Any] = self._execute_module(
                module_args=arguments, task_vars=task_vars
            )
            waited = result.pop("waited", None)
            lines = result.pop("progress", [])
            if waited is None:
                return result
            self._show(lines, (task_vars or {}).get("inventory_hostname", ""))
            arguments["part_s"] = PART_S
            arguments["waited"] = continued(waited, time.monotonic() - began)

    def _show(self, lines: list[str], host: str) -> None:
        if constants.DEFAULT_STDOUT_CALLBACK.endswith(FOR_PROGRAMS):
            return
        display = Display()
        for line in lines:
            display.display(f"{host}: {line}", color=constants.COLOR_VERBOSE)


def continued(waited: dict[str, Any], elapsed_s: float) -> dict[str, Any]:
    """Return what a part has seen, older by the time that passed since it ended."""
    gap = max(0.0, elapsed_s - waited["elapsed_s"])
    return {
        "elapsed_s": waited["elapsed_s"] + gap,
        "troubles": {key: age + gap for key, age in waited["troubles"].items()},
    }
