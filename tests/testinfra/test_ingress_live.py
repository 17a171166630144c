# SPDX-License-Identifier: Apache-2.0
"""The ingress under load and change: WebSockets, limits, the log, client addresses, renewals.

An echo server stands behind the ingress, on host names of its own, so that nothing here depends on
what the speech API can do.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest
import urllib3
from cryptography import x509
from kubernetes import client
from kubernetes.stream import stream

from lab.echo import Echo, Socket, alive, deployed, open_many, reloads
from lab.waiting import wait

HOST = "echo.lab.test"
RATE = "rate.lab.test"
CONNECTIONS = "connections.lab.test"
SILENT = "silent.lab.test"
HSTS = "hsts.lab.test"
NAMES = [HOST, RATE, CONNECTIONS, SILENT, HSTS]


@pytest.fixture(scope="module")
def echo(api: client.ApiClient, info: dict[str, Any]) -> Iterator[Echo]:
    """The echo server and its routes; the ingress serves them when this returns."""
    with deployed(api, info["ingress_address"]) as echo_server:
        echo_server.certify(NAMES, 1)
        echo_server.expose(HOST)
        echo_server.expose(RATE, {"limit-rps": "5"})
        echo_server.expose(CONNECTIONS, {"limit-connections": "3"})
        echo_server.expose(SILENT, {"timeout-tunnel": "3s"})
        echo_server.expose(HSTS, {"hsts": "false"})
        wait(
            "the routes to the echo server",
            lambda: all(served(echo_server, name) for name in NAMES),
        )
        yield echo_server


@dataclass
class Quiet:
    """A WebSocket without messages while the tests run."""

    loop: asyncio.AbstractEventLoop
    socket: Socket
    since: float

    def echoes(self) -> bool:
        """Break the silence."""
        return self.loop.run_until_complete(self.socket.echo("there?"))


@pytest.fixture(scope="module")
def quiet(echo: Echo) -> Iterator[dict[str, Quiet]]:
    """One that may be silent for the session's timeout, and one that may for three seconds."""
    loop = asyncio.new_event_loop()
    opened = {}
    for host in (HOST, SILENT):
        one = loop.run_until_complete(Socket.open(echo.address, host, echo.context()))
        opened[host] = Quiet(loop, one, time.monotonic())
    yield opened
    for each in opened.values():
        each.socket.close()
    loop.close()


def served(echo: Echo, host: str) -> bool:
    """Tell whether the ingress answers for a host with the test's certificate."""
    try:
        return bool(ask(echo, host).status == 200)
    except (OSError, urllib3.exceptions.HTTPError):
        return False


def ask(
    echo: Echo,
    host: str = HOST,
    path: str = "/",
    headers: dict[str, str] | None = None,
    timeout: float = 30,
) -> urllib3.BaseHTTPResponse:
    """Ask the echo server through the ingress, on a connection of its own."""
    with urllib3.HTTPSConnectionPool(
        echo.address,
        443,
        ssl_context=echo.context(),
        server_hostname=host,
        assert_hostname=host,
        timeout=timeout,
        retries=False,
    ) as pool:
        return pool.request("GET", path, headers={"Host": host} | (headers or {}))


def serial(echo: Echo) -> int:
    """Return the number of the certificate that the ingress serves."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((echo.address, 443), 10) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as secure,
    ):
        return x509.load_der_x509_certificate(secure.getpeercert(True) or b"").serial_number


def controllers(core: client.CoreV1Api) -> list[Any]:
    """Return the controller's pods. Fails when there is none."""
    selector = "app.kubernetes.io/name=haproxy-ingress"
    pods: list[Any] = core.list_namespaced_pod("ingress", label_selector=selector).items
    assert pods
    return pods


