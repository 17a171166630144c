# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Helm's command line: what a release is, and what an upgrade would make of it.

Values reach helm by its standard input and never lie on a disk. Everything is read as JSON; the
commands and their fields are those of Helm 3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .._kube.objects import HIDDEN, without_secrets
from .._rollout.progress import KINDS

try:
    import yaml
except ImportError:
    yaml = None  # type: ignore[assignment]  # the Kubernetes client brings it, and is asked for first

DEPLOYED = "deployed"
# Revisions that Helm keeps by default.
HISTORY = 10


class HelmError(Exception):
    """Helm refused; the message is its own."""


class Run(Protocol):
    """Runs a command: AnsibleModule.run_command."""

    def __call__(self, args: Sequence[str], data: str | None = None) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""


@dataclass(frozen=True)
class Release:
    """One revision of a release; revision 0 stands for a release that is not there.

    values: what it was deployed with. manifest: the objects, as Helm renders them. status:
    deployed, failed, pending-upgrade and so on.
    """

    revision: int = 0
    status: str = ""
    chart: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    manifest: str = ""

    @property
    def objects(self) -> list[dict[str, Any]]:
        """What the manifest holds."""
        return [item for item in yaml.safe_load_all(self.manifest) if item]

    def workloads(self, namespace: str) -> list[dict[str, str]]:
        """The manifest's Deployments, StatefulSets and DaemonSets, for a wait."""
        return [
            {
                "kind": item["kind"],
                "namespace": item["metadata"].get("namespace") or namespace,
                "name": item["metadata"]["name"],
            }
            for item in self.objects
            if item["kind"] in KINDS
        ]

    def told(self, secret: Mapping[str, Any]) -> str:
        """The release as a text for a diff, without what is secret."""
        if not self.revision:
            return ""
        values = without(self.values, secret)
        parts = [f"# chart {self.chart}, values", dump(values)]
        parts += [dump(without_secrets(item)) for item in self.objects]
        return "---\n".join(parts)


def dump(value: Any) -> str:
    """YAML as people read it."""
    text: str = yaml.safe_dump(value, sort_keys=False, default_flow_style=False, width=120)
    return text


def without(values: Mapping[str, Any], secret: Mapping[str, Any]) -> dict[str, Any]:
    """Values with everything hidden that has a place among the secret ones."""
    shown = dict(values)
    for key, value in secret.items():
        if key not in shown:
            continue
        inner = shown[key]
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            shown[key] = without(inner, value)
        else:
            shown[key] = HIDDEN
    return shown


def merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Values with others over them, as Helm merges them: maps by key, all else as a whole."""
    made = dict(values)
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(made.get(key), Mapping):
            made[key] = merged(made[key], value)
        else:
            made[key] = value
    return made


class Helm:
    """One release of one namespace."""

    def __init__(self, run: Run, binary: str, kubeconfig: str, namespace: str, name: str) -> None:
        self._run = run
        self._binary = binary
        self._where = ["--namespace", namespace, "--kubeconfig", kubeconfig]
        self._name = name

    def _call(self, *args: str, data: str | None = None) -> str:
        status, out, err = self._run([self._binary, *args, *self._where], data=data)
        if status:
            lines = (line.strip() for line in err.splitlines() or out.splitlines())
            told = [line for line in lines if line and not line.startswith("WARNING")]
            raise HelmError(" ".join(told).removeprefix("Error: ") or f"helm ended with {status}")
        return out

    def current(self) -> Release:
        """The newest revision, whatever became of it. Raises HelmError."""
        listed = json.loads(
            self._call("list", "--all", "--filter", f"^{self._name}$", "--output", "json")
        )
        if not listed:
            return Release()
        found = json.loads(self._call("status", self._name, "--output", "json"))
        return _release(found, listed[0]["chart"])

    def upgraded(self, chart: str, values: Mapping[str, Any], history: int) -> Release:
        """Install or upgrade the release. Raises HelmError."""
        return self._upgrade(chart, values, history)

    def tried(
        self, chart: str, values: Mapping[str, Any], history: int = HISTORY,
        *, replacing: bool = False,
    ) -> Release:  # fmt: skip
        """What would become of it. Raises HelmError, also for values the chart does not know.

        replacing: whether others' objects of the chart's names will be gone by then.
        """
        # On the server's side: a chart may look up what is there.
        more = ["--dry-run=server", *(["--take-ownership"] if replacing else [])]
        return self._upgrade(chart, values, history, *more)

    def _upgrade(self, chart: str, values: Mapping[str, Any], history: int, *more: str) -> Release:
        args = ["upgrade", "--install", self._name, chart, "--reset-values", "--values", "-"]
        args += ["--history-max", str(history), "--output", "json", *more]
        return _release(json.loads(self._call(*args, data=json.dumps(values))))

    def rolled_back(self, revision: int) -> None:
        """Deploy an earlier revision again, as a new one. Raises HelmError."""
        self._call("rollback", self._name, str(revision))

    def removed(self, timeout_s: int) -> None:
        """Remove the release, its objects and its history, and wait. Raises HelmError."""
        self._call("uninstall", self._name, "--wait", "--timeout", f"{timeout_s}s")


def _release(found: Mapping[str, Any], chart: str = "") -> Release:
    metadata = (found.get("chart") or {}).get("metadata") or {}
    return Release(
        revision=int(found["version"]),
        status=found["info"]["status"],
        chart=chart or f"{metadata.get('name')}-{metadata.get('version')}",
        values=found.get("config") or {},
        manifest=found.get("manifest") or "",
    )


def same(before: Release, after: Release) -> bool:
    """Whether an upgrade from one to the other would change nothing."""
    return (
        before.status == DEPLOYED
        and before.chart == after.chart
        and before.values == after.values
        and before.objects == after.objects
    )


def refuse_pending(before: Release) -> None:
    """Raises HelmError when something is being made of the release."""
    if before.status.startswith("pending"):
        raise HelmError(
            f"revision {before.revision} is {before.status}: somebody deploys it right now, or was"
            " interrupted. In the latter case go back with: helm rollback, or helm uninstall when"
            " it is the first revision"
        )
