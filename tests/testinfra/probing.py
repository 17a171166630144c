# SPDX-License-Identifier: Apache-2.0
"""Open connections from inside the lab's pods and from its hosts, and report how each ended.

A pod's network namespace is entered from its host, so a probe is under exactly the policies of the
pod itself, whatever the pod's image holds, and leaves nothing behind in it. Every probe first
proves that it works at all: it connects to a listener of its own, inside the same namespace.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 1.5
OPEN = "open"
# How a connection ends that a policy denies: kube-router rejects, others drop.
DENIED = ("refused", "timeout")


@dataclass(frozen=True)
class Target:
    """Where a connection goes; a UDP target must answer whatever DNS query it gets."""

    protocol: str
    address: str
    port: int


@dataclass(frozen=True)
class Place:
    """From where: a container of a pod, or the host itself when there is none."""

    node: str
    container: str = ""


PROBE = """
import asyncio, json, socket, struct, sys

async def tcp(address, port):
    # An address needs no resolver, and so no thread: all pods of a host are probed at once, and a
    # host has 2,048 threads for everything.
    _reader, writer = await asyncio.open_connection(address, port)
    writer.close()

async def udp(address, port):
    # The query: the root's name servers.
    query = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"\\0" + struct.pack(">2H", 2, 1)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.setblocking(False)
        plain.connect((address, port))
        await loop.sock_sendall(plain, query)
        await loop.sock_recv(plain, 512)

async def ended(kind, address, port, timeout):
    try:
        await asyncio.wait_for({"TCP": tcp, "UDP": udp}[kind](address, port), timeout)
        return "open"
    except ConnectionRefusedError:
        return "refused"
    except (TimeoutError, asyncio.TimeoutError):
        return "timeout"
    except OSError as error:
        return f"error: {error}"

async def probe(asked):
    with socket.create_server(("127.0.0.1", 0)) as own:
        works = await ended("TCP", "127.0.0.1", own.getsockname()[1], 5)
    assert works == "open", f"the probe itself does not work: {works}"
    # A few at a time: a host that is short of time lets connections wait.
    free = asyncio.Semaphore(24)
    async def one(target):
        async with free:
            return await ended(*target, asked["timeout"])
    return await asyncio.gather(*(one(target) for target in asked["targets"]))

json.dump(asyncio.run(probe(json.load(sys.stdin))), sys.stdout)
"""

TALK = """
import json, socket, ssl, sys

asked = json.load(sys.stdin)
try:
    with socket.create_connection((asked["address"], asked["port"]), 5) as plain:
        if asked["name"] is None:
            plain.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            said = plain.recv(100).decode()
        else:
            context = ssl.create_default_context(cadata=asked["authority"])
            with context.wrap_socket(plain, server_hostname=asked["name"]) as secure:
                said = secure.recv(100).decode()
    json.dump(["said", said], sys.stdout)
except OSError as error:
    json.dump(["error", f"{type(error).__name__}: {error}"], sys.stdout)
"""

# Runs on a host: enters the namespaces, all at once.
RUNNER = """
import json, subprocess, sys

script, jobs = json.loads(sys.argv[1]), json.load(sys.stdin)

