# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Run Helm 3: read a release, and see what an upgrade would change.

Values reach helm by its standard input and are never written to a disk. Answers are read as JSON.
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
    yaml = None  # type: ignore[assignment]  # the kubernetes package brings it; helm_of requires that

DEPLOYED = "deployed"
# Revisions that Helm keeps by default.
HISTORY = 10


class HelmError(Exception):
    """Helm failed; the message is its own."""


class Run(Protocol):
    """Runs a command: AnsibleModule.run_command."""

    def __call__(self, args: Sequence[str], data: str | None = None) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""


@dataclass(frozen=True)
class Release:
    """One revision of a release. Revision 0 stands for a release that does not exist.

    values: the values of this revision. manifest: the rendered objects, as YAML. status: deployed,
    failed, pending-upgrade and so on.
    """

    revision: int = 0
    status: str = ""
    chart: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    manifest: str = ""

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The objects of the manifest."""
        return [item for item in yaml.safe_load_all(self.manifest) if item]

    def workloads(self, namespace: str) -> list[dict[str, str]]:
        """Return the manifest's Deployments, StatefulSets and DaemonSets, for a wait."""
        return [
            {
                "kind": item["kind"],
                "namespace": item["metadata"].get("namespace") or namespace,
                "name": item["metadata"]["name"],
            }
            for item in self.objects
            if item["kind"] in KINDS
        ]

    def shown(self, secret: Mapping[str, Any]) -> str:
        """Return the release as text for a diff, without secrets."""
        if not self.revision:
            return ""
        values = without(self.values, secret)
        parts = [f"# chart {self.chart}, values", dump(values)]
        parts += [dump(without_secrets(item)) for item in self.objects]
        return "---\n".join(parts)


def dump(value: Any) -> str:
    """Return readable YAML."""
    text: str = yaml.safe_dump(value, sort_keys=False, default_flow_style=False, width=120)
    return text


def without(values: Mapping[str, Any], secret: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with every key hidden that the secret values have, too."""
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
    """Return values with others merged over them as Helm does: maps by key, all else whole."""
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
            reason = [line for line in lines if line and not line.startswith("WARNING")]
            raise HelmError(" ".join(reason).removeprefix("Error: ") or f"helm ended with {status}")
        return out

    def current(self) -> Release:
        """Return the newest revision, also one that failed. Raises HelmError."""
        listed = json.loads(
            self._call("list", "--all", "--filter", f"^{self._name}$", "--output", "json")
        )
        if not listed:
            return Release()
        answer = json.loads(self._call("status", self._name, "--output", "json"))
        return _release(answer, listed[0]["chart"])

    def upgraded(self, chart: str, values: Mapping[str, Any], history: int) -> Release:
        """Install or upgrade the release. Raises HelmError."""
        return self._upgrade(chart, values, history)

    def tried(
        self, chart: str, values: Mapping[str, Any], history: int = HISTORY,
        *, replacing: bool = False,
    ) -> Release:  # fmt: skip
        """Return the release after an upgrade, by a dry run. Raises HelmError.

        A chart with a schema refuses unknown values, too.

        replacing: whether other owners' objects with the chart's names will be removed before.
        """
        # On the server's side, since a chart may look up objects.
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


def _release(answer: Mapping[str, Any], chart: str = "") -> Release:
    metadata = (answer.get("chart") or {}).get("metadata") or {}
    return Release(
        revision=int(answer["version"]),
        status=answer["info"]["status"],
        chart=chart or f"{metadata.get('name')}-{metadata.get('version')}",
        values=answer.get("config") or {},
        manifest=answer.get("manifest") or "",
    )


def same(before: Release, after: Release) -> bool:
    """Whether an upgrade from one revision to the other changes nothing."""
    return (
        before.status == DEPLOYED
        and before.chart == after.chart
        and before.values == after.values
        and before.objects == after.objects
    )


def refuse_pending(before: Release) -> None:
    """Raise HelmError if an operation on the release is under way."""
    if before.status.startswith("pending"):
        raise HelmError(
            f"revision {before.revision} is {before.status}: another run is deploying it, or was"
            " interrupted. If it was interrupted, go back with helm rollback, or with helm"
            " uninstall if it is the first revision"
        )
