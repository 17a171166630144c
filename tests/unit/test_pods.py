# SPDX-License-Identifier: Apache-2.0
"""No pod of the collection can take all of its host: every role's templates, rendered at once."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.monitoring import INVENTORY, render
from tests.playbooks import ROOT, offline
from tests.unit import rendering
from tests.unit.plugins.plugin_utils.authority import Authority
from tests.unit.test_nats import SECRETS


def whole(path: Path) -> Path:
    """The template that includes this one, or itself."""
    for other in path.parent.glob("*.j2"):
        if re.search(rf"include ['\"]{path.name}", other.read_text(encoding="utf-8")):
            return other
    return path


# What has containers, whatever role it is of: a new one is here without being named.
TEMPLATES = sorted(
    {
        whole(path)
        for path in ROOT.glob("roles/*/templates/*.j2")
        # Patches of a release's own objects have parts of containers.
        if "containers:" in path.read_text(encoding="utf-8") and "patches" not in path.name
    }
)
NAMES = ["speech.example.com"]
WORKER = {
    "name": "tts-worker",
    "workerArgs": {"model": "sonic", "image": "worker:1", "capacity": 4},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {"artifact_sync_bucket": "voices"},
    "kept on a host": {
        "artifact_sync_volume": {"emptyDir": {"sizeLimit": "1Gi"}},
        "ingress_virtual_ip": "192.0.2.10",
        "license_proxy_persistence": {"enabled": True, "hostPath": "/srv/license"},
        "workers_cache_path": "/srv/models",
    },
}


def rendered(folder: Path, variables: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The objects of every template, by its path."""
    names = [str(path.relative_to(ROOT)) for path in TEMPLATES]
    # Templates that look others of their role up by name find them beside the play.
    (folder / "templates").mkdir(exist_ok=True)
    for path in ROOT.glob("roles/*/templates/*.c*f*.j2"):
        (folder / "templates" / path.name).symlink_to(path)
    files = sorted(
        path
        for pattern in ("defaults/main.yml", "vars/main.yml", "vars/main/*.yml")
        for path in ROOT.glob(f"roles/*/{pattern}")
    )
    given = {
        "ingress_certificates": [Authority().server(NAMES)],
        "ingress_hosts": NAMES,
        "license_proxy_api_key": "sk_test",
        "nats_secrets": SECRETS,
        "prometheus_ingress_names": NAMES,
        "stack_images": ["registry.example.com/worker:1"],
        "workers": [WORKER],
    }
    lookup = "lookup('ansible.builtin.template', '{}') | from_yaml_all | select | list"
    play = {
        "hosts": "control_plane",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [str(path) for path in files],
        "tasks": [
            {
                "ansible.builtin.copy": {
                    "content": {name: "{{ " + lookup.format(ROOT / name) + " }}" for name in names},
                    "dest": str(folder / "rendered.json"),
                    "mode": "0600",
                },
                "vars": {"ansible_python_interpreter": sys.executable},
            }
        ],
    }
    offline(folder, INVENTORY, play, given | variables)
    made: dict[str, list[dict[str, Any]]] = json.loads((folder / "rendered.json").read_text())
    return made


@pytest.fixture(scope="module", params=VARIANTS)
def objects(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, Any]]]:
    """What the roles apply, by template, on a site of one kind."""
    return rendered(tmp_path_factory.mktemp("pods"), VARIANTS[request.param])


def pods(objects: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each pod's spec, with the name of its workload."""
    for items in objects.values():
        for item in items:
            # kubeadm's objects, of which a role sets some fields, name no containers.
            if "containers" in item.get("spec", {}).get("template", {}).get("spec", {}):
                yield f"{item['kind']} {item['metadata']['name']}", item["spec"]["template"]["spec"]


def test_every_template_with_containers_makes_pods(
    objects: dict[str, list[dict[str, Any]]],
) -> None:
    empty = {name for name, items in objects.items() if not list(pods({name: items}))}
    assert empty == set()
    assert len(list(pods(objects))) > len(TEMPLATES), "some make two"


def test_every_container_has_requests_and_limits(objects: dict[str, list[dict[str, Any]]]) -> None:
    wanted = {
        ("requests", "cpu"), ("requests", "memory"), ("requests", "ephemeral-storage"),
        ("limits", "memory"), ("limits", "ephemeral-storage"),
    }  # fmt: skip
    missing = {
        f"{workload}, {container['name']}": sorted(lacks)
        for workload, pod in pods(objects)
        for container in [*pod.get("initContainers", []), *pod["containers"]]
        if (
            lacks := {
                (kind, name)
                for kind, name in wanted
                if not container.get("resources", {}).get(kind, {}).get(name)
            }
        )
    }
    assert missing == {}


def test_every_empty_folder_has_a_limit(objects: dict[str, list[dict[str, Any]]]) -> None:
    unlimited = [
        f"{workload}, {volume['name']}"
        for workload, pod in pods(objects)
        for volume in pod.get("volumes", [])
        if "emptyDir" in volume and not volume["emptyDir"].get("sizeLimit")
    ]
    assert unlimited == []


def test_prometheus_has_limits_too(tmp_path: Path) -> None:
    """The operator makes its pods, and limits what it puts beside Prometheus itself."""
    [spec] = [item["spec"] for item in render(tmp_path)["objects"] if item["kind"] == "Prometheus"]
    assert spec["resources"]["limits"]["memory"]
    assert spec["storage"]["emptyDir"]["sizeLimit"]


@pytest.mark.parametrize(("hosts", "count"), [(["h1"], 1), (["h1", "h2"], 2), (list("abcde"), 2)])
def test_two_api_pods_where_there_are_two_hosts(hosts: list[str], count: int) -> None:
    made = rendering.render(
        "api", "api.yml.j2", site_nodes=hosts, site_versions={"sonic_reference": "1"}
    )
    [deployment] = [item["spec"] for item in made if item["kind"] == "Deployment"]
    assert deployment["replicas"] == count
    [budget] = [item["spec"] for item in made if item["kind"] == "PodDisruptionBudget"]
    # One of one may be moved, one of two has to stay.
    assert budget["maxUnavailable"] == 1


def test_pods_that_stand_in_for_each_other_are_on_different_hosts(
    objects: dict[str, list[dict[str, Any]]],
) -> None:
    actual = dict(pods(objects))
    for name in ("Deployment cartesia-api", "Deployment egress-gateway"):
        [spread] = actual[name]["topologySpreadConstraints"]
        assert spread["whenUnsatisfiable"] == "DoNotSchedule"
        # Otherwise a host that is down or cordoned would keep the second pod waiting.
        assert spread["nodeTaintsPolicy"] == "Honor"
        assert (spread["topologyKey"], spread["maxSkew"]) == ("kubernetes.io/hostname", 1)


def test_a_host_that_is_gone_is_not_waited_for(objects: dict[str, list[dict[str, Any]]]) -> None:
    actual = dict(pods(objects))
    for name in ("cartesia-api", "egress-gateway", "artifact-sync"):
        waits = {
            item["key"]: item["tolerationSeconds"]
            for item in actual[f"Deployment {name}"]["tolerations"]
            if item["effect"] == "NoExecute"
        }
        assert waits == {
            "node.kubernetes.io/unreachable": 30, "node.kubernetes.io/not-ready": 30
        }, name  # fmt: skip