def test_client_address_cannot_be_made_up(echo: Echo, quiet: dict[str, Quiet]) -> None:
    assert quiet
    forged = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Real-IP": "203.0.113.7",
        "Forwarded": "for=203.0.113.7",
        "X-Forwarded-Proto": "http",
    }
    arrived = ask(echo, headers=forged).json()["headers"]
    with socket.create_connection((echo.address, 443), 10) as mine:
        own = mine.getsockname()[0]
    received = {name.lower(): value for name, value in arrived}
    assert received["x-forwarded-for"] == own
    assert received["x-real-ip"] == own
    assert received["x-forwarded-proto"] == "https"
    assert "203.0.113.7" not in json.dumps(arrived)


def test_strict_transport_security_is_an_option(echo: Echo) -> None:
    assert "Strict-Transport-Security" not in ask(echo, HSTS).headers
    assert ask(echo).headers["Strict-Transport-Security"].startswith("max-age=15768000")


def test_requests_of_one_client_are_limited(echo: Echo) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _n: ask(echo, RATE), range(24)))
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert refused[0].json()["error_code"] == "rate_limited"
    assert refused[0].headers["Retry-After"] == "1"
    # HAProxy weighs in the second before this one, so two without a request are surely enough.
    time.sleep(2)
    assert ask(echo, RATE).status == 200


def test_connections_of_one_client_are_limited(echo: Echo) -> None:
    async def more_than_three() -> None:
        opened = [
            await Socket.open(echo.address, CONNECTIONS, echo.context()) for _each in range(3)
        ]
        try:
            with pytest.raises(ConnectionError, match="429"):
                await Socket.open(echo.address, CONNECTIONS, echo.context())
            assert await alive(opened, "still") == 3
        finally:
            for each in opened:
                each.close()

    asyncio.run(more_than_three())


def test_no_key_is_ever_logged(echo: Echo, core: client.CoreV1Api) -> None:
    key = f"sk_test_{secrets.token_hex(12)}"
    mark = f"/mark-{secrets.token_hex(6)}"
    ask(echo, path=mark, headers={"X-API-Key": key})
    ask(echo, path=mark, headers={"Authorization": f"Bearer {key}", "Cookie": f"key={key}"})
    ask(echo, path=f"{mark}?access_token={key}&api_key={key}")
    ask(echo, path=f"{mark}%3Faccess_token={key}")
    ask(echo, path=f"{mark};access_token={key}")
    ask(echo, host=HOST, path=mark, headers={"Host": "unknown.lab.test", "X-API-Key": key})
    with urllib3.HTTPConnectionPool(echo.address, 80, timeout=10, retries=False) as plain:
        redirected = plain.request(
            "GET", f"{mark}?access_token={key}", headers={"Host": HOST}, redirect=False
        )
        assert redirected.status == 308
        assert key not in redirected.headers["Location"]

    async def websockets() -> None:
        for path, headers in (
            (f"{mark}?access_token={key}&cartesia_version=2026-03-01", {}),
            (mark, {"X-API-Key": key, "Sec-WebSocket-Protocol": key}),
        ):
            one = await Socket.open(echo.address, HOST, echo.context(), path, headers)
            assert await one.echo(key)
            one.close()

    asyncio.run(websockets())
    with (
        socket.create_connection((echo.address, 443), 10) as raw,
        echo.context().wrap_socket(raw, server_hostname=HOST) as secure,
    ):
        secure.sendall(f"GET {mark} {key} HTTP/1.1\r\nX-API-Key {key}\r\n\r\n".encode())
        assert b" 400 " in secure.recv(64)

    def logs() -> str:
        return "".join(
            core.read_namespaced_pod_log(pod.metadata.name, "ingress", since_seconds=120)
            for pod in controllers(core)
        )

    def marked() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in logs().splitlines() if line.startswith("{")]
        return [line for line in lines if line["path"] == mark]

    wait("the log", lambda: len(marked()) >= 9, 20)
    assert key not in logs()
    lines = marked()
    assert {line["status"] for line in lines} >= {101, 200, 308, 404}
    with socket.create_connection((echo.address, 443), 10) as mine:
        assert {line["client"] for line in lines} == {mine.getsockname()[0]}


