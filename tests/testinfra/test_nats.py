# SPDX-License-Identifier: Apache-2.0
"""Three NATS servers: any one may be killed, and no pod without credentials can connect."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from kubernetes import client, stream

from lab.waiting import wait_while
from plugins.module_utils._speech.client import SpeechError
from tests.playbooks import on_lab, refused_on_lab
from tests.testinfra.speaking import speech
from tests.unit.plugins.plugin_utils.authority import Authority

pytestmark = pytest.mark.soak
STACK = "cartesia"
NATS = "app.kubernetes.io/component=nats"
NAMES = {"nats-0", "nats-1", "nats-2"}
# Speaks NATS from inside a pod: in plain or by TLS, as whom, what it sends, and prints the answer.
KNOCK = """
import json, socket, ssl, sys
guarded, who, lines = json.loads(sys.argv[1])
with socket.create_connection(("nats", 4222), 5) as s:
    s.settimeout(5)
    s.recv(4096)
    if guarded:
        trust = ssl.create_default_context(cafile="/etc/nats-ca/ca.pem")
        s = trust.wrap_socket(s, server_hostname="nats")
    hello = json.dumps({"verbose": False} | who)
    s.sendall("\\r\\n".join([f"CONNECT {hello}", *lines, "PING", ""]).encode())
    said = b""
    while b"PONG" not in said and (more := s.recv(4096)):
        said += more
    print(said.decode(errors="replace"))
"""


def servers(core: client.CoreV1Api) -> dict[str, Any]:
    """The ready servers by name."""
    pods = core.list_namespaced_pod(STACK, label_selector=NATS).items
    return {
        pod.metadata.name: pod
        for pod in pods
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
        pods = core.list_namespaced_pod(STACK, label_selector=NATS).items
        return ", ".join(pod.metadata.name for pod in pods if pod.metadata.name != "nats-0")

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
    content: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return content


def joined(core: client.CoreV1Api, name: str) -> tuple[set[str], bool]:
    """The other servers that a server is joined to, and whether that needs certificates."""
    cluster = monitored(core, name, "varz")["cluster"]
    needed = bool(cluster.get("tls_required") and cluster.get("tls_verify"))
    routes = monitored(core, name, "routez")["routes"]
    return {route["remote_name"] for route in routes}, needed


def knock(
    core: client.CoreV1Api,
    user: str = "",
    password: str = "",
    *lines: str,
    tls: bool = True,
    component: str = "api",
) -> str:
    """A server's answer to a client in a pod that passes the network policies."""
    who = {"user": user, "pass": password} if user else {}
    label = f"app.kubernetes.io/component={component}"
    pods = core.list_namespaced_pod(STACK, label_selector=label).items
    pod = next(pod for pod in pods if not pod.metadata.deletion_timestamp)
    return str(
        stream.stream(
            core.connect_get_namespaced_pod_exec, pod.metadata.name, STACK,
            command=["python3", "-c", KNOCK, json.dumps([tls, who, lines])],
            stdout=True, stderr=True, stdin=False, tty=False,
        )
    )  # fmt: skip


def passwords(core: client.CoreV1Api) -> dict[str, str]:
    """The users' passwords, as the cluster has them."""
    data = core.read_namespaced_secret("nats-users", STACK).data
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


@contextmanager
def guarded(**variables: Any) -> Iterator[None]:
    """The lab with these variables of the role nats; without them again at the end."""
    try:
        on_lab("stack.yml", **variables)
        yield
    finally:
        on_lab("stack.yml")


def test_connections_need_password_and_tls(core: client.CoreV1Api) -> None:
    right = passwords(core)["api"]
    assert "PONG" in knock(core, "api", right)
    assert "Authorization Violation" in knock(core)
    assert "Authorization Violation" in knock(core, "api", "guessed")
    assert "Authorization Violation" in knock(core, "tts", right)
    # What it answers in plain, before anything is encrypted.
    assert "PONG" not in knock(core, "api", right, tls=False)
    for name in NAMES:
        assert joined(core, name) == (NAMES - {name}, True)


