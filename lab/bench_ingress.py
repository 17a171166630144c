# SPDX-License-Identifier: Apache-2.0
"""Measure the ingress: the latency it adds, and the WebSockets that survive a reload."""

from __future__ import annotations

import asyncio
import json
import secrets
import shlex
import subprocess
import time

from kubernetes import client, config

from lab import show
from lab.config import HOSTS, INGRESS_HOST, Lab, LabError
from lab.echo import Echo, Socket, alive, deployed, open_many, reloads
from lab.hosts import ssh_command
from lab.waiting import wait
from plugins.module_utils._speech.load import percentile

REQUESTS = 1500
WEBSOCKETS = 2500

# Runs on a host of the lab: GET /status in turn directly and through the ingress, on one kept
# connection each. Prints the milliseconds of both as JSON.
CLIENT = """
import http.client, json, socket, ssl, sys, time
pod, ingress, host, requests, authority = json.load(sys.stdin)
direct = http.client.HTTPConnection(pod, 5000, timeout=10)
context = ssl.create_default_context(cadata=authority)
through = http.client.HTTPSConnection(host, timeout=10, context=context)
through._create_connection = lambda *_rest: socket.create_connection((ingress, 443), 10)
took = {"direct": [], "ingress": []}
for turn in range(requests + 50):
    for name, connection in (("direct", direct), ("ingress", through)):
        began = time.perf_counter()
        connection.request("GET", "/status")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            sys.exit(f"{name}: {answer.status}")
        if turn >= 50:
            took[name].append((time.perf_counter() - began) * 1000)
print(json.dumps(took))
"""


def measure(lab: Lab) -> None:
    """Measure and print.

    Raises:
        LabError: a host of the lab cannot be reached, or a request fails.
        TimeoutError, OSError: the echo server does not come up, or a WebSocket cannot be opened.
    """
    if not lab.kubeconfig.exists():
        show.fetch_kubeconfig(lab)
    with config.new_client_from_config(config_file=str(lab.kubeconfig)) as api:
        latency(lab, api)
        websockets(lab, api)


def latency(lab: Lab, api: client.ApiClient) -> None:
    """Print how much later a small answer comes through the ingress than from the API's pod."""
    pods = client.CoreV1Api(api).list_namespaced_pod(
        "cartesia", label_selector="app.kubernetes.io/component=api"
    )
    pod = pods.items[0]
    # From another host than the pod's and the ingress's: both ways cross the network.
    near = {pod.spec.node_name, *(host.name for host in HOSTS if "ingress" in host.groups)}
    others = [host for host in HOSTS if host.name not in near] or list(HOSTS)
    given = json.dumps(
        [pod.status.pod_ip, lab.ingress_address, INGRESS_HOST, REQUESTS, lab.ca_file.read_text()]
    )
    command = ssh_command(lab, lab.address(others[-1].octet))
    command.append(shlex.join(["python3", "-c", CLIENT]))
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"measuring on {others[-1].name} failed: {done.stderr.strip()[-500:]}")
    took: dict[str, list[float]] = json.loads(done.stdout)
    print(f"\n{REQUESTS} x GET /status from {others[-1].name}, in turn: ms")
    print(f"{'':<22}{'p50':>8}{'p99':>8}")
    for name, values in took.items():
        print(f"{name:<22}{percentile(values, 0.5):>8.2f}{percentile(values, 0.99):>8.2f}")
    added = [percentile(took["ingress"], p) - percentile(took["direct"], p) for p in (0.5, 0.99)]
    print(f"{'added by the ingress':<22}{added[0]:>8.2f}{added[1]:>8.2f}")


def websockets(lab: Lab, api: client.ApiClient) -> None:
    """Print how many WebSockets survive a reload of HAProxy."""
    host = "bench.lab.test"
    with deployed(api, lab.ingress_address) as echo:
        echo.certify([host], 1)
        echo.expose(host)
        wait("the route to the echo server", lambda: _served(echo, host))
        opened, seconds, before, times, after = asyncio.run(_hold(echo, api, host))
    print(
        f"\n{opened} WebSockets opened in {seconds:.0f} s, {before} echo; after {times} reload(s)"
        f" of HAProxy {after} echo: {opened - after} dropped"
    )


def _served(echo: Echo, host: str) -> bool:
    async def once() -> bool:
        try:
            (await Socket.open(echo.address, host, echo.context())).close()
        except OSError:
            return False
        return True

    return asyncio.run(once())


async def _hold(echo: Echo, api: client.ApiClient, host: str) -> tuple[int, float, int, int, int]:
    began = time.monotonic()
    sockets = await open_many(WEBSOCKETS, echo.address, host, echo.context())
    seconds = time.monotonic() - began
    try:
        before = await alive(sockets, "before")
        count = reloads(api)
        echo.expose(f"bench-{secrets.token_hex(3)}.lab.test")
        await asyncio.to_thread(wait, "the reload", lambda: reloads(api) > count, 60)
        # Old and new processes have had their time to settle.
        await asyncio.sleep(5)
        after = await alive(sockets, "after")
        return len(sockets), seconds, before, reloads(api) - count, after
    finally:
        for each in sockets:
            each.close()