def test_metrics_are_for_the_monitoring_only(
    echo: Echo,
    core: client.CoreV1Api,
    info: dict[str, Any],
    machines: Callable[[str], Any],
) -> None:
    pod = controllers(core)[0]
    caller = next(name for name, host in info["hosts"].items() if "ingress" not in host["groups"])
    test = "timeout 3 bash -c '</dev/tcp/{0}/{1}'"
    for port, open_ in ((8443, True), (9101, False), (10254, False), (1936, False)):
        command = test.format(pod.status.pod_ip, port)
        assert machines(caller).run(command).succeeded == open_, port
    assert reached(core, "ingress-test", pod.status.pod_ip, 1) == [True, False, False]
    # Of that namespace, the egress policies let Prometheus only go there.
    labels = {"app.kubernetes.io/name": "prometheus"}
    assert reached(core, "monitoring", pod.status.pod_ip, 20, labels)[1:] == [True, True]


# A new pod's address takes kube-router a moment to learn.
CALL = """
import socket, sys, time
for port in (8443, 9101, 10254):
    limit = time.monotonic() + float(sys.argv[2])
    while True:
        try:
            socket.create_connection((sys.argv[1], port), 2).close()
            print("open")
            break
        except OSError:
            if time.monotonic() > limit:
                print("closed")
                break
            time.sleep(0.5)
"""


