# SPDX-License-Identifier: Apache-2.0
"""The objects of the role ingress: its own controller, another one, limits, the virtual address."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import yaml

from tests.playbooks import ROOT, offline
from tests.unit.plugins.plugin_utils.authority import Authority
from tests.unit.rendering import templated

ROLE = ROOT / "roles/ingress"
HOSTS = ["speech.example.com", "voice.example.com", "other.example.com"]


AUTHORITY = Authority()
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "limits": {
        "ingress_client_connections": 20,
        "ingress_client_requests": 50,
        "ingress_client_failures": 7,
        "ingress_unlimited_clients": ["192.0.2.7", "198.51.100.0/24"],
        "ingress_hosts": ["Speech.Example.com.", "voice.example.com", "other.example.com"],
        "ingress_max_body_mib": 3,
        "ingress_drain_timeout": 90,
        "ingress_virtual_ip": "192.0.2.10",
    },
    "off": {
        "ingress_access_log": False,
        "ingress_max_body_mib": 0,
        "ingress_client_connections": 0,
        "ingress_client_requests": 0,
        "ingress_client_failures": 0,
        "ingress_hsts": False,
    },
    "wildcard": {
        "ingress_hosts": ["*.Example.com"],
        "ingress_certificates": [AUTHORITY.server(["*.example.com"])],
    },
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
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    template = f"lookup('ansible.builtin.template', '{ROLE}/templates/ingress.yml.j2')"
    play = {
        "hosts": "cp1",
        "gather_facts": False,
        "vars_files": [
            str(ROOT / "roles/site/defaults/main.yml"),
            str(ROOT / "roles/site/vars/main.yml"),
            str(ROLE / "vars/main.yml"),
        ],
        "vars": {
            "ingress_hosts": HOSTS,
            "ingress_certificates": [AUTHORITY.server(HOSTS[:1]), AUTHORITY.server(HOSTS[1:])],
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
        ]
        + [
            {
                "ansible.builtin.copy": {
                    "content": "{{ [ingress_node_addresses, ingress_secret_data] | to_json }}",
                    "dest": str(folder / "applied.json"),
                    "mode": "0600",
                },
                "vars": {
                    "ingress_nodes": ["cp1", "gpu1", "gpu2"],
                    "ingress_root_certificates": [str(folder / "ca.pem")],
                },
            }
        ],
    }
    inventory = {
        "all": {
            "hosts": {"cp1": {"ansible_connection": "local", "ansible_host": "192.0.2.11"}},
            "children": {
                "control_plane": {"hosts": {"cp1": {}}},
                "ingress": {"hosts": {"cp1": {}}},
                "gpu_workers": {
                    "hosts": {
                        "gpu1": {"ansible_host": "gpu1.example", "kubeadm_node_ip": "192.0.2.21"},
                        "gpu2": {},
                    },
                },
            },
            "vars": {"ansible_python_interpreter": sys.executable},
        }
    }
    (folder / "ca.pem").write_text(AUTHORITY.certificate, encoding="utf-8")
    offline(folder, inventory, play, {})
    names = [*VARIANTS, "applied"]
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in names}


def named(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    """Return one object. Fails when there is none, or more than one."""
    [matching] = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    return matching


def test_certificates_have_their_secrets_before_the_route(rendered: dict[str, Objects]) -> None:
    kinds = [o["kind"] for o in rendered["another"]]
    assert kinds == ["Secret", "Secret", "Ingress"]
    for number in (1, 2):
        secret = named(rendered["another"], "Secret", f"ingress-certificate-{number}")
        assert secret["type"] == "kubernetes.io/tls"
        assert "data" not in secret, "the key is for secret_data only"


def test_what_is_applied_beside_the_objects(rendered: dict[str, Any]) -> None:
    addresses, secrets = rendered["applied"]
    assert addresses == ["192.0.2.11", "192.0.2.21", "gpu2"]
    assert list(secrets) == ["ingress-certificate-1", "ingress-certificate-2"]
    for entries in secrets.values():
        assert entries["tls.crt"].startswith("-----BEGIN CERTIFICATE-----\n")
        assert entries["tls.key"].startswith("-----BEGIN PRIVATE KEY-----\n")


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
        "haproxy-ingress.github.io/limit-whitelist": "192.0.2.7/32,198.51.100.0/24",
        "haproxy-ingress.github.io/proxy-body-size": "3m",
    }
    pod = named(objects, "DaemonSet", "haproxy-ingress")["spec"]["template"]["spec"]
    assert not pod.get("hostNetwork")
    assert pod["terminationGracePeriodSeconds"] > 90
    [container] = pod["containers"]
    assert "--haproxy-grace-period=90s" in container["args"]
    assert "--watch-namespace=cartesia" in container["args"]
    assert "--publish-address=192.0.2.10" in container["args"]
    # 8000 connections of 70 KiB, twice, and 384 MiB for all else.
    assert container["resources"]["limits"]["memory"] == "1478Mi"
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


def rules(objects: Objects) -> list[str]:
    """Return what HAProxy does first with each connection and request."""
    settings = named(objects, "ConfigMap", "haproxy-ingress")["data"]
    return str(settings["config-frontend-early"]).splitlines()


def test_clients_are_limited_by_default(rendered: dict[str, Objects]) -> None:
    settings = named(rendered["defaults"], "ConfigMap", "haproxy-ingress")["data"]
    assert settings["timeout-client"] == "30s"
    assert settings["timeout-http-request"] == "10s"
    assert settings["timeout-server"] == "600s"
    assert settings["timeout-tunnel"] == "3600s"
    assert settings["hsts"] == "true"
    route = named(rendered["defaults"], "Ingress", "cartesia-api")
    assert route["metadata"]["annotations"] == {
        "haproxy-ingress.github.io/limit-connections": "500",
        "haproxy-ingress.github.io/limit-rps": "200",
        "haproxy-ingress.github.io/proxy-body-size": "32m",
    }
    early = rules(rendered["defaults"])
    assert "tcp-request connection reject if { sc0_conn_cur gt 1000 }" in early
    [refused] = [line for line in early if "sc0_gpc0_rate" in line]
    assert " status 429 " in refused
    assert " hdr Retry-After 1 " in refused
    assert refused.endswith("if { sc0_gpc0_rate gt 30 }")
    assert json.loads(refused.split("'")[1])["error_code"] == "rate_limited"
    assert "http-response sc-inc-gpc0(0) if { status 401 403 }" in early


def test_some_clients_are_not_limited(rendered: dict[str, Objects]) -> None:
    early = rules(rendered["limits"])
    assert "acl unlimited-client src 192.0.2.7/32 198.51.100.0/24" in early
    limits = [line for line in early if "sc0_conn_cur" in line or "sc0_gpc0_rate" in line]
    assert [line.partition(" if ")[2] for line in limits] == [
        "!unlimited-client { sc0_conn_cur gt 40 }",
        "!unlimited-client { sc0_gpc0_rate gt 7 }",
    ]
    assert not [line for line in rules(rendered["off"]) if "gt " in line]


def test_redirect_and_log_have_no_query(rendered: dict[str, Objects]) -> None:
    [redirect] = [line for line in rules(rendered["defaults"]) if "redirect" in line]
    assert redirect.endswith(
        "]%[var(txn.log_path)] code 308 if !{ ssl_fc } { req.hdr(host) -m found }"
    )
    settings = named(rendered["defaults"], "ConfigMap", "haproxy-ingress")["data"]
    log = settings["http-log-format"]
    assert '"%[var(txn.log_path),json(utf8s)]"' in log
    # HAProxy's names for the request's line, its target, its query, and captured headers.
    for field in ("%r", "%HU", "%HP", "%HQ", "%hr", "%hs", "query", "url"):
        assert f"{field}" not in log.replace("%rt", ""), field


def test_wildcard_is_text_in_every_place(rendered: dict[str, Objects]) -> None:
    route = named(rendered["wildcard"], "Ingress", "cartesia-api")
    assert [rule["host"] for rule in route["spec"]["rules"]] == ["*.example.com"]
    assert route["spec"]["tls"][0]["hosts"] == ["*.example.com"]


def test_another_controller(rendered: dict[str, Objects]) -> None:
    route = named(rendered["another"], "Ingress", "cartesia-api")
    assert route["kind"] == "Ingress"
    assert route["spec"]["ingressClassName"] == "nginx"
    assert route["metadata"]["annotations"] == VARIANTS["another"]["ingress_annotations"]


def test_hosts_that_are_down_are_asked_for_no_certificate() -> None:
    text = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))["ingress_serving"]
    hosts = {"ingress_nodes": ["cp1", "gpu1", "gpu2", "gpu3"]}
    applied = {"passed_over": {"gpu1": "does not answer"}, "absent_nodes": ["gpu3"]}
    assert templated(text, hosts | {"ingress_applied": applied}) == ["cp1", "gpu2"]
    assert templated(text, hosts | {"ingress_applied": {}}) == hosts["ingress_nodes"]
