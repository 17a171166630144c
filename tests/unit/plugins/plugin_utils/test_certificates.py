# SPDX-License-Identifier: Apache-2.0
"""What is said of certificates before they are served."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible_collections.baremetal.sonic.plugins.plugin_utils import certificates
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.unit.plugins.plugin_utils.authority import Authority, Key, pem

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
HOST = "speech.example.com"


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority("Root", now=NOW)


@pytest.fixture(scope="module")
def middle(root: Authority) -> Authority:
    return Authority("Middle", root)


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def trusted(tmp_path: Path, root: Authority) -> str:
    path = tmp_path / "root.pem"
    path.write_text(root.certificate, encoding="utf-8")
    return str(path)


def told(
    text: str, key: Key | str, trusted: str, hosts: tuple[str, ...] = (HOST,), *between: str
) -> list[str]:
    """Return what is wrong with one certificate."""
    given = [{"certificate": text, "key": key if isinstance(key, str) else pem(key)}]
    return certificates.problems(given, hosts, [trusted], between, NOW)


def test_right_chain(root: Authority, middle: Authority, key: Key, trusted: str) -> None:
    leaf = middle.issue("leaf", key, [HOST])
    assert told(leaf + middle.certificate, key, trusted) == []
    assert told(leaf + middle.certificate + root.certificate, key, trusted) == []


def test_gap_is_filled_from_a_file(
    middle: Authority, key: Key, trusted: str, tmp_path: Path
) -> None:
    leaf = middle.issue("leaf", key, [HOST])
    extra = tmp_path / "middle.pem"
    extra.write_text(middle.certificate, encoding="utf-8")
    assert told(leaf, key, trusted, (HOST,), str(extra)) == []


def test_chain_is_shown_whole_and_without_its_root(
    root: Authority, middle: Authority, key: Key, trusted: str, tmp_path: Path
) -> None:
    leaf = middle.issue("leaf", key, [HOST])
    extra = tmp_path / "middle.pem"
    extra.write_text(middle.certificate, encoding="utf-8")

    def shown(text: str, *between: str) -> str:
        [chain] = certificates.certificate_chains([{"certificate": text}], [trusted], between)
        return chain

    whole = leaf + middle.certificate
    assert shown(leaf, str(extra)) == whole
    assert shown(whole) == whole
    assert shown(whole, str(extra)) == whole
    assert shown(whole + root.certificate) == whole


def test_root_that_serves_itself_is_shown(root: Authority, trusted: str) -> None:
    given = [{"certificate": root.certificate}]
    assert certificates.certificate_chains(given, [trusted], []) == [root.certificate]


def test_chain_of_nonsense(trusted: str) -> None:
    with pytest.raises(AnsibleError, match=r"ingress_certificates\[0\]"):
        certificates.certificate_chains([{"certificate": "none"}], [trusted], [])
    with pytest.raises(AnsibleError, match=r"ingress_root_certificates: /nowhere\.pem"):
        certificates.certificate_chains([], ["/nowhere.pem"], [])


def test_missing_intermediate(middle: Authority, key: Key, trusted: str) -> None:
    url = "http://ca.example.com/middle.crt"
    [problem] = told(middle.issue("leaf", key, [HOST], issuer_url=url), key, trusted)
    assert "CN=leaf was issued by CN=Middle, whose certificate is missing" in problem
    assert url in problem
    assert "ingress_intermediate_certificates" in problem


def test_root_that_nobody_trusts(key: Key, trusted: str) -> None:
    other = Authority("Elsewhere", now=NOW)
    [problem] = told(other.issue("leaf", key, [HOST]) + other.certificate, key, trusted)
    assert "CN=Elsewhere was issued by CN=Elsewhere, whose certificate is missing" in problem


def test_leaf_is_not_first(middle: Authority, key: Key, trusted: str) -> None:
    problems = told(middle.certificate + middle.issue("leaf", key, [HOST]), key, trusted)
    assert any("has the host's own certificate in place 2: put it first" in p for p in problems)
    assert any("CN=leaf did not issue CN=Middle" in p for p in problems)


def test_stranger_in_the_chain(middle: Authority, key: Key, trusted: str) -> None:
    stranger = Authority("Stranger", now=NOW)
    chain = middle.issue("leaf", key, [HOST]) + stranger.certificate
    [problem] = told(chain, key, trusted)
    assert "CN=Stranger did not issue CN=leaf" in problem


def test_key_of_another_certificate(root: Authority, key: Key, trusted: str) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    [problem] = told(root.issue("leaf", key, [HOST]), other, trusted)
    assert "ingress_certificates[0].key does not belong to" in problem


@pytest.mark.parametrize("header", ["", "Bag Attributes\n    friendlyName: mine\n"])
def test_key_with_a_passphrase(root: Authority, key: Key, trusted: str, header: str) -> None:
    locked = header + pem(key, "secret")
    [problem] = told(root.issue("leaf", key, [HOST]), locked, trusted)
    assert "is protected by a passphrase" in problem
    assert "secret" not in problem


def test_old_style_key_with_a_passphrase(root: Authority, key: Key, trusted: str) -> None:
    locked = (
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n"
        "AAAA\n-----END EC PRIVATE KEY-----\n"
    )
    [problem] = told(root.issue("leaf", key, [HOST]), locked, trusted)
    assert "is protected by a passphrase" in problem


def test_all_at_once(root: Authority, key: Key, trusted: str) -> None:
    wrong = root.issue("leaf", key, ["other.example.com"], start=-90, end=-1)
    problems = told(wrong, "no key", trusted)
    assert len(problems) == 4
    assert "ingress_certificates[0].key is not PEM" in problems[0]
    assert "is for other.example.com, for none of ingress_hosts=speech.example.com" in problems[1]
    assert "CN=leaf expired on 2026-05-31" in problems[2]
    assert "ingress_hosts: no certificate is for speech.example.com" in problems[3]


def test_not_valid_yet(root: Authority, key: Key, trusted: str) -> None:
    [problem] = told(root.issue("leaf", key, [HOST], start=5), key, trusted)
    assert "valid only from 2026-06-06" in problem


def test_short_key(root: Authority, trusted: str) -> None:
    short = rsa.generate_private_key(65537, 1024)
    [problem] = told(root.issue("leaf", short, [HOST]), short, trusted)
    assert "has an RSA key of 1024 bits" in problem


def test_no_certificate_at_all(trusted: str) -> None:
    [problem] = told("nothing", "nothing", trusted)
    assert problem.startswith("ingress_certificates[0].certificate is not PEM text")


def test_file_that_is_not_there(root: Authority, key: Key, trusted: str) -> None:
    [problem] = told(root.issue("leaf", key, [HOST]), key, trusted, (HOST,), "/nowhere.pem")
    assert problem.startswith("ingress_intermediate_certificates: /nowhere.pem cannot be used")


def test_each_host_has_a_certificate(root: Authority, trusted: str) -> None:
    given = [root.server(["*.example.com"]), root.server(["voice.example.org"])]
    hosts = ["a.example.com", "b.example.com", "voice.example.org"]
    assert certificates.problems(given, hosts, [trusted], [], NOW) == []
    assert certificates.certificate_hosts(given, hosts) == [hosts[:2], hosts[2:]]
    [problem] = certificates.problems(given, [*hosts, "c.example.org"], [trusted], [], NOW)
    assert problem.startswith("ingress_hosts: no certificate is for c.example.org")


def test_first_certificate_wins(root: Authority) -> None:
    given = [root.server([HOST]), root.server(["*.example.com"])]
    hosts = [HOST, "voice.example.com"]
    assert certificates.certificate_hosts(given, hosts) == [[HOST], ["voice.example.com"]]


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
    assert certificates.matches(pattern, host) is covered


SERVERS = ["nats", "nats-0.nats-headless", "nats-1.nats-headless", "nats-2.nats-headless"]


def nats(authority: Authority, hosts: list[str], servers: int = 3, **changed: Any) -> list[str]:
    """What is wrong with a certificate that an authority makes for NATS, some of it changed."""
    made = authority.server(hosts, changed.pop("usages", ()))
    given = {"ca": authority.certificate, **made, **changed}
    return certificates.nats_problems(**given, servers=servers)


@pytest.mark.parametrize(
    ("hosts", "servers"), [(["nats"], 1), (SERVERS, 3), (["nats", "*.nats-headless"], 3)]
)
def test_nats_certificate(hosts: list[str], servers: int) -> None:
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    assert nats(Authority(), hosts, servers) == []
    assert nats(Authority(), hosts, servers, usages=both) == []


def test_nats_certificate_of_several_servers_is_for_all_of_them() -> None:
    [problem] = nats(Authority(), SERVERS[:2])
    assert problem.startswith("nats_certificate is for nats, nats-0.nats-headless, not for nats-1")
    [problem] = nats(Authority(), ["other"], 1)
    assert "not for nats:" in problem


def test_nats_servers_are_each_others_clients() -> None:
    usages = [ExtendedKeyUsageOID.SERVER_AUTH]
    assert nats(Authority(), ["nats"], 1, usages=usages) == []
    [problem] = nats(Authority(), SERVERS, usages=usages)
    assert "clientAuth" in problem


def test_everything_wrong_with_a_nats_certificate_is_told() -> None:
    other = Authority("Other CA")
    made = {"ca": other.certificate, "key": other.server(["nats"])["key"]}
    found = nats(Authority(), ["nats"], 1, **made)
    assert [line.partition(" ")[0] for line in found] == ["nats_key", "nats_certificate:"]
    assert "or to nats_ca" in found[1]
    late = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=400)
    [expired] = nats(Authority(), ["nats"], 1, now=late)
    assert expired.startswith("nats_certificate: CN=server expired")
    unread = nats(Authority(), ["nats"], 1, certificate="c", ca="a")
    assert [line.partition(" ")[0] for line in unread] == ["nats_ca", "nats_certificate"]