@pytest.mark.parametrize("user", ["tts", "stt"])
def test_a_worker_hears_and_says_nothing_of_others(core: client.CoreV1Api, user: str) -> None:
    password = passwords(core)[user]
    other = {"tts": "stt", "stt": "tts"}[user]
    for subject in (
        ">", "sonic.v2.>", "sonic.v2.replies.>", "sonic.v2.workers.>", f"sonic.v2.jobs.{other}.>",
        f"sonic.v2.control.{other}.>", "_INBOX.>", "_INBOX_api.>", "$JS.API.>", "$SYS.>",
    ):  # fmt: skip
        answer = knock(core, user, password, f"SUB {subject} 1", component="worker")
        assert f'Permissions Violation for Subscription to "{subject}"' in answer
    for subject in (
        f"sonic.v2.jobs.{user}.m.w", f"sonic.v2.control.{user}.w.j.cancel", "sonic.v2.rollcall",
        f"sonic.v2.workers.{other}.w", "$JS.API.STREAM.NAMES", "$KV.sonic-v1-dictionaries.x",
    ):  # fmt: skip
        answer = knock(core, user, password, f"PUB {subject} 0", "", component="worker")
        assert f'Permissions Violation for Publish to "{subject}"' in answer


def test_a_second_run_keeps_all_secrets(core: client.CoreV1Api) -> None:
    def secrets_found() -> dict[str, Any]:
        names = ("nats-users", "nats-tls", "nats-authority")
        return {name: core.read_namespaced_secret(name, STACK).data for name in names}

    before = secrets_found()
    assert "changed=0" in on_lab("stack.yml")
    assert secrets_found() == before


def test_a_password_that_is_taken_away_is_made_again(
    core: client.CoreV1Api, info: dict[str, Any]
) -> None:
    before = passwords(core)
    core.patch_namespaced_secret("nats-users", STACK, {"data": {"tts": None}})
    on_lab("stack.yml")
    after = passwords(core)
    assert {name for name in after if after[name] != before[name]} == {"tts"}
    assert mute(info) == ""


def test_operators_own_passwords_and_certificate(
    core: client.CoreV1Api, info: dict[str, Any]
) -> None:
    made = passwords(core)
    authority = Authority()
    server = authority.server(["nats", "*.nats-headless"])
    own = {"nats_certificate": server["certificate"], "nats_key": server["key"]}
    own["nats_ca"] = authority.certificate
    users = {"api": f"p{secrets.token_hex(12)}"}
    with guarded(nats_users=users, **own):
        assert mute(info) == ""
        assert passwords(core) == made | users
        assert "PONG" in knock(core, "api", users["api"])
        for name in NAMES:
            assert joined(core, name) == (NAMES - {name}, True)
        assert "changed=0" in on_lab("stack.yml", nats_users=users, **own)
    assert mute(info) == ""


def test_open_and_back(core: client.CoreV1Api, info: dict[str, Any]) -> None:
    with guarded(nats_access="open"):
        assert mute(info) == ""
        assert "PONG" in knock(core, tls=False)
        for name in NAMES:
            assert joined(core, name) == (NAMES - {name}, False)
    assert mute(info) == ""
    assert "PONG" not in knock(core, tls=False)


def test_certificate_of_other_names_is_refused(core: client.CoreV1Api) -> None:
    authority = Authority()
    server = authority.server(["nats"])
    tls = {"nats_certificate": server["certificate"], "nats_key": server["key"]}
    before = {name: pod.metadata.uid for name, pod in servers(core).items()}
    for playbook in ("site.yml", "stack.yml"):
        output = refused_on_lab(playbook, nats_ca=authority.certificate, **tls)
        assert "nats_certificate is for nats, not for nats-0.nats-headless" in output
        assert "changed=0" in output
    assert {name: pod.metadata.uid for name, pod in servers(core).items()} == before
