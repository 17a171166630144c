# SPDX-License-Identifier: Apache-2.0
"""What the role nats applies: servers, routes and users."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.rendering import render

USERS = {"api": "a-password-of-the-api", "worker": "a-password-of-workers"}


def made(**variables: Any) -> dict[str, dict[str, Any]]:
    """The objects by kind; there are two Services."""
    versions = {"site_versions": {"nats": "2.15.2"}}
    found = render("nats", "nats.yml.j2", **versions | variables)
    return {item["kind"]: item for item in found}


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


def test_passwords_are_in_no_manifest_but_the_secret() -> None:
    objects = made(nats_replicas=1, nats_users=USERS)
    assert "user: api, password: $PASSWORD_API" in objects["ConfigMap"]["data"]["nats.conf"]
    for role, template, user in (
        ("api", "api.yml.j2", "api"),
        ("workers", "workers.yml.j2", "worker"),
    ):
        worker = {"name": "w", "workerArgs": {"model": "m", "image": "x/w:1", "capacity": 1}}
        known = {"workers_list": [worker], f"{role}_nats_password": USERS[user]}
        deployment = next(
            item
            for item in render(role, template, site_versions={"sonic_reference": "1"}, **known)
            if item["kind"] == "Deployment"
        )
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        env = {item["name"]: item.get("value") for item in container["env"]}
        assert env["NATS_URL"] == f"nats://{user}:$(NATS_PASSWORD)@nats:4222"
        # Kubernetes puts in what is named before.
        assert list(env).index("NATS_PASSWORD") < list(env).index("NATS_URL")
        objects[role] = deployment
    text = json.dumps(objects)
    assert not any(password in text for password in USERS.values())


def test_servers_join_each_other_by_tls_when_clients_do() -> None:
    tls = {"nats_certificate": "CERTIFICATE", "nats_key": "KEY", "nats_ca": "AUTHORITY"}
    versions = {"site_versions": {"nats": "2.15.2"}}

    def joined(**variables: Any) -> tuple[bool, str | None]:
        """Whether routes need certificates, and the pods' label by which others are replaced."""
        found = render("nats", "nats.yml.j2", **versions, **variables)
        named = {(item["kind"], item["metadata"]["name"]): item for item in found}
        config = named["ConfigMap", "nats"]["data"]["nats.conf"].partition("cluster {")[2]
        template = named["StatefulSet", "nats"]["spec"]["template"]
        spec = template["spec"]
        mounts = {m["name"] for m in spec["containers"][0]["volumeMounts"]}
        assert mounts == {volume["name"] for volume in spec["volumes"]}
        verified = "verify: true" in config and "ca_file: /etc/nats-ca/ca.pem" in config
        return verified, template["metadata"]["labels"].get("baremetal.sonic/routes")

    assert joined(nats_replicas=3) == (False, None)
    assert joined(nats_replicas=1, **tls) == (False, None)
    encrypted, label = joined(nats_replicas=3, **tls)
    assert encrypted
    renewed = tls | {"nats_certificate": "RENEWED", "nats_key": "NEW"}
    assert joined(nats_replicas=3, **renewed) == (True, label)
    assert joined(nats_replicas=3, **tls | {"nats_ca": "OTHER"})[1] != label


def test_clients_trust_the_sites_authority() -> None:
    tls = {"nats_certificate": "CERTIFICATE", "nats_key": "KEY", "nats_ca": "AUTHORITY"}
    found = render("nats", "nats.yml.j2", site_versions={"nats": "2.15.2"}, nats_replicas=1, **tls)
    assert "KEY" not in json.dumps(found)
    maps = {item["metadata"]["name"]: item for item in found if item["kind"] == "ConfigMap"}
    assert "cert_file: /etc/nats-tls/tls.crt" in maps["nats"]["data"]["nats.conf"]
    assert maps["nats-ca"]["data"] == {"ca.pem": "AUTHORITY"}
    secrets = render("nats", "secrets.yml.j2", nats_users=USERS, **tls)
    assert [item["metadata"]["name"] for item in secrets if item] == ["nats-users", "nats-tls"]
    worker = {"name": "w", "workerArgs": {"model": "m", "image": "x/w:1", "capacity": 1}}
    made = render("workers", "workers.yml.j2", workers_list=[worker], workers_nats_ca="AUTHORITY")
    spec = made[-1]["spec"]["template"]["spec"]
    env = {item["name"]: item["value"] for item in spec["containers"][0]["env"]}
    assert env["NATS_URL"] == "tls://nats:4222"
    assert env["SSL_CERT_FILE"] == "/etc/nats-ca/ca.pem"
