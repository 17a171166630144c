# SPDX-License-Identifier: Apache-2.0
"""An object as an API server returns it, defaults and all, against what is applied."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.fields import is_applied

Object = dict[str, Any]

WANTED: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "api", "namespace": "stack", "labels": {"app": "api"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "api"}},
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "api",
                        "args": ["--port", "5000"],
                        "ports": [{"name": "http", "containerPort": 5000}],
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                        "resources": {"limits": {"memory": "64Mi"}},
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            }
        },
    },
}
CONTAINER_FIELDS: Object = {
    ".": {},
    "f:name": {},
    "f:args": {},
    "f:ports": {
        'k:{"containerPort":5000,"protocol":"TCP"}': {
            ".": {},
            "f:containerPort": {},
            "f:name": {},
        }
    },
    "f:env": {
        'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}},
        'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}},
    },
    "f:resources": {"f:limits": {"f:memory": {}}},
}
FIELDS: Object = {
    "f:metadata": {"f:labels": {"f:app": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:selector": {},
        "f:template": {
            "f:spec": {
                "f:containers": {'k:{"name":"api"}': CONTAINER_FIELDS},
                "f:volumes": {
                    'k:{"name":"tmp"}': {".": {}, "f:name": {}, "f:emptyDir": {}},
                },
            }
        },
    },
}


def entry(**changed: Any) -> Object:
    mine = {"manager": "me", "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": FIELDS}
    return copy.deepcopy(mine | changed)


@pytest.fixture
def there() -> Object:
    """What was applied, as it is there: with defaults, a status, and what others wrote."""
    item = copy.deepcopy(WANTED)
    item["metadata"] |= {
        "uid": "1",
        "annotations": {"deployment.kubernetes.io/revision": "1"},
        "managedFields": [
            entry(manager="controller", operation="Update", subresource="status", fieldsV1={}),
            entry(),
        ],
    }
    container = item["spec"]["template"]["spec"]["containers"][0]
    container["ports"][0]["protocol"] = "TCP"
    container["imagePullPolicy"] = "IfNotPresent"
    item["spec"]["progressDeadlineSeconds"] = 600
    item["status"] = {"replicas": 2}
    return item


def test_what_was_applied_is_applied(there: Object) -> None:
    assert is_applied(WANTED, there, "me")


def test_another_managers_fields_are_unknown(there: Object) -> None:
    assert not is_applied(WANTED, there, "another-manager")
    there["metadata"]["managedFields"] = [entry(operation="Update")]
    assert not is_applied(WANTED, there, "me")
    there["metadata"]["managedFields"] = [entry(apiVersion="apps/v1beta1")]
    assert not is_applied(WANTED, there, "me")
    del there["metadata"]["managedFields"]
    assert not is_applied(WANTED, there, "me")


def container(of: Object) -> Object:
    first: Object = of["spec"]["template"]["spec"]["containers"][0]
    return first


DRIFT: dict[str, Callable[[Object], Any]] = {
    "number": lambda there: there["spec"].update(replicas=3),
    "text": lambda there: container(there)["env"][1].update(value="3"),
    "quantity": lambda there: container(there)["resources"]["limits"].update(memory="128Mi"),
    "atomic list": lambda there: container(there)["args"].append("--debug"),
    "atomic map": lambda there: there["spec"]["selector"]["matchLabels"].update(more="1"),
    "label": lambda there: there["metadata"]["labels"].update(app="other"),
    "label gone": lambda there: there["metadata"]["labels"].clear(),
    "item gone": lambda there: container(there)["env"].pop(),
    "item of another": lambda there: container(there)["env"].append({"name": "C", "value": "3"}),
    "order": lambda there: container(there)["env"].reverse(),
    "section gone": lambda there: there["spec"].pop("template"),
    "yes for one": lambda there: there["spec"].update(replicas=True),
}


@pytest.mark.parametrize("change", DRIFT.values(), ids=DRIFT.keys())
def test_changed_objects_are_applied_again(there: Object, change: Any) -> None:
    change(there)
    assert not is_applied(WANTED, there, "me")


NEW: dict[str, Callable[[Object], Any]] = {
    "another value": lambda wanted: wanted["spec"].update(replicas=1),
    "another field": lambda wanted: wanted["spec"].update(paused=False),
    "default made explicit": lambda wanted: wanted["spec"].update(progressDeadlineSeconds=600),
    "field removed": lambda wanted: wanted["spec"].pop("replicas"),
    "label removed": lambda wanted: wanted["metadata"].pop("labels"),
    "another label": lambda wanted: wanted["metadata"]["labels"].update(more="1"),
    "item removed": lambda wanted: container(wanted)["env"].pop(),
    "another item": lambda wanted: container(wanted)["env"].append({"name": "C", "value": "3"}),
    "renamed item": lambda wanted: container(wanted)["env"][0].update(name="C"),
    "another argument": lambda wanted: container(wanted)["args"].append("--debug"),
    "null": lambda wanted: wanted["spec"].update(replicas=None),
}


@pytest.mark.parametrize("change", NEW.values(), ids=NEW.keys())
def test_what_is_wanted_now_is_applied(there: Object, change: Any) -> None:
    wanted = copy.deepcopy(WANTED)
    change(wanted)
    assert not is_applied(wanted, there, "me")


def test_field_that_another_took_over_is_taken_back(there: Object) -> None:
    mine = entry()
    del mine["fieldsV1"]["f:spec"]["f:replicas"]
    there["metadata"]["managedFields"] = [mine]
    assert not is_applied(WANTED, there, "me")


def test_lists_that_are_sets() -> None:
    wanted: Object = {
        "apiVersion": "v1",
        "kind": "Thing",
        "metadata": {"name": "a", "finalizers": ["x/one", "x/two"]},
    }
    there = copy.deepcopy(wanted)
    fields: Object = {"f:metadata": {"f:finalizers": {'v:"x/one"': {}, 'v:"x/two"': {}}}}
    there["metadata"]["managedFields"] = [entry(apiVersion="v1", fieldsV1=fields)]
    assert is_applied(wanted, there, "me")
    wanted["metadata"]["finalizers"] = ["x/one"]
    assert not is_applied(wanted, there, "me")
