# SPDX-License-Identifier: Apache-2.0
"""Run a module's main() as Ansible does, with the test's own commands in the search path."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

Main = Callable[[], None]


class Modules:
    """Calls modules and stands for the programs that they run."""

    def __init__(
        self, folder: Path, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
    ) -> None:
        self._commands = folder / "commands"
        self._commands.mkdir()
        self._log = folder / "commands.log"
        self._capsys = capsys
        self.printed = ""
        patch.setenv("PATH", f"{self._commands}:{os.environ['PATH']}")

    def call(
        self, main: Main, *, check: bool = False, diff: bool = False, **options: Any
    ) -> dict[str, Any]:
        """Run a module; returns its result, also of a failure (then `failed` is there)."""
        modes = {"_ansible_check_mode": check, "_ansible_diff": diff}
        self._capsys.readouterr()
        with patch_module_args(options | modes), pytest.raises(SystemExit):
            main()
        self.printed = self._capsys.readouterr().out
        result: dict[str, Any] = json.loads(self.printed)
        result.pop("invocation", None)
        return result

    def program(self, name: str, script: str = "") -> None:
        """Put a shell script where a program is looked for; each call's words are noted."""
        path = self._commands / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self._log}\n{script}\n', encoding="utf-8")
        path.chmod(0o755)

    @property
    def ran(self) -> list[str]:
        """The commands so far, one line each."""
        return self._log.read_text(encoding="utf-8").splitlines() if self._log.exists() else []
