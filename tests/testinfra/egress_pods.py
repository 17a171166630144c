# SPDX-License-Identifier: Apache-2.0
"""The pods between which the egress tests connect: real ones, and listeners labelled like them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from lab.config import for_anybody
from lab.waiting import wait
from plugins.plugin_utils.egress_policies import ports_of
from tests.testinfra.probing import WORLD, Place

ROOT = Path(__file__).resolve().parents[2]
MATRIX = yaml.safe_load((ROOT / "roles/egress/vars/main/matrix.yml").read_text())["egress_matrix"]
SELECTORS = yaml.safe_load((ROOT / "roles/egress/vars/main/main.yml").read_text())[
    "egress_default_selectors"
]
STACK, SYSTEM, OUTSIDE, GUARDED = "cartesia", "kube-system", "egress-world", "egress-guarded"
NAMESPACES = {"stack": STACK, "monitoring": "monitoring", "keda": "keda"}
# Names that the cluster's own DNS leads to the world outside it, so that the gateway's whole way is
# walked: DNS, connection, TLS.
STORAGE, LICENSE, FIXED = (
    f"{name}.{OUTSIDE}.svc.cluster.local" for name in ("storage", "license", "fixed")
)
ALLOWLIST: list[dict[str, Any]] = [
    {"name": STORAGE, "port": 443, "reason": "artifacts", "used_by": ["artifact-sync"]},
    {"name": LICENSE, "port": 443, "reason": "license", "used_by": ["license-proxy"]},
    {"name": FIXED, "port": 443, "reason": "an address", "used_by": ["license-proxy"]}
    | {"address": WORLD["public"]},
    {"name": "images.example.com", "port": 443, "reason": "images", "used_by": ["hosts"]},
]
NAMES = {
    item["name"]: (f"10.96.0.{20 + n}", item["used_by"]) for n, item in enumerate(ALLOWLIST[:3])
}


LISTEN = """
import selectors, socket
ready = selectors.DefaultSelector()
for port in PORTS:
    ready.register(socket.create_server(("", port), backlog=64), selectors.EVENT_READ)
while True:
    for key, _events in ready.select():
        key.fileobj.accept()[0].close()
"""


def listener(name: str, labels: dict[str, str], image: str, ports: list[int]) -> dict[str, Any]:
    """A pod that takes connections on some ports, and is never ready: no Service sends it any."""
    program = LISTEN.replace("PORTS", repr(ports))
    container = {
        "name": "listener",
        "image": image,
        "command": ["python3", "-c", program],
        "readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 60},
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    user = {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "metadata": {"name": name, "labels": labels | {"egress-test": "listener"}},
        "spec": {
            "containers": [container],
            "securityContext": user,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
        },
    }


def started(pod: Any) -> bool:
    """Whether a pod's containers run."""
    states = pod.status.container_statuses or []
    return bool(states) and all(state.state.running for state in states)


def pods(core: client.CoreV1Api, namespace: str, selector: str = "") -> list[Any]:
    """Running pods with a network of their own."""
    return [
        pod
        for pod in core.list_namespaced_pod(namespace, label_selector=selector).items
        if started(pod) and not pod.spec.host_network and not pod.metadata.deletion_timestamp
    ]


def place_of(pod: Any) -> Place:
    """The way into a pod."""
    container = pod.status.container_statuses[0].container_id
    return Place(pod.spec.node_name, container.removeprefix("containerd://"))


def home(name: str) -> str:
    """The namespace of a source."""
    return NAMESPACES[MATRIX["sources"][name].get("namespace", "stack")]


def components() -> list[str]:
    """The sources that are pods with labels of their own."""
    return [name for name, source in MATRIX["sources"].items() if "component" in source]


def labelled(name: str) -> dict[str, str]:
    """A component's labels."""
    labels: dict[str, str] = SELECTORS[name]["matchLabels"]
    return labels


def real(core: client.CoreV1Api, name: str) -> list[Any]:
    """A component's own pods."""
    wanted = [f"{key}={value}" for key, value in labelled(name).items()]
    return pods(core, home(name), ",".join([*wanted, "egress-test!=listener"]))


def ports_at(name: str) -> list[int]:
    """The ports that the matrix names of a component, but for the gateway's."""
    return sorted(
        {
            port["port"]
            for destination in MATRIX["destinations"].values()
            if destination.get("to") == name
            for port in ports_of(destination)
        }
    )


def namespaces_are_gone(core: client.CoreV1Api) -> bool:
    """Whether the namespaces outside the stack are gone."""
    names = {item.metadata.name for item in core.list_namespace().items}
    return not names & {OUTSIDE, GUARDED}


def names_for_the_world(core: client.CoreV1Api) -> None:
    """Have the cluster's DNS lead some names to the world."""
    discovery = client.DiscoveryV1Api(core.api_client)
    for name in NAMES:
        short = name.partition(".")[0]
        port = {"name": "tls", "port": 443, "protocol": "TCP"}
        core.create_namespaced_service(
            OUTSIDE, {"metadata": {"name": short}, "spec": {"clusterIP": "None", "ports": [port]}}
        )
        labels = {"kubernetes.io/service-name": short}
        discovery.create_namespaced_endpoint_slice(
            OUTSIDE,
            {
                "metadata": {"name": short, "labels": labels},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [WORLD["public"]], "conditions": {"ready": True}}],
                "ports": [port],
            },
        )


def fill(core: client.CoreV1Api) -> None:
    """Make the pods that are probed, and names in DNS for the world."""
    for namespace in (OUTSIDE, GUARDED):
        core.create_namespace({"metadata": {"name": namespace}})
    names_for_the_world(core)
    [proxy, *_more] = real(core, "license-proxy")
    image = for_anybody(proxy.spec.containers[0].image)
    made = [(OUTSIDE, listener(f"outsider-{number}", {}, image, [8000])) for number in (1, 2)]
    dcgm = {"app.kubernetes.io/name": "dcgm-exporter"}
    made.append((OUTSIDE, listener("dcgm-exporter", dcgm, image, [9400])))
    made.append((GUARDED, listener("neighbour", {}, image, [8000])))
    for namespace in NAMESPACES.values():
        part = {"app.kubernetes.io/part-of": "cartesia", "egress-stranger": "true"}
        made.append((namespace, listener("egress-stranger", part, image, [8000])))
    for name in components():
        labels = labelled(name) | {"egress-twin": name}
        made.append((home(name), listener(f"egress-{name}", labels, image, ports_at(name))))
    for namespace, pod in made:
        core.create_namespaced_pod(namespace, pod)
    places = {namespace for namespace, _pod in made}
    wait(
        "the listening pods",
        lambda: sum(len(pods(core, name, "egress-test=listener")) for name in places) == len(made),
    )


def clear(core: client.CoreV1Api) -> None:
    """Remove what ``fill`` made, also of a run that was killed."""
    for namespace in NAMESPACES.values():
        core.delete_collection_namespaced_pod(namespace, label_selector="egress-test=listener")
    for item in core.list_namespace().items:
        if item.metadata.name in (OUTSIDE, GUARDED):
            core.delete_namespace(item.metadata.name)
    wait("removal of the pods outside", lambda: namespaces_are_gone(core))
