# SPDX-License-Identifier: Apache-2.0
"""The role kubeadm's configuration of kubeadm: encryption of Secrets and the audit log."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.unit.rendering import ROOT, render

LEADER: dict[str, Any] = {
    "inventory_hostname": "cp1",
    "kubeadm_node_ip": "192.0.2.11",
    "kubeadm_endpoint": "192.0.2.11:6443",
    "site_pod_cidr": "10.244.0.0/16",
    "site_service_cidr": "10.96.0.0/16",
}
FOLDER = "/etc/kubernetes/baremetal-sonic"
ENCRYPTION = {
    "encryption-provider-config": f"{FOLDER}/encryption.json",
    "encryption-provider-config-automatic-reload": "true",
}


def versions() -> dict[str, str]:
    text = (ROOT / "roles/site/defaults/main.yml").read_text(encoding="utf-8")
    actual: dict[str, str] = yaml.safe_load(text)["site_versions"]
    return actual


def api_server(**variables: Any) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """The API server's arguments, and its volumes by their folders."""
    [documents] = render("kubeadm", "init.yml.j2", **LEADER, site_versions=versions(), **variables)
    [cluster] = [item for item in documents if item["kind"] == "ClusterConfiguration"]
    part = cluster["apiServer"]
    volumes = {item["hostPath"]: item for item in part.get("extraVolumes", [])}
    return {item["name"]: item["value"] for item in part["extraArgs"]}, volumes


def policy() -> dict[str, Any]:
    [document] = render("kubeadm", "audit-policy.yml.j2")
    actual: dict[str, Any] = document
    return actual


def level(user: str, groups: list[str], verb: str, group: str, resource: str) -> str:
    """What the policy's first rule that fits says, as the API server finds it."""
    for rule in policy()["rules"]:
        if "nonResourceURLs" in rule:
            continue
        resources = rule.get("resources")
        fits = (
            (not rule.get("users") or user in rule["users"])
            and (not rule.get("userGroups") or set(groups) & set(rule["userGroups"]))
            and (not rule.get("verbs") or verb in rule["verbs"])
            and (
                not resources
                or any(
                    item["group"] == group
                    and (not item.get("resources") or resource in item["resources"])
                    for item in resources
                )
            )
        )
        if fits:
            actual: str = rule["level"]
            return actual
    return "None"


def test_secrets_are_encrypted_and_requests_noted_by_default() -> None:
    arguments, volumes = api_server()
    assert arguments.items() >= ENCRYPTION.items()
    log = "/var/log/kubernetes/audit"
    assert arguments["audit-log-path"] == f"{log}/audit.log"
    limits = ("maxage", "maxbackup", "maxsize")
    assert [arguments[f"audit-log-{name}"] for name in limits] == ["30", "10", "100"]
    assert arguments["audit-policy-file"].startswith(f"{FOLDER}/audit-policy-")
    assert volumes[FOLDER]["mountPath"] == FOLDER
    assert volumes[FOLDER]["readOnly"] is True
    assert volumes[log]["mountPath"] == log
    assert not volumes[log].get("readOnly")


def test_each_can_be_left_out() -> None:
    arguments, volumes = api_server(kubeadm_encryption=False)
    assert not ENCRYPTION.keys() & arguments.keys()
    assert FOLDER in volumes
    arguments, volumes = api_server(kubeadm_audit=False)
    assert not [name for name in arguments if name.startswith("audit")]
    assert list(volumes) == [FOLDER]
    arguments, volumes = api_server(kubeadm_audit=False, kubeadm_encryption=False)
    assert volumes == {}
    assert list(arguments) == [
        "default-not-ready-toleration-seconds",
        "default-unreachable-toleration-seconds",
    ]


def test_arguments_of_the_site_come_over_those_of_the_role() -> None:
    more = {"audit-log-maxage": 90, "profiling": False}
    arguments, _volumes = api_server(kubeadm_api_server_arguments=more)
    assert (arguments["audit-log-maxage"], arguments["profiling"]) == ("90", "False")


def test_no_join_token_is_named_in_the_template() -> None:
    """kubeadm_node does that; an empty list here would be a day's token."""
    [documents] = render("kubeadm", "init.yml.j2", **LEADER, site_versions=versions())
    assert not [item for item in documents if "bootstrapTokens" in item]


def test_no_body_is_ever_noted() -> None:
    assert {rule["level"] for rule in policy()["rules"]} == {"None", "Metadata"}


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        ("kubernetes-admin", ["system:masters"]),
        ("system:node:gpu1", ["system:nodes"]),
        ("system:kube-controller-manager", []),
        ("system:apiserver", ["system:masters"]),
        ("system:serviceaccount:keda:keda-operator", ["system:serviceaccounts"]),
    ],
)
@pytest.mark.parametrize("resource", ["secrets", "serviceaccounts/token"])
def test_requests_for_secrets_and_tokens_are_recorded(
    user: str, groups: list[str], resource: str
) -> None:
    for verb in ("get", "list", "watch", "create", "delete"):
        assert level(user, groups, verb, "", resource) == "Metadata"


def test_every_change_is_noted_but_leases_and_events() -> None:
    for user, groups in (("system:kube-scheduler", []), ("system:node:gpu1", ["system:nodes"])):
        for verb in ("create", "update", "patch", "delete"):
            assert level(user, groups, verb, "", "pods") == "Metadata"
            assert level(user, groups, verb, "rbac.authorization.k8s.io", "roles") == "Metadata"
        assert level(user, groups, "update", "coordination.k8s.io", "leases") == "None"
        assert level(user, groups, "delete", "coordination.k8s.io", "leases") == "Metadata"
        assert level(user, groups, "create", "", "events") == "None"
    assert level("kubernetes-admin", ["system:masters"], "get", "", "pods") == "Metadata"
    assert level("kubernetes-admin", ["system:masters"], "create", "", "pods/exec") == "Metadata"


def test_a_joins_token_is_removed_whatever_became_of_the_join() -> None:
    path = ROOT / "roles/kubeadm/tasks/join.yml"
    made, joined = yaml.safe_load(path.read_text(encoding="utf-8"))
    module = "baremetal.sonic.kubeadm_node"
    assert made[module] == {"state": "token"}
    assert [task[module]["state"] for task in joined["block"]] == ["joined"]
    [removed] = joined["always"]
    assert removed[module] == {"state": "revoked", "secret": "{{ kubeadm_token.secret }}"}
    assert removed["delegate_to"] == made["delegate_to"] == "{{ site_leader }}"
