# SPDX-License-Identifier: Apache-2.0
"""The module k8s_applyset: values of Secrets reach the API only."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.modules import k8s_applyset

from tests.unit.plugins.modules.running import Modules

KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----\n"
ENCODED = base64.b64encode(KEY.encode()).decode()
PATH = "/api/v1/namespaces/stack/secrets"


class Api:
    """An API server that knows Secrets."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.refuses = False

    def get(self, path: str, **query: str) -> dict[str, Any]:
        if path == "/api/v1":
            return {"resources": [{"kind": "Secret", "name": "secrets", "namespaced": True}]}
        if path == "/api/v1/secrets":
            return {
                "items": [item for item in self.objects.values() if "labels" in item["metadata"]]
            }
        if path not in self.objects:
            raise KubeError("not found", 404)
        return self.objects[path]

    def apply(self, path: str, body: dict[str, Any], *_more: Any, **_modes: Any) -> dict[str, Any]:
        if self.refuses:
            raise KubeError(f"not this: {body}", 422)
        # An apply does not set the status.
        kept = {k: v for k, v in self.objects.get(path, {}).items() if k == "status"}
        self.objects[path] = {**body, **kept}
        return self.objects[path]

    def delete(self, path: str) -> None:
        del self.objects[path]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    made = Api()
    monkeypatch.setattr(k8s_applyset, "client_of", lambda *_args, **_more: made)
    return made


def secret(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "stack"},
        "type": "Opaque",
    }


def call(
    modules: Modules, *names: str, data: dict[str, dict[str, str]], **options: Any
) -> dict[str, Any]:
    """Apply Secrets of these names, with differences shown."""
    return modules.call(
        k8s_applyset.main,
        diff=True,
        kubeconfig="/nowhere",
        name="mine",
        field_manager="me",
        definitions=[secret(name) for name in names],
        secret_data=data,
        **options,
    )


def test_entries_are_filled_in_and_never_shown(modules: Modules, api: Api) -> None:
    result = call(modules, "door", "other", data={"door": {"key": KEY}})
    assert result["objects"] == ["Secret door", "Secret other"]
    assert api.objects[f"{PATH}/door"]["data"] == {"key": ENCODED}
    assert "data" not in api.objects[f"{PATH}/other"]
    assert result["diff"][0]["after"]["data"] == {"key": "(not shown)"}
    assert "MIGHAgEA" not in modules.printed
    assert ENCODED not in modules.printed
    assert not call(modules, "door", "other", data={"door": {"key": KEY}})["changed"]
    assert call(modules, "door", data={"door": {"key": "new"}})["objects"] == [
        "Secret door",
        "Secret other",
    ]


def test_refusal_does_not_tell_them(modules: Modules, api: Api) -> None:
    api.refuses = True
    result = call(modules, "door", data={"door": {"key": KEY}})
    assert "Secret door: not this" in result["msg"]
    assert ENCODED not in modules.printed


def test_entries_without_their_secret_are_refused(modules: Modules, api: Api) -> None:
    result = call(modules, "door", data={"window": {"key": KEY}})
    assert result["msg"] == "secret_data: no Secret window is among the objects"
    assert api.objects == {}


def test_prune_is_the_default_and_can_be_left_out(modules: Modules, api: Api) -> None:
    call(modules, "door", "other", data={})
    assert call(modules, "door", data={}, prune=False)["objects"] == []
    assert set(api.objects) == {f"{PATH}/door", f"{PATH}/other"}
    assert call(modules, "door", data={})["objects"] == ["Secret other"]


def test_statuses_of_what_was_applied_are_returned(modules: Modules, api: Api) -> None:
    assert call(modules, "door", data={})["statuses"] == []
    api.objects[f"{PATH}/door"]["status"] = {"open": True}
    # In check mode, too.
    result = modules.call(
        k8s_applyset.main,
        check=True,
        kubeconfig="/nowhere",
        name="mine",
        field_manager="me",
        definitions=[secret("door")],
    )
    [actual] = result["statuses"]
    assert actual == {
        "kind": "Secret",
        "namespace": "stack",
        "name": "door",
        "status": {"open": True},
    }


def test_kubeconfig_has_to_come_from_somewhere(modules: Modules) -> None:
    result = modules.call(k8s_applyset.main, name="mine", field_manager="me", definitions=[])
    assert result["failed"]
    assert "by module_defaults of group/baremetal.sonic.cluster" in result["msg"]
