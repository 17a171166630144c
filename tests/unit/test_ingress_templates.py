# SPDX-License-Identifier: Apache-2.0
"""What the role ingress would apply: its own controller, another's, limits, the virtual address."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import yaml

from tests.playbooks import ROOT, offline
from tests.unit.plugins.plugin_utils.authority import Authority

ROLE = ROOT / "roles/ingress"
HOSTS = ["speech.example.com", "voice.example.com", "other.example.com"]


VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "limits": {
        "ingress_client_connections": 20,
        "ingress_client_requests": 50,
        "ingress_max_body_mib": 3,
        "ingress_drain_timeout": 90,
        "ingress_virtual_ip": "192.0.2.10",
    },
    "off": {"ingress_access_log": False, "ingress_max_body_mib": 0},
    "another": {
        "ingress_install": False,
        "ingress_class": "nginx",
        "ingress_virtual_ip": "192.0.2.10",
        "ingress_annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "3600"},
    },
}

Objects = list[dict[str, Any]]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Objects]:
    """The objects that the role's template makes, by the name of the variant."""
    folder = tmp_path_factory.mktemp("rendered")
    authority = Authority()
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    template = f"lookup('ansible.builtin.template', '{ROLE}/templates/ingress.yml.j2')"
    play = {
        "hosts": "cp1",
        "gather_facts": False,
        "vars_files": [str(ROOT / f"roles/site/{part}/main.yml") for part in ("defaults", "vars")],
        "vars": {
            "ingress_hosts": HOSTS,
            "ingress_certificates": [authority.server(HOSTS[:1]), authority.server(HOSTS[1:])],
        }
        | defaults,
        "tasks": [
            {
                "ansible.builtin.copy": {
                    "content": "{{ " + template + " | from_yaml_all | list | to_json }}",
                    "dest": str(folder / f"{name}.json"),
                    "mode": "0600",
                },
                "vars": variables,
            }
            for name, variables in VARIANTS.items()
        ],
    }
    inventory = {
        "all": {
            "hosts": {"cp1": {"ansible_connection": "local", "ansible_host": "192.0.2.11"}},
            "children": {
                "control_plane": {"hosts": {"cp1": {}}},
                "ingress": {"hosts": {"cp1": {}}},
                "gpu_workers": {"hosts": {"gpu1": {"ansible_host": "192.0.2.21"}}},
            },
            "vars": {"ansible_python_interpreter": sys.executable},
        }
    }
    offline(folder, inventory, play, {})
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in VARIANTS}


def named(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    """Return one object. Fails when there is none, or more than one."""
    [found] = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


def test_certificates_have_their_secrets_before_the_route(rendered: dict[str, Objects]) -> None:
    kinds = [o["kind"] for o in rendered["another"]]
    assert kinds == ["Namespace", "Secret", "Secret", "Ingress"]
    for number in (1, 2):
        secret = named(rendered["another"], "Secret", f"ingress-certificate-{number}")
        assert secret["type"] == "kubernetes.io/tls"
        assert "data" not in secret, "the key is for secret_data only"


def test_own_controller(rendered: dict[str, Objects]) -> None:
    objects = rendered["limits"]
    route = named(objects, "Ingress", "cartesia-api")
    assert [rule["host"] for rule in route["spec"]["rules"]] == HOSTS
    assert route["spec"]["tls"] == [
        {"hosts": HOSTS[:1], "secretName": "ingress-certificate-1"},
        {"hosts": HOSTS[1:], "secretName": "ingress-certificate-2"},
    ]
    assert route["metadata"]["annotations"] == {
        "haproxy-ingress.github.io/limit-connections": "20",
        "haproxy-ingress.github.io/limit-rps": "50",
        "haproxy-ingress.github.io/proxy-body-size": "3m",
    }
    pod = named(objects, "DaemonSet", "haproxy-ingress")["spec"]["template"]["spec"]
    assert not pod.get("hostNetwork")
    assert pod["terminationGracePeriodSeconds"] > 90
    [container] = pod["containers"]
    assert "--haproxy-grace-period=90s" in container["args"]
    assert "--watch-namespace=cartesia" in container["args"]
    assert "--publish-address=192.0.2.10" in container["args"]
    vip = named(objects, "DaemonSet", "kube-vip")["spec"]["template"]["spec"]["containers"][0]
    settings = {item["name"]: item.get("value") for item in vip["env"]}
    assert settings["address"] == "192.0.2.10"
    assert settings["prometheus_server"].startswith("127.0.0.1:")
    # It keeps the address for as long as the host's live connections may take to end.
    probe = vip["livenessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > 90


def test_host_that_serves_no_longer_loses_its_label(rendered: dict[str, Objects]) -> None:
    labels = [named(rendered["defaults"], "Node", n)["metadata"]["labels"] for n in ("cp1", "gpu1")]
    assert labels == [{"baremetal.sonic/ingress": "true"}, {}]


def test_secrets_are_read_in_one_namespace_only(rendered: dict[str, Objects]) -> None:
    for item in rendered["defaults"]:
        if item["kind"] == "ClusterRole":
            resources = {name for rule in item["rules"] for name in rule["resources"]}
            assert resources == {"ingressclasses"}
        if item["kind"] == "Role" and item["metadata"]["namespace"] != "cartesia":
            assert not any("secrets" in rule["resources"] for rule in item["rules"])


def test_log_and_limits_can_be_off(rendered: dict[str, Objects]) -> None:
    objects = rendered["off"]
    settings = named(objects, "ConfigMap", "haproxy-ingress")["data"]
    assert "syslog-endpoint" not in settings
    assert "411" not in settings["config-frontend-early"]
    assert named(objects, "Ingress", "cartesia-api")["metadata"]["annotations"] == {}
    assert not [item for item in objects if item["metadata"]["name"] == "kube-vip"]


def test_another_controller(rendered: dict[str, Objects]) -> None:
    route = named(rendered["another"], "Ingress", "cartesia-api")
    assert route["kind"] == "Ingress"
    assert route["spec"]["ingressClassName"] == "nginx"
    assert route["metadata"]["annotations"] == VARIANTS["another"]["ingress_annotations"]