def reached(
    core: client.CoreV1Api,
    namespace: str,
    address: str,
    seconds: int,
    labels: dict[str, str] | None = None,
) -> list[bool]:
    """Say which of the ports 8443, 9101 and 10254 a pod of a namespace reaches within a time.

    The namespace is made for it where there is none.
    """
    image = core.read_namespaced_pod("server", "ingress-test").spec.containers[0].image
    made = namespace not in {item.metadata.name for item in core.list_namespace().items}
    if made:
        core.create_namespace({"metadata": {"name": namespace}})
    name = "ingress-test-caller"
    command = ["python3", "-c", CALL, address, str(seconds)]
    # As the stack's own namespace asks of every pod.
    container = {
        "name": "caller",
        "image": image,
        "command": command,
        # Never ready: no Service that its labels fit sends it anything.
        "readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 60},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    user = {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spec = {"containers": [container], "restartPolicy": "Never", "securityContext": user}
    try:
        metadata = {"name": name, "labels": labels or {}}
        core.create_namespaced_pod(namespace, {"metadata": metadata, "spec": spec})
        wait(
            f"the caller in {namespace}",
            lambda: core.read_namespaced_pod(name, namespace).status.phase == "Succeeded",
        )
        log = core.read_namespaced_pod_log(name, namespace).split()
        return [word == "open" for word in log]
    finally:
        core.delete_namespaced_pod(name, namespace, grace_period_seconds=0)
        if made:
            core.delete_namespace(namespace)


def test_expiry_of_each_certificate_is_a_metric(
    echo: Echo, core: client.CoreV1Api, info: dict[str, Any]
) -> None:
    asked = "printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' | socat -t 5 - TCP:127.0.0.1:10254"
    name = controllers(core)[0].metadata.name
    output: str = stream(
        core.connect_get_namespaced_pod_exec, name, "ingress", command=["sh", "-c", asked],
        stdout=True, stderr=False,
    )  # fmt: skip
    expiry = {
        line.split('domain="')[1].split('"')[0]: float(line.split()[-1])
        for line in output.splitlines()
        if line.startswith("haproxyingress_cert_expire_date_epoch{")
    }
    assert expiry.keys() >= {*info["ingress_hosts"], HOST}
    for host in info["ingress_hosts"]:
        assert 300 < (expiry[host] - time.time()) / 86400 < 366
    assert 6 < (expiry[HOST] - time.time()) / 86400 < 8


def test_response_may_be_late(echo: Echo) -> None:
    """The client has nothing to say meanwhile, and is not cut for that."""
    assert ask(echo, path="/?hold=40", timeout=60).status == 200


def test_renewed_certificate_cuts_no_connection(echo: Echo) -> None:
    async def renew() -> tuple[float, int]:
        sockets = await open_many(50, echo.address, HOST, echo.context())
        try:
            number = 1000 + serial(echo)
            echo.certify(NAMES, number)
            seconds = await asyncio.to_thread(
                wait, "the renewed certificate", lambda: serial(echo) == number, 10
            )
            return seconds, await alive(sockets, "still here")
        finally:
            for each in sockets:
                each.close()

    seconds, left = asyncio.run(renew())
    assert seconds < 10
    assert left == 50


def test_reload_cuts_no_connection(echo: Echo, api: client.ApiClient) -> None:
    async def reload() -> tuple[int, int]:
        sockets = await open_many(100, echo.address, HOST, echo.context())
        try:
            before = reloads(api)
            # A new host and backend is what cannot be changed in a running HAProxy.
            echo.expose(f"reload-{secrets.token_hex(3)}.lab.test")
            await asyncio.to_thread(wait, "the reload", lambda: reloads(api) > before, 30)
            late = await open_many(10, echo.address, HOST, echo.context())
            left = await alive(sockets + late, "still here")
            for each in late:
                each.close()
            return left, reloads(api) - before
        finally:
            for each in sockets:
                each.close()

    left, times = asyncio.run(reload())
    assert times >= 1
    assert left == 110


def test_websocket_may_be_silent_for_the_session_timeout(quiet: dict[str, Quiet]) -> None:
    # Longer than a client may be silent in a handshake, a body or a plain response.
    time.sleep(max(0, quiet[HOST].since + 40 - time.monotonic()))
    assert quiet[HOST].echoes()
    assert not quiet[SILENT].echoes()


def test_virtual_address_moves_to_another_host(
    echo: Echo, core: client.CoreV1Api, api: client.ApiClient, info: dict[str, Any]
) -> None:
    leases = client.CoordinationV1Api(api)
    shared = replace(echo, address=info["ingress_virtual_address"])

    def holder() -> str:
        return str(leases.read_namespaced_lease("virtual-ip", "ingress").spec.holder_identity)

    assert served(shared, HOST)
    first = holder()

    def holding() -> list[Any]:
        label = "app.kubernetes.io/name=kube-vip"
        pods = core.list_namespaced_pod("ingress", label_selector=label).items
        assert len({pod.spec.node_name for pod in pods}) > 1
        return [pod for pod in pods if pod.spec.node_name == first]

    def moved() -> bool:
        # The same host's next pod may be quicker than another host: then that one goes, too.
        for pod in holding() if holder() == first else []:
            core.delete_namespaced_pod(pod.metadata.name, "ingress")
        return holder() not in {first, "", "None"}

    wait("another holder", moved, 40)
    wait("the address on its new host", lambda: served(shared, HOST), 10)


def test_replaced_controller_lets_connections_end(
    echo: Echo, core: client.CoreV1Api, apps: client.AppsV1Api, info: dict[str, Any]
) -> None:
    """An update of the DaemonSet deletes a pod as this does."""
    pod = next(p for p in controllers(core) if p.status.host_ip == info["ingress_address"])
    args = pod.spec.containers[0].args
    grace = next(int(a.split("=")[1][:-1]) for a in args if a.startswith("--haproxy-grace-period"))

    def ready() -> int:
        status = apps.read_namespaced_daemon_set("haproxy-ingress", "ingress").status
        return int(status.number_ready or 0)

    async def end() -> tuple[bool, float]:
        begun = await Socket.open(echo.address, HOST, echo.context())
        held = await Socket.open(echo.address, HOST, echo.context())
        core.delete_namespaced_pod(pod.metadata.name, "ingress")
        started = time.monotonic()
        await asyncio.sleep(grace / 2)
        finished = await begun.echo("my last words")
        begun.close()
        while await held.echo("more"):
            await asyncio.sleep(0.2)
            assert time.monotonic() - started < grace + 15, "the server does not end it"
        return finished, time.monotonic() - started

    finished, cut_after = asyncio.run(end())
    assert finished, "a connection that would have ended in time was cut"
    assert grace - 1 < cut_after < grace + 10
    wait("the new controller", lambda: ready() == len(controllers(core)) and served(echo, HOST), 90)
