# SPDX-License-Identifier: Apache-2.0
"""A program that answers as helm does, for the tests of modules that run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.plugins.modules.running import Modules


def release(revision: int, manifest: str, status: str = "deployed", **config: Any) -> str:
    """What helm prints of a release with --output json."""
    return json.dumps(
        {
            "name": "speech",
            "version": revision,
            "info": {"status": status},
            "chart": {"metadata": {"name": "speech", "version": "1.0.0"}},
            "config": config,
            "manifest": manifest,
        }
    )


class Helm:
    """A program helm that knows a release as it is, and as it would become."""

    def __init__(self, modules: Modules, folder: Path, *, upgrades: bool = True) -> None:
        self._modules = modules
        self._folder = folder
        # A change of the release is an error where none is allowed.
        self._upgrades = upgrades
        (folder / "kubeconfig").touch()
        (folder / "chart").mkdir()

    @property
    def options(self) -> dict[str, Any]:
        """Which release, from which chart, in a module's options."""
        return {
            "kubeconfig": str(self._folder / "kubeconfig"),
            "name": "speech",
            "namespace": "cartesia",
            "chart": str(self._folder / "chart"),
        }

    @property
    def stdin(self) -> Any:
        """The values of the last upgrade, tried or made."""
        return json.loads((self._folder / "stdin").read_text())

    def has(self, is_: str, becomes: str) -> None:
        """Have a release, or none, that an upgrade would make another."""
        listed = [] if not is_ else [{"name": "speech", "chart": "speech-1.0.0"}]
        for name, text in {"list": json.dumps(listed), "is": is_, "becomes": becomes}.items():
            (self._folder / name).write_text(text)
        tried = "upgrade*" if self._upgrades else "*--dry-run=server*"
        changing = "rollback*|uninstall*) ;;" if self._upgrades else ""
        self._modules.program(
            "helm",
            f"""case "$*" in
            list*) cat {self._folder}/list ;;
            status*) cat {self._folder}/is ;;
            {tried}) cat > {self._folder}/stdin; cat {self._folder}/becomes ;;
            {changing}
            *) echo "not expected: $*" >&2; exit 1 ;;
            esac""",
        )
