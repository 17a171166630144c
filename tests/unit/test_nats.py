# SPDX-License-Identifier: Apache-2.0
"""The objects of the role nats: servers, routes and users."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import nats_secrets

from lab.bus import configuration
from tests.unit.rendering import applied, render

SECRETS: dict[str, Any] = {
    "users": {name: f"a-password-of-{name}-" for name in ("api", "stt", "tts")},
    "offerings": "0f" * 32,
    "certificate": "CERTIFICATE",
    "key": "PRIVATE-KEY",
    "ca": "AUTHORITY",
    "authority": {"tls.crt": "AUTHORITY", "tls.key": "PRIVATE-TOO"},
}
VERSIONS = {"site_versions": {"nats": "2.15.2"}}


def made(**variables: Any) -> dict[str, dict[str, Any]]:
    """The objects by kind; there are two Services."""
    actual = render("nats", "nats.yml.j2", **VERSIONS | {"nats_secrets": SECRETS} | variables)
    named = {"ConfigMap": "nats"}
    return {
        item["kind"]: item
        for item in actual
        if item["metadata"]["name"] == named.get(item["kind"], item["metadata"]["name"])
    }


def test_one_server_has_no_routes() -> None:
    objects = made(nats_replicas=1)
    assert objects["StatefulSet"]["spec"]["replicas"] == 1
    assert "cluster" not in objects["ConfigMap"]["data"]["nats.conf"]


def test_three_servers_know_each_other() -> None:
    objects = made(nats_replicas=3)
    config = objects["ConfigMap"]["data"]["nats.conf"]
    for number in range(3):
        assert f"nats://nats-{number}.nats-headless:6222" in config
    assert objects["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert objects["StatefulSet"]["spec"]["serviceName"] == "nats-headless"


@pytest.mark.parametrize(("hosts", "servers"), [(1, 1), (2, 1), (3, 3), (9, 3)])
def test_servers_follow_the_hosts(hosts: int, servers: int) -> None:
    names = [f"h{number}" for number in range(hosts)]
    objects = made(
        groups={"control_plane": names[:1], "gpu_workers": names},
        hostvars={name: {"site_name": "rack1"} for name in names},
    )
    assert objects["StatefulSet"]["spec"]["replicas"] == servers


def test_the_lab_s_processes_have_this_configuration() -> None:
    for access in ("strict", "users", "open"):
        objects = made(nats_replicas=1, nats_access=access)
        assert objects["ConfigMap"]["data"]["nats.conf"] == configuration(access)


LISTED: list[dict[str, Any]] = [
    {
        "name": f"{operation.lower()}-worker",
        "workerArgs": {"model": "m", "image": "x/w:1", "capacity": 1, "operation": operation},
    }
    for operation in ("TTS", "STT")
]


def workers(**variables: Any) -> list[Any]:
    """The objects of two workers, one for each operation."""
    results = render("workers", "workers.yml.j2", workers=LISTED, **variables)
    return [item for item in results if item["kind"] == "Deployment"]


def container(deployment: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What a pod's environment has, and the names in their order."""
    [actual] = deployment["spec"]["template"]["spec"]["containers"]
    env = {
        item["name"]: item.get("value") or item["valueFrom"].get("secretKeyRef")
        for item in actual["env"]
    }
    return env, list(env)


def connecting(**variables: Any) -> list[dict[str, Any]]:
    """The API's Deployment and the workers' with what the playbook gives them."""
    users, ca, key = SECRETS["users"], SECRETS["ca"], SECRETS["offerings"]
    api = {"api_nats_password": users["api"], "api_nats_ca": ca, "api_nats_offerings": key}
    versions = {"site_versions": {"sonic_reference": "1"}}
    server = next(
        item
        for item in render("api", "api.yml.j2", workers=LISTED, **versions | api | variables)
        if item["kind"] == "Deployment"
    )
    worker = {"workers_nats_passwords": users, "workers_nats_ca": ca, "workers_nats_offerings": key}
    return [server, *workers(**worker | variables)]


def test_everybody_connects_as_its_own_user_by_tls() -> None:
    for user, deployment in zip(("api", "tts", "stt"), connecting(), strict=True):
        env, order = container(deployment)
        assert env["NATS_URL"] == f"tls://{user}:$(NATS_PASSWORD)@nats:4222"
        assert env["NATS_PASSWORD"] == {"name": "nats-users", "key": user}
        assert env["SSL_CERT_FILE"] == "/etc/nats-ca/ca.pem"
        # Kubernetes puts in what is named before.
        assert order.index("NATS_PASSWORD") < order.index("NATS_URL")


