# SPDX-License-Identifier: Apache-2.0
"""An echo server in the cluster, to test the ingress, and its clients.

The server runs in a namespace of its own. The controller serves only the stack's namespace, so the
routes are there: Services without a selector that point to the server's pod.
"""

from __future__ import annotations

import asyncio
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
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

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
        # Listed before it is made, so that a route that is made in part is removed, too.
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
    """Run the echo server behind the ingress at ``address``; remove it at the end.

    Raises:
        TimeoutError: the server's pod does not start.
    """
    core = client.CoreV1Api(api)
    stack = core.list_namespaced_pod(STACK).items
    # Each image of the reference stack has Python and the websockets library.
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
    """A WebSocket to the echo server."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @classmethod
    async def open(
        cls,
        address: str,
        host: str,
        context: ssl.SSLContext,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        port: int = 443,
    ) -> Socket:
        """Connect to an address, and ask for a host.

        Raises:
            ConnectionError: the answer is not 101; the error has its status.
            OSError: there is no connection.
        """
        try:
            connection = await connect(
                f"wss://{host}{path}",
                host=address,
                port=port,
                ssl=context,
                additional_headers=headers,
                open_timeout=30,
                # The tests measure how long the ingress keeps silent connections.
                ping_interval=None,
                # Compression needs some 300 KB for each of thousands of connections.
                compression=None,
                proxy=None,
            )
        except InvalidStatus as error:
            raise ConnectionError(f"HTTP {error.response.status_code}") from error
        except InvalidHandshake as error:
            raise ConnectionError(str(error)) from error
        return cls(connection)

    async def echo(self, text: str) -> bool:
        """Return whether a message comes back; False when the connection broke."""
        try:
            await self._connection.send(text)
            return await asyncio.wait_for(self._connection.recv(), 30) == text
        except (ConnectionClosed, TimeoutError):
            return False

    def close(self) -> None:
        """Drop the connection without a closing handshake."""
        self._connection.transport.close()


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
