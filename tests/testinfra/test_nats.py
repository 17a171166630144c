# SPDX-License-Identifier: Apache-2.0
"""Three NATS servers: any one may be killed, and a stranger gets in nowhere."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from kubernetes import client, stream

from lab.waiting import wait_while
from plugins.module_utils.speech import SpeechError
from tests.playbooks import on_lab, refused_on_lab
from tests.testinfra.speaking import speech
from tests.unit.plugins.plugin_utils.authority import Authority

pytestmark = pytest.mark.soak
STACK = "cartesia"
NATS = "app.kubernetes.io/component=nats"
NAMES = {"nats-0", "nats-1", "nats-2"}
# Speaks NATS from inside a pod: says who it is, and prints what the server answers to PING.
KNOCK = """
import socket, sys
with socket.create_connection(("nats", 4222), 5) as s:
    s.settimeout(5)
    s.recv(4096)
    s.sendall(b'CONNECT {"verbose":false%s}\\r\\nPING\\r\\n')
    print(s.recv(100).decode())
"""


def servers(core: client.CoreV1Api) -> dict[str, Any]:
    """The ready servers by name."""
    found = core.list_namespaced_pod(STACK, label_selector=NATS).items
    return {
        pod.metadata.name: pod
        for pod in found
        if any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or [])
    }


def test_servers_are_on_three_hosts(core: client.CoreV1Api, info: dict[str, Any]) -> None:
    assert {pod.spec.node_name for pod in servers(core).values()} == set(info["hosts"])


def mute(info: dict[str, Any]) -> str:
    """Say why the site does not speak."""
    try:
        return "" if speech(info, "Still here.").duration_s > 0.3 else "too short"
    except SpeechError as error:
        return str(error)


@pytest.mark.parametrize("number", range(3))
def test_any_server_may_be_killed(
    core: client.CoreV1Api,
    info: dict[str, Any],
    number: int,
    record_property: Callable[[str, object], None],
) -> None:
    name = f"nats-{number}"
    killed = servers(core)[name].metadata.uid
    core.delete_namespaced_pod(name, STACK, grace_period_seconds=0)
    record_property("speaks_again_s", wait_while(lambda: mute(info), 20))

    def missing() -> str:
        there = servers(core)
        new = name in there and there[name].metadata.uid != killed
        return "" if new and len(there) == 3 else f"servers: {sorted(there)}"

    record_property("three_again_s", wait_while(missing, 60))
    assert mute(info) == ""


# As long as the probes of one that they take for dead need to end it, and a little more.
PROBED_S = 80


def test_the_last_server_carries_speech(
    core: client.CoreV1Api, apps: client.AppsV1Api, info: dict[str, Any]
) -> None:
    """Jobs need no majority of the servers; only the store of dictionaries does."""

    def others() -> str:
        found = core.list_namespaced_pod(STACK, label_selector=NATS).items
        return ", ".join(pod.metadata.name for pod in found if pod.metadata.name != "nats-0")

    def scale(count: int) -> None:
        apps.patch_namespaced_stateful_set_scale("nats", STACK, {"spec": {"replicas": count}})

    before = servers(core)["nats-0"]
    scale(1)
    try:
        wait_while(others, 60)
        wait_while(lambda: mute(info), 20)
        limit = time.monotonic() + PROBED_S
        while time.monotonic() < limit:
            assert mute(info) == ""
            time.sleep(5)
        last = servers(core)["nats-0"]
        restarts = [pod.status.container_statuses[0].restart_count for pod in (before, last)]
        assert restarts[0] == restarts[1]
    finally:
        scale(3)
    wait_while(lambda: "" if len(servers(core)) == 3 else f"servers: {sorted(servers(core))}", 60)


def monitored(core: client.CoreV1Api, name: str, page: str) -> dict[str, Any]:
    """What a server's monitoring port tells; through the kubelet, since policies let few in."""
    forward = stream.portforward(
        core.connect_get_namespaced_pod_portforward, name, STACK, ports="8222"
    )
    with closing(forward.socket(8222)) as connection:
        connection.settimeout(10)
        connection.sendall(f"GET /{page} HTTP/1.0\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def joined(core: client.CoreV1Api, name: str) -> tuple[set[str], bool]:
    """The other servers that a server is joined to, and whether that needs certificates."""
    cluster = monitored(core, name, "varz")["cluster"]
    needed = bool(cluster.get("tls_required") and cluster.get("tls_verify"))
    routes = monitored(core, name, "routez")["routes"]
    return {route["remote_name"] for route in routes}, needed


def knock(core: client.CoreV1Api, who: str) -> str:
    """What a server answers to somebody in the API's pod, who passes the network policies."""
    found = core.list_namespaced_pod(STACK, label_selector="app.kubernetes.io/component=api").items
    pod = next(pod for pod in found if not pod.metadata.deletion_timestamp)
    return str(
        stream.stream(
            core.connect_get_namespaced_pod_exec, pod.metadata.name, STACK,
            command=["python3", "-c", KNOCK % who],
            stdout=True, stderr=True, stdin=False, tty=False,
        )
    )  # fmt: skip


@contextmanager
def guarded(**variables: Any) -> Iterator[None]:
    """The lab with these variables of the role nats; without them again at the end."""
    try:
        on_lab("stack.yml", **variables)
        yield
    finally:
        on_lab("stack.yml")


def test_nobody_connects_without_password_and_tls(
    core: client.CoreV1Api, info: dict[str, Any]
) -> None:
    users = {name: f"p{secrets.token_hex(12)}" for name in ("api", "worker")}
    authority = Authority()
    server = authority.server(["nats", "*.nats-headless"])
    right = f',"user":"api","pass":"{users["api"]}"'
    with guarded(nats_users=users):
        assert mute(info) == ""
        assert "Authorization Violation" in knock(core, "")
        assert "Authorization Violation" in knock(core, ',"user":"api","pass":"guessed"')
        assert "PONG" in knock(core, right)
        tls = {"nats_certificate": server["certificate"], "nats_key": server["key"]}
        tls["nats_ca"] = authority.certificate
        on_lab("stack.yml", nats_users=users, **tls)
        assert mute(info) == ""
        # What it answers in plain, before anything is encrypted.
        assert "PONG" not in knock(core, right)
        for name in NAMES:
            assert joined(core, name) == (NAMES - {name}, True)
        assert "changed=0" in on_lab("stack.yml", nats_users=users, **tls)
    assert mute(info) == ""
    for name in NAMES:
        assert joined(core, name) == (NAMES - {name}, False)


def test_certificate_of_other_names_is_refused(core: client.CoreV1Api) -> None:
    authority = Authority()
    server = authority.server(["nats"])
    tls = {"nats_certificate": server["certificate"], "nats_key": server["key"]}
    before = {name: pod.metadata.uid for name, pod in servers(core).items()}
    for playbook in ("site.yml", "stack.yml"):
        said = refused_on_lab(playbook, nats_ca=authority.certificate, **tls)
        assert "nats_certificate is for nats, not for nats-0.nats-headless" in said
        assert "changed=0" in said
    assert {name: pod.metadata.uid for name, pod in servers(core).items()} == before