def test_workers_get_the_key_of_their_own_offering_only() -> None:
    api, *others = (container(item)[0] for item in connecting())
    assert api["SONIC_OFFERINGS_KEY"] == {"name": "nats-users", "key": "offerings"}
    listed = [
        {"name": name, "workerArgs": {"model": "m", "image": "x/w:1", "capacity": 1} | args}
        for name, args in (("a", {}), ("b", {"operation": "STT"}), ("c", {}))
    ]
    secrets = applied(
        "workers", "offerings.yml.j2", workers=listed, workers_nats_offerings="master"
    )
    keys = {item["metadata"]["name"]: item["data"]["key"] for item in secrets if item}
    assert [env["SONIC_OFFERING_KEY"]["name"] for env in others] == list(keys)
    for operation, encoded in zip(("tts", "stt"), keys.values(), strict=True):
        key = base64.b64decode(encoded).decode()
        assert key == nats_secrets.offering_key("master", operation, "m")
        assert "SONIC_OFFERINGS_KEY" not in others[0]


def test_passwords_are_in_no_manifest_but_the_secrets() -> None:
    objects = render("nats", "nats.yml.j2", **VERSIONS, nats_replicas=3, nats_secrets=SECRETS)
    text = json.dumps([objects, connecting()])
    assert not any(password in text for password in SECRETS["users"].values())
    assert not any(SECRETS[name] in text for name in ("key", "offerings"))
    results = applied("nats", "secrets.yml.j2", nats_secrets=SECRETS)
    secrets = {item["metadata"]["name"]: item["data"] for item in results}
    assert set(secrets) == {"nats-users", "nats-authority", "nats-tls"}
    assert set(secrets["nats-users"]) == {"api", "offerings", "stt", "tts"}
    assert base64.b64decode(secrets["nats-tls"]["tls.key"]).decode() == SECRETS["key"]


@pytest.mark.parametrize("changed", ["users", "certificate"])
def test_new_secrets_replace_the_pods_that_use_them(changed: str) -> None:
    new: dict[str, Any] = {"users": SECRETS["users"] | {"tts": "t" * 20}, "certificate": "RENEWED"}

    def config(secrets: dict[str, Any]) -> str:
        actual = render("nats", "nats.yml.j2", **VERSIONS, nats_replicas=1, nats_secrets=secrets)
        template = next(i for i in actual if i["kind"] == "StatefulSet")["spec"]["template"]
        return str(template["metadata"]["annotations"])

    assert config(SECRETS) == config(dict(SECRETS))
    assert config(SECRETS) != config(SECRETS | {changed: new[changed]})


def notes(deployments: list[dict[str, Any]]) -> list[str]:
    """The annotations by which pods are replaced."""
    return [str(one["spec"]["template"]["metadata"].get("annotations")) for one in deployments]


def test_a_new_password_replaces_the_pods_of_its_user_only() -> None:
    new = SECRETS["users"] | {"tts": "t" * 20}
    before, after = notes(connecting()), notes(connecting(workers_nats_passwords=new))
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
    other = notes(connecting(api_nats_ca="OTHER", workers_nats_ca="OTHER"))
    assert not set(before) & set(other)


def test_servers_join_each_other_by_tls_when_clients_do() -> None:
    def joined(**variables: Any) -> tuple[bool, str | None]:
        """Whether routes need certificates, and the pods' label by which others are replaced."""
        actual = render("nats", "nats.yml.j2", **VERSIONS | {"nats_secrets": SECRETS} | variables)
        named = {(item["kind"], item["metadata"]["name"]): item for item in actual}
        config = named["ConfigMap", "nats"]["data"]["nats.conf"].partition("cluster {")[2]
        template = named["StatefulSet", "nats"]["spec"]["template"]
        spec = template["spec"]
        mounts = {m["name"] for m in spec["containers"][0]["volumeMounts"]}
        assert mounts == {volume["name"] for volume in spec["volumes"]}
        verified = "verify: true" in config and "ca_file: /etc/nats-ca/ca.pem" in config
        return verified, template["metadata"]["labels"].get("baremetal.sonic/routes")

    assert joined(nats_replicas=3, nats_access="open") == (False, None)
    assert joined(nats_replicas=1) == (False, None)
    encrypted, label = joined(nats_replicas=3)
    assert encrypted
    assert joined(nats_replicas=3, nats_access="users") == (True, label)
    renewed = SECRETS | {"certificate": "RENEWED", "key": "NEW"}
    assert joined(nats_replicas=3, nats_secrets=renewed) == (True, label)
    assert joined(nats_replicas=3, nats_secrets=SECRETS | {"ca": "OTHER"})[1] != label


def test_open_asks_for_nothing() -> None:
    actual = render("nats", "nats.yml.j2", **VERSIONS, nats_replicas=3, nats_access="open")
    text = json.dumps(actual)
    assert "tls {" not in text
    assert "PASSWORD" not in text
    assert not [item for item in actual if item["metadata"]["name"] == "nats-ca"]
    for deployment in workers():
        env, _order = container(deployment)
        assert env["NATS_URL"] == "nats://nats:4222"
        assert "SSL_CERT_FILE" not in env
        assert "SONIC_OFFERING_KEY" not in env
