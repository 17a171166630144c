# SPDX-License-Identifier: Apache-2.0
"""What preflight says of certificates, GPUs and cloned hosts."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import preflight
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
HOST = "speech.example.com"


def pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    return key.private_bytes(*form, serialization.NoEncryption()).decode()


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """Issues certificates for the tests."""

    def __init__(self, name: str = "Test CA") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name
        self.certificate = self.issue(name, self.key, [], authority=True)

    def issue(
        self,
        subject: str,
        key: ec.EllipticCurvePrivateKey,
        hosts: list[str],
        *,
        start: int = -10,
        end: int = 90,
        authority: bool = False,
    ) -> str:
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + datetime.timedelta(days=start))
            .not_valid_after(NOW + datetime.timedelta(days=end))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if hosts:
            names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def test_right_chain(authority: Authority, key: ec.EllipticCurvePrivateKey) -> None:
    chain = authority.issue("leaf", key, [HOST]) + authority.certificate
    assert preflight.certificate_problems(chain, pem(key), HOST, NOW) == []


def test_key_of_another_certificate(authority: Authority, key: ec.EllipticCurvePrivateKey) -> None:
    other = pem(ec.generate_private_key(ec.SECP256R1()))
    [problem] = preflight.certificate_problems(
        authority.issue("leaf", key, [HOST]), other, HOST, NOW
    )
    assert "ingress_certificate_key does not belong to ingress_certificate" in problem


def test_all_at_once(authority: Authority, key: ec.EllipticCurvePrivateKey) -> None:
    wrong = authority.issue("leaf", key, ["other.example.com"], start=-90, end=-1)
    problems = preflight.certificate_problems(wrong, "no key", HOST, NOW)
    assert len(problems) == 3
    assert "ingress_certificate_key is not PEM" in problems[0]
    assert "is for other.example.com, not for ingress_host=speech.example.com" in problems[1]
    assert "CN=leaf expired on 2026-05-31" in problems[2]


def test_chain_in_the_wrong_order(authority: Authority, key: ec.EllipticCurvePrivateKey) -> None:
    chain = authority.issue("leaf", key, [HOST]) + Authority("Stranger").certificate
    [problem] = preflight.certificate_problems(chain, pem(key), HOST, NOW)
    assert "CN=Stranger did not issue CN=leaf" in problem


def test_not_valid_yet(authority: Authority, key: ec.EllipticCurvePrivateKey) -> None:
    [problem] = preflight.certificate_problems(
        authority.issue("leaf", key, [HOST], start=5), pem(key), HOST, NOW
    )
    assert "valid only from 2026-06-06" in problem


def test_no_certificate_at_all() -> None:
    [problem] = preflight.certificate_problems("nothing", "nothing", HOST, NOW)
    assert problem.startswith("ingress_certificate is not PEM text")


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("speech.example.com", "SPEECH.example.com.", True),
        ("*.example.com", "speech.example.com", True),
        ("*.example.com", "a.speech.example.com", False),
        ("*.example.com", "example.com", False),
        ("speech.example.com", "other.example.com", False),
    ],
)
def test_wildcards(pattern: str, host: str, covered: bool) -> None:
    assert preflight.matches(pattern, host) is covered


def test_cloned_hosts() -> None:
    [problem] = preflight.shared_machine_ids({"b": "1", "a": "1", "c": "2", "d": "", "e": ""})
    assert problem.startswith("a and b have the same /etc/machine-id")


def test_more_gpus_asked_than_there_are() -> None:
    workers: list[dict[str, Any]] = [
        {"name": "a", "replicas": 3},
        {"name": "b", "replicas": 9, "autoscaling": {"enabled": True, "minReplicas": 2}},
        {"name": "c", "replicas": 9, "autoscaling": {"enabled": True, "minReplicas": 0}},
        {"name": "d", "replicas": 0, "autoscaling": {"minReplicas": 2}},
    ]
    [problem] = preflight.gpu_problems(workers, {"gpu1": 4})
    assert "asks for 5 GPUs, the inventory has 4 (gpu1 4)" in problem
    assert preflight.gpu_problems(workers, {"gpu1": 4, "gpu2": 1}) == []


def test_unknown_gpus_are_not_judged() -> None:
    assert preflight.gpu_problems([{"name": "a", "replicas": 9}], {"gpu1": None}) == []
    assert preflight.gpu_warnings([{"name": "a", "replicas": 9}], {"gpu1": None}) == []


def scaled(name: str, least: int, most: int, threshold: float = 0.6) -> dict[str, Any]:
    options = {"enabled": True, "minReplicas": least, "maxReplicas": most, "threshold": threshold}
    return {"name": name, "autoscaling": options}


def test_autoscaling_that_may_want_more_gpus_than_there_are() -> None:
    gpus: dict[str, int | None] = {"gpu1": 2, "gpu2": 4}
    [warning] = preflight.gpu_warnings([scaled("a", 1, 7), scaled("b", 1, 2)], gpus)
    assert "worker a: maxReplicas is 7, the inventory has 6 GPUs (gpu1 2, gpu2 4)" in warning
    [warning] = preflight.gpu_warnings([scaled("a", 1, 5), {"name": "b", "replicas": 2}], gpus)
    assert "all workers together may grow to 7 pods, the inventory has 6" in warning
    assert preflight.gpu_warnings([scaled("a", 1, 4), {"name": "b", "replicas": 2}], gpus) == []


@pytest.mark.parametrize(
    ("worker", "says"),
    [
        (scaled("a", -1, 2), "minReplicas is -1: set it to 0 or more"),
        (scaled("a", 3, 2), "maxReplicas is 2: set it to 3 or more"),
        (scaled("a", 0, 0), "maxReplicas is 0: set it to 1 or more"),
        (scaled("a", 1, 2, 60), "threshold is 60: it is a share"),
        (scaled("a", 1, 2, 0), "threshold is 0: it is a share"),
    ],
)
def test_autoscaling_that_cannot_work(worker: dict[str, Any], says: str) -> None:
    [problem] = preflight.scaling_problems([worker])
    assert problem.startswith("worker a: autoscaling.")
    assert says in problem


def test_autoscaling_that_can_work_or_is_off() -> None:
    workers = [scaled("a", 0, 1, 1.0), {"name": "b"}]
    off = {"name": "c", "autoscaling": {"enabled": False, "minReplicas": 5, "maxReplicas": 1}}
    assert preflight.scaling_problems([*workers, off]) == []
