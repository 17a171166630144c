# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the checks of a site, write them as files, and fail if one of them failed."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import (
    FAIL,
    PASS,
    SKIPPED,
    WARN,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils import verify_files, verify_results

# Columns. Narrower, evidence is a column of single words; wider, lines are hard to follow.
NARROW, WIDE = 80, 120
# Callbacks whose output a program reads: a table in it would break that.
FOR_PROGRAMS = ("json", "jsonl", "null")
COLOURS = {
    PASS: constants.COLOR_OK,
    WARN: constants.COLOR_WARN,
    FAIL: constants.COLOR_ERROR,
    SKIPPED: constants.COLOR_SKIP,
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller, once for each site."""

    _requires_connection = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Show and write the result of a site."""
        super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(
            {
                "site": {"type": "str", "required": True},
                "checks": {"type": "list", "elements": "dict", "required": True},
                "skip": {"type": "list", "elements": "str", "default": []},
                "folder": {"type": "path", "default": ""},
                "versions": {"type": "dict", "default": {}},
                "seconds": {"type": "float", "default": 0.0},
            }
        )
        now = datetime.now(UTC)
        site = _site(options, now)
        width = min(max(shutil.get_terminal_size((WIDE, 24)).columns, NARROW), WIDE)
        rows = verify_results.table(site, width)
        files = _write(options["folder"], site, now) if options["folder"] else []
        if not constants.DEFAULT_STDOUT_CALLBACK.endswith(FOR_PROGRAMS):
            display = Display()
            for verdict, line in rows:
                display.display(line, color=COLOURS[verdict])
        result: dict[str, Any] = {"changed": False, "verdict": site.verdict, "files": files}
        if site.verdict == FAIL:
            # Ansible prints all of a failed result: it would bury the message in hundreds of lines.
            return result | {"failed": True, "msg": verify_results.failure(site)}
        return result | {
            "table": [line for _verdict, line in rows],
            "checks": [check.as_dict() for check in site.checks],
        }


def _site(options: dict[str, Any], now: datetime) -> verify_results.Site:
    """Return the result that the options describe. Raises AnsibleError."""
    try:
        checks = verify_results.checks_of(options["checks"])
    except verify_results.InvalidResultError as error:
        raise AnsibleError(f"checks: {error}") from error
    if unknown := verify_results.unknown_ids(checks, options["skip"]):
        known = ", ".join(sorted(check.id for check in checks))
        raise AnsibleError(f"verify_skip: no check is called {', '.join(unknown)}: use {known}")
    return verify_results.Site(
        str(options["site"]),
        verify_results.timestamp(now),
        tuple(verify_results.without(checks, options["skip"])),
        options["versions"],
        round(options["seconds"], 1),
    )


def _write(folder: str, site: verify_results.Site, now: datetime) -> list[str]:
    """Write the files. Raises AnsibleError."""
    if problem := verify_files.name_problem(site.name):
        raise AnsibleError(problem)
    try:
        return [str(path) for path in verify_files.write(Path(folder), site, now)]
    except OSError as error:
        raise AnsibleError(f"verify_folder: {folder} cannot be written: {error}") from error
