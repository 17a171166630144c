# SPDX-License-Identifier: Apache-2.0
"""Any input for a certificate gets an answer in bounded time, and never an exception."""

from __future__ import annotations

import base64
import random
import time
from pathlib import Path

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import certificates, pem
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.unit.plugins.plugin_utils.authority import Authority
from tests.unit.plugins.plugin_utils.authority import pem as text_of

HOST = "speech.example.com"
KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority("Root")


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory, root: Authority) -> str:
    path: Path = tmp_path_factory.mktemp("trusted") / "root.pem"
    path.write_text(root.certificate, encoding="utf-8")
    return str(path)


def text(der: bytes) -> str:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("seed", range(10))
def test_changed_bytes(root: Authority, trusted: str, seed: int) -> None:
    chance = random.Random(seed)
    [leaf] = pem.certificates(root.issue("leaf", KEY, [HOST, "*.example.com"]))
    der = leaf.public_bytes(Encoding.DER)
    for _turn in range(100):
        changed = bytearray(der)
        for _byte in range(chance.randint(1, 3)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        if changed == der:
            continue
        given = [{"certificate": text(bytes(changed)), "key": text_of(KEY)}]
        assert certificates.problems(given, [HOST], [trusted]), "the signature is wrong at least"
        assert isinstance(certificates.warnings(given, [trusted]), list)


@pytest.mark.parametrize("seed", range(10))
def test_changed_text(root: Authority, trusted: str, seed: int) -> None:
    chance = random.Random(seed)
    right = root.issue("leaf", KEY, [HOST])
    for _turn in range(50):
        both = []
        for whole in (right, text_of(KEY)):
            start, end = sorted(chance.sample(range(len(whole)), 2))
            both.append(
                whole[:start] + chance.choice(["", "\x00", "\ufeff", "=", "-"]) + whole[end:]
            )
        given = [{"certificate": both[0], "key": both[1]}]
        assert all(
            isinstance(line, str) for line in certificates.problems(given, [HOST], [trusted])
        )


def test_many_ways_that_lead_nowhere(trusted: str) -> None:
    """Authorities that all issued each other: the ways double with each of them."""
    names = [Authority(f"A{number}") for number in range(7)]
    crossed = [
        parent.issue(child.name, child.key, [], authority=True)
        for parent in names
        for child in names
        if parent is not child
    ]
    given = [
        {"certificate": names[0].issue("leaf", KEY, [HOST]) + "".join(crossed), "key": text_of(KEY)}
    ]
    began = time.process_time()
    problems = certificates.problems(given, [HOST], [trusted])
    assert "whose certificate is missing" in problems[0]
    assert time.process_time() - began < 30
