# SPDX-License-Identifier: Apache-2.0
"""The platform on a cluster with another team's Prometheus and ingress controller."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from kubernetes import client

from lab.waiting import wait, wait_while
from plugins.module_utils._kube.client import KubeClient
from tests.monitoring import Prometheus
from tests.playbooks import on_lab

STACK, MONITORING, INGRESS = "cartesia", "monitoring", "ingress"
OURS = {"kube-state-metrics", "node-metrics", "etcd-metrics"}


def workloads(apps: client.AppsV1Api, namespace: str) -> set[str]:
    """Names of a namespace's Deployments and DaemonSets."""
    deployments = [
        *apps.list_namespaced_deployment(namespace).items,
        *apps.list_namespaced_daemon_set(namespace).items,
    ]
    return {item.metadata.name for item in deployments}


@pytest.fixture(scope="module")
def theirs(api: client.ApiClient) -> Iterator[None]:
    """The lab's platform without what another site would have already; put back afterwards.

    The Prometheus that stays stands for theirs: it takes up whatever has the label that a
    kube-prometheus-stack goes by.
    """
    on_lab(
        "platform.yml",
        prometheus_install=False,
        ingress_install=False,
        ingress_class="theirs",
        ingress_virtual_ip="",
        ingress_annotations={"theirs.example.com/timeout": "3600"},
    )
    try:
        yield
    finally:
        on_lab("platform.yml")


@pytest.mark.soak
def test_our_controller_makes_room_and_the_route_is_theirs(
    theirs: None, api: client.ApiClient, apps: client.AppsV1Api, core: client.CoreV1Api
) -> None:
    assert not workloads(apps, INGRESS)
    networking = client.NetworkingV1Api(api)
    classes = {item.metadata.name for item in networking.list_ingress_class().items}
    assert "haproxy" not in classes
    route = networking.read_namespaced_ingress("cartesia-api", STACK)
    assert route.spec.ingress_class_name == "theirs"
    assert route.metadata.annotations["theirs.example.com/timeout"] == "3600"
    for entry in route.spec.tls:
        secret = core.read_namespaced_secret(entry.secret_name, STACK)
        assert secret.type == "kubernetes.io/tls"


@pytest.mark.soak
def test_what_measures_the_cluster_is_theirs_and_what_was_measured_stays(
    theirs: None, api: client.ApiClient, apps: client.AppsV1Api
) -> None:
    left = workloads(apps, MONITORING)
    assert not left & OURS
    assert {"blackbox-exporter", "json-exporter"} <= left
    where = ("monitoring.coreos.com", "v1", MONITORING, "prometheuses")
    assert client.CustomObjectsApi(api).list_namespaced_custom_object(*where)["items"]


@pytest.mark.soak
def test_their_prometheus_reads_the_stack(theirs: None, info: dict[str, Any]) -> None:
    # As their own tools would: our way to it from outside is gone with our installation.
    service = f"/api/v1/namespaces/{MONITORING}/services/prometheus-operated:9090/proxy"
    kube = KubeClient(info["kubeconfig"])
    query = f'min(up{{namespace="{STACK}",container="worker"}})'

    def read() -> bool:
        items = kube.get(f"{service}/api/v1/query", query=query)["data"]["result"]
        return bool(items) and items[0]["value"][1] == "1"

    wait("samples of the workers", read, 60)


@pytest.mark.soak
def test_the_prometheus_that_stays_is_still_known(
    theirs: None, core: client.CoreV1Api, prometheus: Prometheus
) -> None:
    """It has the account for which its token was made: it finds new pods, and kubelets answer."""
    on_lab("platform.yml")
    accounts = core.list_namespaced_service_account(MONITORING).items
    [account] = [item for item in accounts if item.metadata.name == "prometheus"]
    [pod] = core.list_namespaced_pod(MONITORING, label_selector="prometheus=prometheus").items
    assert account.metadata.creation_timestamp <= pod.metadata.creation_timestamp
    began = datetime.now(UTC)

    def unread() -> dict[str, str]:
        targets = prometheus.get("targets", state="active")["activeTargets"]
        return {
            item["scrapeUrl"]: item["lastError"]
            for item in targets
            if item["health"] != "up" or datetime.fromisoformat(item["lastScrape"]) < began
        }

    wait_while(unread, 90)


@pytest.mark.soak
def test_everything_is_back_and_another_run_changes_nothing(
    theirs: None, apps: client.AppsV1Api
) -> None:
    on_lab("platform.yml")
    assert workloads(apps, MONITORING) >= OURS
    assert "haproxy-ingress" in workloads(apps, INGRESS)
    assert re.findall(r"changed=(\d+)", on_lab("platform.yml")) == ["0"]


def test_certificate_that_serves_no_host_goes_with_its_key(
    core: client.CoreV1Api, info: dict[str, Any]
) -> None:
    def kept() -> set[str]:
        name = "app.kubernetes.io/name=ingress-certificate"
        secrets = core.list_namespaced_secret(STACK, label_selector=name).items
        return {secret.metadata.name for secret in secrets}

    before = kept()
    assert before == {"ingress-certificate-1", "ingress-certificate-2"}
    given = Path(info["ca_file"]).parent / "ingress.pem"
    only = {
        "certificate": given.read_text(encoding="utf-8"),
        "key": given.with_suffix(".key").read_text(encoding="utf-8"),
    }
    try:
        output = on_lab(
            "platform.yml", "-vvv", ingress_hosts=info["ingress_hosts"][:1],
            ingress_certificates=[only],
        )  # fmt: skip
        assert kept() == {"ingress-certificate-1"}
        assert "Secret ingress-certificate-2" in output
        assert only["key"].splitlines()[1] not in output
    finally:
        on_lab("platform.yml")
    assert kept() == before


@pytest.mark.soak
def test_wildcard_and_certificate_as_they_were_pasted(info: dict[str, Any]) -> None:
    """The run ends only when each ingress host serves it: what it says is what clients get."""
    folder = Path(info["ca_file"]).parent
    issuer = x509.load_pem_x509_certificate((folder / "intermediate.pem").read_bytes())
    signer = load_pem_private_key((folder / "intermediate.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("*.lab.test")]), critical=True)
        .sign(signer, hashes.SHA256())
    )
    leaf = made.public_bytes(Encoding.PEM).decode()
    form = (Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    lines = ((folder / "ca.pem").read_text(encoding="utf-8") + leaf + leaf).splitlines()
    given = {
        "certificate": "\ufeff" + "".join(f"    {line}\r\n" for line in lines),
        "key": leaf + key.private_bytes(*form).decode().replace("\n", "\r\n"),
    }
    context = ssl.create_default_context(cafile=info["ca_file"])
    try:
        on_lab("platform.yml", ingress_hosts=["*.Lab.test."], ingress_certificates=[given])
        with (
            socket.create_connection((info["ingress_address"], 443), 10) as plain,
            context.wrap_socket(plain, server_hostname="anything.lab.test") as secure,
        ):
            assert secure.getpeercert(binary_form=True) == made.public_bytes(Encoding.DER)
    finally:
        on_lab("platform.yml")
