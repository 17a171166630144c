# SPDX-License-Identifier: Apache-2.0
"""The module that deploys a chart, with a program that answers as helm does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.modules import helm_release

from tests.unit.plugins.modules import helming
from tests.unit.plugins.modules.running import Modules

OBJECTS = """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec: {replicas: %s}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
data: {key: c2VjcmV0}
"""


def release(revision: int, replicas: int = 1, status: str = "deployed", **config: Any) -> str:
    """The release with so many pods, deployed with these values."""
    return helming.release(revision, OBJECTS % replicas, status, **config)


class Cluster(helming.Helm):
    """A release, and the module that deploys it."""

    def refuses(self, text: str) -> None:
        self._modules.program("helm", f"echo '{text}' >&2; exit 1")

    def call(self, **options: Any) -> dict[str, Any]:
        return self._modules.call(helm_release.main, **self.options | options)

    @property
    def verbs(self) -> list[str]:
        return [
            " ".join(word for word in line.split() if word in WORDS) for line in self._modules.ran
        ]


WORDS = (
    "list",
    "status",
    "upgrade",
    "--dry-run=server",
    "--take-ownership",
    "rollback",
    "uninstall",
    "7",
)


@pytest.fixture
def cluster(modules: Modules, tmp_path: Path) -> Cluster:
    return Cluster(modules, tmp_path)


def test_first_deployment(cluster: Cluster) -> None:
    cluster.has("", release(1, a=1))
    result = cluster.call(values={"a": 1})
    assert (result["changed"], result["revision"], result["previous"]) == (True, 1, 0)
    assert result["workloads"] == [{"kind": "Deployment", "namespace": "cartesia", "name": "api"}]
    assert cluster.verbs == ["list", "upgrade --dry-run=server", "upgrade"]
    assert cluster.stdin == {"a": 1}


@pytest.mark.parametrize("check", [True, False])
def test_only_check_mode_looks_past_what_will_be_gone(cluster: Cluster, check: bool) -> None:
    cluster.has("", release(1, a=1))
    cluster.call(values={"a": 1}, replacing=True, check=check)
    taken = [verb for verb in cluster.verbs if "--take-ownership" in verb]
    assert taken == (["upgrade --dry-run=server --take-ownership"] if check else [])


def test_unchanged_makes_no_revision(cluster: Cluster) -> None:
    cluster.has(release(4, a=1), release(5, a=1))
    result = cluster.call(values={"a": 1})
    assert (result["changed"], result["revision"]) == (False, 4)
    assert result["diff"]["before"] == result["diff"]["after"]
    assert cluster.verbs == ["list", "status", "upgrade --dry-run=server"]


@pytest.mark.parametrize(
    "other", [release(5, replicas=2, a=1), release(5, a=2)], ids=["chart", "values"]
)
def test_change_is_seen_and_made(cluster: Cluster, other: str) -> None:
    cluster.has(release(4, a=1), other)
    predicted = cluster.call(values={"a": 1}, check=True)
    assert predicted["changed"]
    assert predicted["diff"]["before"] != predicted["diff"]["after"]
    assert cluster.verbs[-1] == "upgrade --dry-run=server"
    made = cluster.call(values={"a": 1})
    assert (made["revision"], made["previous"], made["diff"]) == (5, 4, predicted["diff"])
    assert cluster.verbs[-1] == "upgrade"


def test_failed_release_is_deployed_again(cluster: Cluster) -> None:
    cluster.has(release(4, status="failed", a=1), release(5, a=1))
    result = cluster.call(values={"a": 1})
    assert (result["changed"], result["previous"]) == (True, 0)


def test_secrets_are_in_no_difference(cluster: Cluster) -> None:
    values: dict[str, Any] = {"a": {"b": 1, "key": "sk_hidden"}}
    cluster.has("", release(1, **values))
    result = cluster.call(values={"a": {"b": 1}}, secret_values={"a": {"key": "sk_hidden"}})
    assert cluster.stdin == values
    actual = json.dumps(result)
    assert "sk_hidden" not in actual
    assert "c2VjcmV0" not in actual
    assert "b: 1" in result["diff"]["after"]


def test_values_are_on_no_command_line(cluster: Cluster, modules: Modules) -> None:
    cluster.has("", release(1))
    cluster.call(values={"secret": "sk_hidden"})
    assert "sk_hidden" not in "\n".join(modules.ran)


def test_helms_words_are_the_error(cluster: Cluster) -> None:
    cluster.refuses("Error: values don't meet the schema".replace("'", ""))
    result = cluster.call()
    assert result["failed"]
    assert result["msg"] == "release speech: values dont meet the schema"


def test_interrupted_release_is_reported(cluster: Cluster) -> None:
    cluster.has(release(4, status="pending-upgrade"), release(5))
    result = cluster.call()
    assert result["failed"]
    assert "revision 4 is pending-upgrade" in result["msg"]


def test_going_back_and_removing(cluster: Cluster) -> None:
    cluster.has(release(8), "")
    assert cluster.call(state="rolled_back", revision=7, chart=None)["changed"]
    assert "rollback 7" in cluster.verbs
    assert cluster.call(state="absent", check=True, chart=None)["changed"]
    assert "uninstall" not in cluster.verbs
    assert cluster.call(state="absent", chart=None)["changed"]
    assert cluster.verbs[-1] == "uninstall"
    cluster.has("", "")
    assert not cluster.call(state="absent", chart=None)["changed"]


def test_check_mode_before_anything_is_there(cluster: Cluster) -> None:
    result = cluster.call(check=True, chart="/nowhere/chart")
    assert result["changed"]
    assert "/nowhere/chart" in result["msg"]
