# SPDX-License-Identifier: Apache-2.0
"""Every cell of the egress matrix, probed from inside the pods, for each profile; and the gateway.

With the profile off every cell must be open: that shows, cell by cell, that something listens there
and that the way to it exists, so that what is closed under another profile is closed by it.
"""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes import client

from lab.config import LICENSE_HOST, STORAGE_HOST, for_anybody
from lab.waiting import wait
from plugins.module_utils.speech import SpeechError
from plugins.plugin_utils.egress import cells
from tests.playbooks import on_lab
from tests.testinfra.probing import DENIED, GREETING, OPEN, WORLD, Place, Prober, Target, World
from tests.testinfra.speaking import speech

ROOT = Path(__file__).resolve().parents[2]
MATRIX = yaml.safe_load((ROOT / "roles/egress/vars/main/matrix.yml").read_text())["egress_matrix"]
STACK, MONITORING, OUTSIDE = "cartesia", "monitoring", "egress-world"
COMPONENT = "app.kubernetes.io/component"
PROFILES = ["off", "vendor", "strict"]
SETTLE_S = 30
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


def play(**variables: Any) -> str:
    """Run playbooks/egress.yml with these variables over the lab's own; returns its output."""
    return on_lab("egress.yml", **variables)


def changed(output: str) -> int:
    """How many results of a run changed something."""
    [count] = re.findall(r"changed=(\d+)", output)
    return int(count)


def certificate(folder: Path) -> str:
    """Make world.pem and world.key, for the names of ALLOWLIST; returns the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "world")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, NAMES))), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    text = made.public_bytes(serialization.Encoding.PEM)
    (folder / "world.pem").write_bytes(text)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    (folder / "world.key").write_bytes(key.private_bytes(*form, serialization.NoEncryption()))
    return text.decode()


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
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
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


@dataclass
class Scene:
    """Who probes whom."""

    core: client.CoreV1Api
    info: dict[str, Any]
    prober: Prober
    authority: str
    places: dict[str, Place] = field(default_factory=dict)
    wanted: dict[tuple[str, str], list[Target]] = field(default_factory=dict)

    def look(self) -> None:
        """Find the pods as they are now, and lay down what each cell of the matrix stands for."""
        own = {
            name: pods(self.core, STACK, f"{COMPONENT}={name},egress-test!=listener")
            for name in MATRIX["sources"]
            if "component" in MATRIX["sources"][name]
        }
        assert all(own.values()), {name: len(found) for name, found in own.items()}
        self.places = {name: place_of(found[0]) for name, found in own.items()}
        nodes = {name: found[0].spec.node_name for name, found in own.items()}
        others = {
            "stranger": pods(self.core, STACK, "egress-test=listener,!" + COMPONENT),
            "prometheus": pods(self.core, MONITORING),
            "outsider": pods(self.core, OUTSIDE),
        }
        for name, found in others.items():
            self.places[name] = place_of(found[0])
            nodes[name] = found[0].spec.node_name
        hosts = self.info["hosts"]
        for name, group in (("ingress", "ingress"), ("control-plane", "control_plane")):
            here = next(node for node, host in hosts.items() if group in host["groups"])
            self.places[name] = Place(here)
        services = {
            name: self.core.read_namespaced_service(name, namespace).spec.cluster_ip
            for name, namespace in (("kube-dns", "kube-system"), ("kubernetes", "default"))
        }
        outside = {
            "dns": [
                Target("UDP", services["kube-dns"], 53),
                Target("TCP", services["kube-dns"], 53),
            ],
            "kubernetes": [Target("TCP", services["kubernetes"], 443)],
            "elsewhere": [Target("TCP", others["outsider"][-1].status.pod_ip, 8000)],
            "private": [Target("TCP", WORLD["private"], port) for port in (80, 443)],
            "metadata": [Target("TCP", WORLD["metadata"], 80)],
            "public-dns": [Target(kind, WORLD["public-dns"], 53) for kind in ("UDP", "TCP")],
            "public": [Target("TCP", WORLD["public"], 443)],
        }
        twins = {name: pods(self.core, STACK, f"{COMPONENT}={name},egress-test") for name in own}
        for source, name in cells(MATRIX, "off"):
            to = MATRIX["destinations"][name].get("to")
            if name == "host":
                address = hosts[nodes[source]]["address"]
                targets = [Target("TCP", address, port) for port in (10250, 22)]
            elif name in outside:
                targets = outside[name]
            elif name == "gateway":
                targets = [Target("TCP", address, 443) for address, _users in NAMES.values()]
            else:
                # Not itself: that connection would never leave the pod.
                addresses = [pod.status.pod_ip for pod in [*twins[to], *own[to]][:2]]
                if source == to:
                    addresses = [pod.status.pod_ip for pod in twins[to]]
                ports = [item["port"] for item in MATRIX["destinations"][name]["ports"]]
                targets = [Target("TCP", ip, port) for ip in addresses for port in ports]
            assert targets, f"{source} to {name}: nothing to connect to"
            self.wanted[source, name] = targets

    def allowed(self, profile: str, source: str, name: str, target: Target) -> bool:
        """What the matrix says; strict tells the gateway's names apart.

        A host that is two sources in one may do what either may.
        """
        same = [other for other, place in self.places.items() if place == self.places[source]]
        if name == "gateway" and profile == "strict":
            [users] = [users for ip, users in NAMES.values() if ip == target.address]
            return cells(MATRIX, profile)[source, name] and source in users
        return any(cells(MATRIX, profile)[other, name] for other in same)

    def disagreements(self, profile: str) -> list[str]:
        """Probe every cell with new connections; what is not as the matrix says."""
        asked: dict[Place, list[Target]] = {}
        for (source, _name), targets in self.wanted.items():
            asked.setdefault(self.places[source], []).extend(targets)
        ended = self.prober.probe(asked)
        wrong = []
        for (source, name), targets in self.wanted.items():
            for target in targets:
                result = ended[self.places[source], target]
                wanted = self.allowed(profile, source, name, target)
                if result not in ((OPEN,) if wanted else DENIED):
                    should = "allowed" if wanted else "denied"
                    wrong.append(f"{profile}: {source} to {name} ({target}): {result}, {should}")
        return wrong

    def settle(self, profile: str) -> list[str]:
        """Probe until all is as the matrix says, or time is up; returns what is not."""
        limit = time.monotonic() + SETTLE_S
        while (wrong := self.disagreements(profile)) and time.monotonic() < limit:
            time.sleep(1)
        return wrong


def namespace_is_gone(core: client.CoreV1Api) -> bool:
    """Whether the namespace of what is outside is no more."""
    names = [item.metadata.name for item in core.list_namespace().items]
    return OUTSIDE not in names


def fill(core: client.CoreV1Api) -> None:
    """Make the pods that are probed, and names in DNS for the world."""
    core.create_namespace({"metadata": {"name": OUTSIDE}})
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
    [proxy, *_more] = pods(core, STACK, f"{COMPONENT}=license-proxy")
    image = for_anybody(proxy.spec.containers[0].image)
    part = {"app.kubernetes.io/part-of": "cartesia"}
    made = [(OUTSIDE, listener(f"outsider-{number}", {}, image, [8000])) for number in (1, 2)]
    made.append((STACK, listener("egress-stranger", part, image, [8000])))
    for name, source in MATRIX["sources"].items():
        if "component" in source:
            ports = [4222, 5000, 6222, 8080, 8222]
            made.append((STACK, listener(f"egress-{name}", part | {COMPONENT: name}, image, ports)))
    for namespace, pod in made:
        core.create_namespaced_pod(namespace, pod)
    selector = "egress-test=listener"
    wait(
        "the listening pods",
        lambda: len(pods(core, STACK, selector) + pods(core, OUTSIDE, selector)) == len(made),
    )


def clear(core: client.CoreV1Api) -> None:
    """Remove what ``fill`` made, also of a run that was killed."""
    core.delete_collection_namespaced_pod(STACK, label_selector="egress-test=listener")
    if not namespace_is_gone(core):
        core.delete_namespace(OUTSIDE)
    wait("removal of the pods outside", lambda: namespace_is_gone(core))


@pytest.fixture(scope="module")
def scene(
    core: client.CoreV1Api, info: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """The lab with a world around it; afterwards the lab's own policy is back."""
    folder = tmp_path_factory.mktemp("world")
    authority = certificate(folder)
    folder.chmod(0o755)
    prober = Prober(info)
    world = World(info, prober, folder)
    clear(core)
    try:
        world.start()
        fill(core)
        yield Scene(core, info, prober, authority)
    finally:
        clear(core)
        world.stop()
        play()


@pytest.mark.parametrize("profile", PROFILES)
def test_every_cell_is_as_the_matrix_says(scene: Scene, profile: str) -> None:
    play(egress_profile=profile, egress_allowlist=ALLOWLIST)
    scene.look()
    assert scene.settle(profile) == []
    # Once more, now that all has settled: none of it was a moment's chance.
    assert scene.disagreements(profile) == []
    heard = speech(scene.info, f"Speech passes with the profile {profile}.")
    assert heard.duration_s > 0.5


def test_strict_again_changes_nothing(scene: Scene) -> None:
    assert changed(play(egress_profile="strict", egress_allowlist=ALLOWLIST)) == 0


def test_speech_survives_new_pods(scene: Scene, core: client.CoreV1Api) -> None:
    names = ["api", "license-proxy", "nats"]
    selector = f"{COMPONENT} in ({','.join(names)}),egress-test!=listener"
    before = {pod.status.pod_ip for pod in pods(core, STACK, selector)}
    for pod in pods(core, STACK, selector):
        core.delete_namespaced_pod(pod.metadata.name, STACK, grace_period_seconds=1)

    def speaks() -> bool:
        now = pods(core, STACK, selector)
        if len(now) < len(names) or before & {pod.status.pod_ip for pod in now}:
            return False
        try:
            return speech(scene.info, "New pods, the same policy.").duration_s > 0.5
        except (SpeechError, OSError):
            return False

    wait("speech through new pods", speaks)
    scene.look()
    assert scene.settle("strict") == []


@pytest.mark.parametrize("name", NAMES)
def test_gateway_leads_to_the_names_it_serves(scene: Scene, name: str) -> None:
    address, users = NAMES[name]
    for user in users:
        said = scene.prober.talk(scene.places[user], address, 443, name, scene.authority)
        assert said == ("said", GREETING)


@pytest.mark.parametrize("asked", [STORAGE, "www.example.com", None])
def test_gateway_leads_nowhere_else(scene: Scene, asked: str | None) -> None:
    place, (address, _users) = scene.places["license-proxy"], NAMES[LICENSE]
    kind, said = scene.prober.talk(place, address, 443, asked, scene.authority)
    assert GREETING not in said
    assert kind == "error" or said == ""


def test_policies_of_others_stay(scene: Scene, api: client.ApiClient) -> None:
    network = client.NetworkingV1Api(api)

    def named() -> set[str]:
        return {item.metadata.name for item in network.list_namespaced_network_policy(STACK).items}

    theirs = {"podSelector": {"matchLabels": {"nobody": "has-this"}}, "policyTypes": ["Egress"]}
    mark = {"app.kubernetes.io/managed-by": "baremetal.sonic"}
    network.create_namespaced_network_policy(
        STACK, {"metadata": {"name": "theirs", "labels": mark}, "spec": theirs}
    )
    try:
        assert "strict-default-deny" in named()
        play(egress_profile="off", egress_allowlist=ALLOWLIST)
        assert named() == {"theirs"}
        play(egress_profile="vendor", egress_mode="airgapped")
        assert named() == {"theirs", "vendor-external-egress"}
        services = scene.core.list_namespaced_service(STACK).items
        assert not [item for item in services if item.metadata.name.startswith("egress-")]
        play(egress_profile="strict", egress_allowlist=ALLOWLIST)
        assert "vendor-external-egress" not in named()
    finally:
        network.delete_namespaced_network_policy("theirs", STACK)


def test_names_lead_to_the_gateway_in_the_pods(core: client.CoreV1Api) -> None:
    found = {}
    for name in ("api", "worker", "license-proxy", "artifact-sync"):
        [pod, *_others] = pods(core, STACK, f"{COMPONENT}={name},egress-test!=listener")
        aliases = pod.spec.host_aliases or []
        found[name] = {host: alias.ip for alias in aliases for host in alias.hostnames}
    assert found == {
        "api": {},
        "worker": {},
        "license-proxy": {LICENSE_HOST: "10.96.0.21"},
        "artifact-sync": {STORAGE_HOST: "10.96.0.20"},
    }
