# SPDX-License-Identifier: Apache-2.0
"""Something to test the ingress with: an echo server in the cluster, and clients of it.

The server runs in a namespace of its own. The controller serves the stack's namespace only, so its
routes are there: Services without a selector that point at the server's pod.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from lab.config import for_anybody
from lab.waiting import wait

NAMESPACE = "ingress-test"
STACK = "cartesia"
LABELS = {"app.kubernetes.io/name": NAMESPACE}
SELECTOR = f"app.kubernetes.io/name={NAMESPACE}"
PREFIX = "haproxy-ingress.github.io/"


def certificate(hosts: list[str], serial: int) -> tuple[str, str]:
    """Return a self-signed certificate and its key, as PEM texts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAMESPACE)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(h) for h in hosts]), False)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    return (
        made.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(*form, serialization.NoEncryption()).decode(),
    )


@dataclass
class Echo:
    """The echo server in the cluster, and the routes to it."""

    api: client.ApiClient
    address: str
    pod_address: str
    trusted: str = ""
    routes: list[str] = field(default_factory=list)

    def expose(self, host: str, annotations: Mapping[str, str] | None = None) -> None:
        """Route a host name to the server, with haproxy-ingress's settings by their short names."""
        name = f"{NAMESPACE}-{host.split('.')[0]}"
        meta = {"name": name, "namespace": STACK, "labels": LABELS}
        # In the list first: what is made only in part is removed, too.
        self.routes.append(name)
        client.CoreV1Api(self.api).create_namespaced_service(
            STACK, {"metadata": meta, "spec": {"ports": [{"name": "http", "port": 8000}]}}
        )
        client.DiscoveryV1Api(self.api).create_namespaced_endpoint_slice(
            STACK,
            {
                "metadata": meta | {"labels": LABELS | {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": 8000}],
                "endpoints": [{"addresses": [self.pod_address], "conditions": {"ready": True}}],
            },
        )
        backend = {"service": {"name": name, "port": {"number": 8000}}}
        path = {"path": "/", "pathType": "Prefix", "backend": backend}
        settings = {PREFIX + key: value for key, value in (annotations or {}).items()}
        client.NetworkingV1Api(self.api).create_namespaced_ingress(
            STACK,
            {
                "metadata": meta | {"annotations": settings},
                "spec": {
                    "ingressClassName": "haproxy",
                    "tls": [{"hosts": [host], "secretName": NAMESPACE}],
                    "rules": [{"host": host, "http": {"paths": [path]}}],
                },
            },
        )

    def certify(self, hosts: list[str], serial: int) -> None:
        """Serve the test's hosts with a new self-signed certificate."""
        text, key = certificate(hosts, serial)
        core = client.CoreV1Api(self.api)
        body = {
            "metadata": {"name": NAMESPACE, "labels": LABELS},
            "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": text, "tls.key": key},
        }
        try:
            core.patch_namespaced_secret(NAMESPACE, STACK, body)
        except ApiException as error:
            if error.status != 404:
                raise
            core.create_namespaced_secret(STACK, body)
        self.trusted = text

    def context(self) -> ssl.SSLContext:
        """Return TLS settings that trust the test's certificate only."""
        return ssl.create_default_context(cadata=self.trusted)

    def remove(self) -> None:
        """Remove the routes and the server."""
        core = client.CoreV1Api(self.api)
        slices = client.DiscoveryV1Api(self.api)
        routes = client.NetworkingV1Api(self.api)
        calls: list[Callable[[], object]] = []
        for name in self.routes:
            calls += [
                partial(routes.delete_namespaced_ingress, name, STACK),
                partial(core.delete_namespaced_service, name, STACK),
                partial(slices.delete_namespaced_endpoint_slice, name, STACK),
            ]
        calls.append(partial(core.delete_namespaced_secret, NAMESPACE, STACK))
        calls.append(partial(core.delete_namespace, NAMESPACE))
        for call in calls:
            try:
                call()
            except ApiException as error:
                if error.status != 404:
                    raise


@contextmanager
def deployed(api: client.ApiClient, address: str) -> Iterator[Echo]:
    """Run the echo server behind the ingress at ``address``; all of it is removed at the end.

    Raises:
        TimeoutError: the server's pod does not start.
    """
    core = client.CoreV1Api(api)
    stack = core.list_namespaced_pod(STACK).items
    # Any image of the reference stack has Python.
    [image, *_more] = [p for p in stack if p.metadata.name.startswith("cartesia-api")]
    source = (Path(__file__).parent / "echo_server.py").read_text(encoding="utf-8")
    echo = Echo(api, address, "")
    left = client.NetworkingV1Api(api).list_namespaced_ingress(STACK, label_selector=SELECTOR)
    echo.routes = [item.metadata.name for item in left.items]
    echo.remove()
    echo.routes = []
    wait("removal of an earlier test", lambda: _gone(core))
    try:
        core.create_namespace({"metadata": {"name": NAMESPACE, "labels": LABELS}})
        core.create_namespaced_config_map(
            NAMESPACE, {"metadata": {"name": "server"}, "data": {"echo_server.py": source}}
        )
        container = {
            "name": "server",
            "image": for_anybody(image.spec.containers[0].image),
            "command": ["python3", "/srv/echo_server.py"],
            "volumeMounts": [{"name": "server", "mountPath": "/srv"}],
            "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
        }
        spec = {
            "containers": [container],
            "volumes": [{"name": "server", "configMap": {"name": "server"}}],
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
        }
        core.create_namespaced_pod(
            NAMESPACE, {"metadata": {"name": "server", "labels": LABELS}, "spec": spec}
        )
        wait("the echo server", lambda: bool(_pod_address(core)))
        echo.pod_address = _pod_address(core)
        yield echo
    finally:
        echo.remove()


def _gone(core: client.CoreV1Api) -> bool:
    try:
        core.read_namespace(NAMESPACE)
    except ApiException as error:
        if error.status != 404:
            raise
        return True
    return False


def _pod_address(core: client.CoreV1Api) -> str:
    """Return the server's address, empty while it is not ready."""
    pod = core.read_namespaced_pod("server", NAMESPACE)
    ready = any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or [])
    return str(pod.status.pod_ip) if ready else ""