def start(job):
    command = ["python3", "-c", script]
    if job["container"]:
        show = ["crictl", "inspect", "-o", "go-template", "--template", "{{.info.pid}}"]
        show.append(job["container"])
        pid = subprocess.run(show, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        command = ["nsenter", f"--net=/proc/{pid}/ns/net", *command]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    run.stdin.write(json.dumps(job["asked"])); run.stdin.close()
    return run

runs = [start(job) for job in jobs]
said = [run.stdout.read() for run in runs]
assert not any(run.wait() for run in runs), "a probe failed"
json.dump([json.loads(text) for text in said], sys.stdout)
"""


class Prober:
    """Ways into the lab's hosts."""

    def __init__(self, info: Mapping[str, Any]) -> None:
        """`info` is what ``python -m lab info`` prints."""
        self._hosts = info["hosts"]
        self._key = info["ssh_key"]

    def on(self, node: str, *words: str, given: str = "") -> str:
        """Run a command on a host and return what it prints. Raises CalledProcessError."""
        ssh = ["ssh", "-i", self._key, "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"]
        ssh += ["-o", "UserKnownHostsFile=/dev/null", f"root@{self._hosts[node]['address']}"]
        quoted = " ".join(_quoted(word) for word in words)
        done = subprocess.run(
            [*ssh, quoted], input=given, stdout=subprocess.PIPE, text=True, check=True, timeout=60
        )
        return done.stdout

    def _run(self, script: str, jobs: Sequence[tuple[Place, dict[str, Any]]]) -> list[Any]:
        """The answers of the jobs, in their order; all hosts work at the same time."""
        nodes = sorted({place.node for place, _asked in jobs})

        def at(node: str) -> list[Any]:
            own = [
                {"container": place.container, "asked": asked}
                for place, asked in jobs
                if place.node == node
            ]
            words = ["python3", "-c", RUNNER, json.dumps(script)]
            answers: list[Any] = json.loads(self.on(node, *words, given=json.dumps(own)))
            return answers

        with ThreadPoolExecutor(len(nodes)) as pool:
            outcomes = dict(zip(nodes, map(iter, pool.map(at, nodes)), strict=True))
        return [next(outcomes[place.node]) for place, _asked in jobs]

    def probe(self, wanted: Mapping[Place, Sequence[Target]]) -> dict[tuple[Place, Target], str]:
        """Open a new connection from each place to each of its targets; returns how they ended."""
        jobs = [
            (
                place,
                {
                    "timeout": TIMEOUT_S,
                    "targets": [[item.protocol, item.address, item.port] for item in targets],
                },
            )
            for place, targets in wanted.items()
        ]
        return {
            (place, target): result
            for (place, targets), results in zip(
                wanted.items(), self._run(PROBE, jobs), strict=True
            )
            for target, result in zip(targets, results, strict=True)
        }

    def talk(
        self, place: Place, address: str, port: int, name: str | None, authority: str
    ) -> tuple[str, str]:
        """What a TLS server says to a client that asks for `name`; in plain text without one.

        Returns:
            "said" and the received text (empty when the server hung up), or "error" and why.
        """
        asked = {"address": address, "port": port, "name": name, "authority": authority}
        [[kind, text]] = self._run(TALK, [(place, asked)])
        return str(kind), str(text)


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


# An address of each sort that is outside the cluster, all on one container of the lab's network.
WORLD = {
    "private": "10.99.99.9",
    "metadata": "169.254.169.254",
    "public-dns": "203.0.113.53",
    "public": "203.0.113.10",
}
GREETING = "the world"
SERVER = """
import socket, ssl, threading

def tcp(port, context=None):
    server = socket.create_server(("", port), backlog=128)
    def serve(plain):
        try:
            with plain:
                if context:
                    plain = context.wrap_socket(plain, server_side=True)
                plain.sendall(b"GREETING")
        except OSError:
            pass
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

def udp(address, port):
    # An answer has to come from the address that was asked.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, port))
        while True:
            query, asker = server.recvfrom(512)
            server.sendto(query, asker)

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/world/world.pem", "/world/world.key")
threading.Thread(target=tcp, args=(80,)).start()
threading.Thread(target=tcp, args=(53,)).start()
threading.Thread(target=tcp, args=(443, context)).start()
threading.Thread(target=udp, args=("DNS", 53)).start()
""".replace("GREETING", GREETING).replace("DNS", WORLD["public-dns"])


class World:
    """What is outside the cluster, played by one more container on the lab's network."""

    def __init__(self, info: Mapping[str, Any], prober: Prober, folder: Path) -> None:
        """`folder` holds world.pem and world.key, the servers' certificate."""
        self._prober = prober
        self._nodes = list(info["hosts"])
        self._like = info["hosts"][self._nodes[0]]["container"]
        self._address = f"{info['subnet'].rsplit('.', 1)[0]}.250"
        self._folder = folder
        self._name = f"{self._like}-world"

    def start(self) -> None:
        """Start it, and lead the hosts' way to its addresses. Raises CalledProcessError."""
        self.stop()
        [shown] = json.loads(_podman("container", "inspect", self._like))
        [network] = shown["NetworkSettings"]["Networks"]
        label = "baremetal.sonic.lab"
        addresses = "; ".join(f"ip address add {item}/32 dev lo" for item in WORLD.values())
        _podman(
            "--runtime", "runc", "run", "--detach", "--name", self._name, "--network", network,
            # Higher limits are refused where root lacks CAP_SYS_RESOURCE.
            "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=30000:30000",
            "--ip", self._address, "--cap-add", "NET_ADMIN", "--label",
            f"{label}={shown['Config']['Labels'][label]}", "--volume", f"{self._folder}:/world:ro",
            shown["ImageName"], "sh", "-ec", f'{addresses}; exec python3 -c "$0"', SERVER,
        )  # fmt: skip
        for node in self._nodes:
            self._routes(node, "replace", f"via {self._address}")

    def stop(self) -> None:
        """Remove it and the ways to it."""
        _podman("rm", "--force", "--ignore", "--time", "0", self._name)
        for node in self._nodes:
            self._routes(node, "flush", "")

    def _routes(self, node: str, verb: str, via: str) -> None:
        lines = [f"ip route {verb} {address}/32 {via}" for address in WORLD.values()]
        self._prober.on(node, "sh", "-ec", "\n".join(lines))


def _podman(*words: str) -> str:
    done = subprocess.run(["podman", *words], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout
