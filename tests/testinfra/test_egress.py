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
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes import client

from lab.config import LICENSE_HOST, STORAGE_HOST
from lab.waiting import wait
from plugins.module_utils._speech.client import SpeechError
from plugins.plugin_utils.egress import cells
from plugins.plugin_utils.egress_policies import ports_of
from tests.playbooks import on_lab
from tests.testinfra.egress_pods import (
    ALLOWLIST,
    GUARDED,
    LICENSE,
    MATRIX,
    NAMES,
    OUTSIDE,
    STACK,
    STORAGE,
    SYSTEM,
    clear,
    components,
    fill,
    home,
    place_of,
    pods,
    real,
)
from tests.testinfra.probing import DENIED, GREETING, OPEN, WORLD, Place, Prober, Target, World
from tests.testinfra.speaking import speech

COMPONENT = "app.kubernetes.io/component"
PROFILES = ["off", "vendor", "strict"]
SETTLE_S = 30


def play(**variables: Any) -> str:
    """Run playbooks/egress.yml with these variables over the lab's own; returns its output."""
    return on_lab("egress.yml", **variables)


def probed(profile: str) -> str:
    """Apply a profile as the tests probe it: the matrix and nothing that the lab adds to it."""
    guarded = ["default", "kube-node-lease", "kube-public", "kube-system", GUARDED]
    return play(
        egress_profile=profile,
        egress_allowlist=ALLOWLIST,
        egress_prometheus_peers=[],
        egress_guarded_namespaces=guarded,
    )


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
        own = {name: real(self.core, name) for name in components()}
        assert all(own.values()), {name: len(actual) for name, actual in own.items()}
        others = {
            "stranger": pods(self.core, STACK, "egress-test=listener,egress-stranger"),
            "monitoring": pods(self.core, home("monitoring"), "egress-stranger"),
            "keda": pods(self.core, home("keda"), "egress-stranger"),
            "neighbour": pods(self.core, GUARDED),
            "outsider": pods(self.core, OUTSIDE, "!app.kubernetes.io/name"),
        }
        hosts = self.info["hosts"]
        groups = {"ingress": "ingress", "control-plane": "control_plane"}
        here = {
            name: next(node for node, host in hosts.items() if group in host["groups"])
            for name, group in groups.items()
        }
        self.places = {name: place_of(actual[0]) for name, actual in (own | others).items()}
        self.places |= {name: Place(node) for name, node in here.items()}
        twins = {
            name: pods(self.core, home(name), f"egress-test=listener,egress-twin={name}")
            for name in own
        }
        outside = self.beside(others["outsider"][-1], here)
        for source, name in cells(MATRIX, "off"):
            to = MATRIX["destinations"][name].get("to")
            if name in outside:
                targets = outside[name]
            elif to == "node":
                targets = self.on_hosts(source, name, here["control-plane"])
            elif name == "gateway":
                targets = [Target("TCP", address, 443) for address, _users in NAMES.values()]
            else:
                actual = [*twins[to], *own[to]]
                if source == to:
                    # Not itself: that connection would never leave the pod.
                    actual = twins[to]
                elif source in here:
                    # A host reaches its own pods whatever policies say.
                    actual = [pod for pod in actual if pod.spec.node_name != here[source]]
                ports = [item["port"] for item in ports_of(MATRIX["destinations"][name])]
                targets = [Target("TCP", p.status.pod_ip, n) for p in actual[:2] for n in ports]
            assert targets, f"{source} to {name}: nothing to connect to"
            self.wanted[source, name] = targets

    def beside(self, elsewhere: Any, here: dict[str, str]) -> dict[str, list[Target]]:
        """The targets that are the same for all sources."""
        hosts = self.info["hosts"]
        leader = hosts[here["control-plane"]]["address"]
        services = {
            name: self.core.read_namespaced_service(name, namespace).spec.cluster_ip
            for name, namespace in (("kube-dns", SYSTEM), ("kubernetes", "default"))
        }
        [resolver, *_more] = pods(self.core, SYSTEM, "k8s-app=kube-dns")
        [gate, *_others] = pods(self.core, "ingress", "app.kubernetes.io/name=haproxy-ingress")
        [dcgm] = pods(self.core, OUTSIDE, "app.kubernetes.io/name=dcgm-exporter")
        return {
            "dns": [Target(kind, services["kube-dns"], 53) for kind in ("UDP", "TCP")],
            "dns-metrics": [Target("TCP", resolver.status.pod_ip, 9153)],
            "kubernetes": [
                Target("TCP", services["kubernetes"], 443),
                Target("TCP", leader, 6443),
            ],
            "etcd": [Target("TCP", leader, port) for port in (2379, 2380)],
            "control-plane-metrics": [Target("TCP", leader, port) for port in (10257, 10259)],
            "ingress-entry": [
                Target("TCP", hosts[here["ingress"]]["address"], 443),
                Target("TCP", gate.status.pod_ip, 8443),
            ],
            "ingress-metrics": [Target("TCP", gate.status.pod_ip, n) for n in (9101, 10254)],
            "dcgm-metrics": [Target("TCP", dcgm.status.pod_ip, 9400)],
            "elsewhere": [Target("TCP", elsewhere.status.pod_ip, 8000)],
            "private": [Target("TCP", WORLD["private"], port) for port in (80, 443)],
            "metadata": [Target("TCP", WORLD["metadata"], 80)],
            "public-dns": [Target(kind, WORLD["public-dns"], 53) for kind in ("UDP", "TCP")],
            "public": [Target("TCP", WORLD["public"], 443)],
        }

    def on_hosts(self, source: str, name: str, leader: str) -> list[Target]:
        """Ports of hosts: of the source's own one, of another, and where it is among the pods."""
        hosts = self.info["hosts"]
        own = self.places[source].node
        other = next(node for node in hosts if node != own)
        if name == "host-metrics":
            return [
                *(Target("TCP", hosts[node]["address"], 9100) for node in (own, other)),
                Target("TCP", hosts[leader]["address"], 9379),
            ]
        port = {"kubelet": 10250, "ssh": 22}[name]
        targets = [Target("TCP", hosts[node]["address"], port) for node in (own, other)]
        if name == "ssh":
            cidr = self.core.read_node(own).spec.pod_cidr
            targets.append(Target("TCP", str(next(ip_network(cidr).hosts())), port))
        return targets

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
        # On a host that is short of time an allowed connection may get lost: it has one more try.
        # A denied one has none: it must never be open.
        lost: dict[Place, list[Target]] = {}
        for (source, name), targets in self.wanted.items():
            place = self.places[source]
            lost[place] = lost.get(place, []) + [
                target
                for target in targets
                if ended[place, target] != OPEN and self.allowed(profile, source, name, target)
            ]
        lost = {place: targets for place, targets in lost.items() if targets}
        if lost:
            ended |= self.prober.probe(lost)
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
    probed(profile)
    scene.look()
    assert scene.settle(profile) == []
    # Once more, now that all has settled: none of it was a moment's chance.
    assert scene.disagreements(profile) == []
    heard = speech(scene.info, f"Speech passes with the profile {profile}.")
    assert heard.duration_s > 0.5


def test_strict_again_changes_nothing(scene: Scene) -> None:
    assert changed(probed("strict")) == 0


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
        answer = scene.prober.talk(scene.places[user], address, 443, name, scene.authority)
        assert answer == ("said", GREETING)


@pytest.mark.parametrize("asked", [STORAGE, "www.example.com", None])
def test_gateway_leads_nowhere_else(scene: Scene, asked: str | None) -> None:
    place, (address, _users) = scene.places["license-proxy"], NAMES[LICENSE]
    kind, answer = scene.prober.talk(place, address, 443, asked, scene.authority)
    assert GREETING not in answer
    assert kind == "error" or answer == ""


def test_policies_of_others_stay(scene: Scene, api: client.ApiClient) -> None:
    network = client.NetworkingV1Api(api)

    def named() -> set[str]:
        return {item.metadata.name for item in network.list_namespaced_network_policy(STACK).items}

    theirs = {"podSelector": {"matchLabels": {"no-pod": "has-this"}}, "policyTypes": ["Egress"]}
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
    addresses = {}
    for name in ("api", "worker", "license-proxy", "artifact-sync"):
        [pod, *_others] = pods(core, STACK, f"{COMPONENT}={name},egress-test!=listener")
        aliases = pod.spec.host_aliases or []
        addresses[name] = {host: alias.ip for alias in aliases for host in alias.hostnames}
    assert addresses == {
        "api": {},
        "worker": {},
        "license-proxy": {LICENSE_HOST: "10.96.0.21"},
        "artifact-sync": {STORAGE_HOST: "10.96.0.20"},
    }