class Socket:
    """A WebSocket client that knows just what the echo server does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(
        cls, address: str, host: str, context: ssl.SSLContext, path: str = "/", headers: str = ""
    ) -> Socket:
        """Connect; ``headers`` are whole lines.

        Raises:
            ConnectionError: the answer is not 101; the error has its first line.
        """
        reader, writer = await asyncio.open_connection(
            address, 443, ssl=context, server_hostname=host
        )
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{headers}\r\n".encode()
        )
        answer = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode()
        if " 101 " not in answer:
            raise ConnectionError(answer)
        return cls(reader, writer)

    async def echo(self, text: str) -> bool:
        """Tell whether a message comes back; a connection that broke gives False."""
        payload = text.encode()
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        try:
            self.writer.write(bytes([129, 128 | len(payload)]) + mask + masked)
            head = await asyncio.wait_for(self.reader.readexactly(2), 30)
            return await self.reader.readexactly(head[1]) == payload
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            return False

    def close(self) -> None:
        """Drop the connection."""
        self.writer.close()


async def open_many(
    count: int, address: str, host: str, context: ssl.SSLContext, at_once: int = 50
) -> list[Socket]:
    """Open that many WebSockets, a few at a time.

    Raises:
        OSError: one could not be opened.
    """
    gate = asyncio.Semaphore(at_once)

    async def one() -> Socket:
        async with gate:
            return await Socket.open(address, host, context)

    return list(await asyncio.gather(*(one() for _each in range(count))))


async def alive(sockets: list[Socket], text: str) -> int:
    """Return how many of the sockets echo."""
    return sum(await asyncio.gather(*(each.echo(text) for each in sockets)))


def reloads(api: client.ApiClient) -> int:
    """Return how often HAProxy was reloaded, all controllers together, as they log it."""
    core = client.CoreV1Api(api)
    pods = core.list_namespaced_pod(
        "ingress", label_selector="app.kubernetes.io/name=haproxy-ingress"
    )
    logs = [core.read_namespaced_pod_log(pod.metadata.name, "ingress") for pod in pods.items]
    return sum(log.count("haproxy successfully reloaded") for log in logs)
