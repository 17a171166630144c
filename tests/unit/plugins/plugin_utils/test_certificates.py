# SPDX-License-Identifier: Apache-2.0
"""The problems and warnings of certificates before they are served."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible_collections.baremetal.sonic.plugins.plugin_utils import certificates, host_names
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
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


def problems_of(
    text: str, key: Key | str, trusted: str, hosts: tuple[str, ...] = (HOST,), *between: str
) -> list[str]:
    """Return what is wrong with one certificate."""
    given = [{"certificate": text, "key": key if isinstance(key, str) else pem(key)}]
    return certificates.problems(given, hosts, [trusted], between, NOW)


def test_right_chain(root: Authority, middle: Authority, key: Key, trusted: str) -> None:
    leaf = middle.issue("leaf", key, [HOST])
    assert problems_of(leaf + middle.certificate, key, trusted) == []
    assert problems_of(leaf + middle.certificate + root.certificate, key, trusted) == []


def test_gap_is_filled_from_a_file(
    middle: Authority, key: Key, trusted: str, tmp_path: Path
) -> None:
    leaf = middle.issue("leaf", key, [HOST])
    extra = tmp_path / "middle.pem"
    extra.write_text(middle.certificate, encoding="utf-8")
    assert problems_of(leaf, key, trusted, (HOST,), str(extra)) == []


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
    [problem] = problems_of(middle.issue("leaf", key, [HOST], issuer_url=url), key, trusted)
    assert "CN=leaf was issued by CN=Middle, whose certificate is missing" in problem
    assert url in problem
    assert "ingress_intermediate_certificates" in problem


def test_root_that_no_client_trusts(key: Key, trusted: str) -> None:
    other = Authority("Elsewhere", now=NOW)
    [problem] = problems_of(other.issue("leaf", key, [HOST]) + other.certificate, key, trusted)
    assert "CN=Elsewhere was issued by CN=Elsewhere, whose certificate is missing" in problem


def test_order_and_what_no_client_needs_are_passed_over_with_a_warning(
    root: Authority, middle: Authority, key: Key, trusted: str
) -> None:
    leaf = middle.issue("leaf", key, [HOST])
    stranger = Authority("Stranger", now=NOW)
    for given, warned in (
        (middle.certificate + leaf, "it is not in order"),
        (root.certificate + middle.certificate + leaf, "it is not in order"),
        (leaf + leaf + middle.certificate, "more than once"),
        (leaf + stranger.certificate + middle.certificate, "CN=Stranger is left out"),
    ):
        assert problems_of(given, key, trusted) == []
        item = {"certificate": given, "key": pem(key)}
        assert certificates.certificate_chains([item], [trusted], [], NOW) == [
            leaf + middle.certificate
        ]
        [warning] = certificates.warnings([item], [trusted], [], NOW)
        assert warned in warning
    right = {"certificate": leaf + middle.certificate + root.certificate, "key": pem(key)}
    assert certificates.warnings([right], [trusted], [], NOW) == []


@pytest.mark.parametrize("end", [90, -1])
def test_chain_stops_at_the_root_that_clients_have(
    middle: Authority, key: Key, root: Authority, trusted: str, end: int
) -> None:
    """As CAs sell it: the root's own certificate by an older root comes last, expired or not."""
    old = Authority("Old root", now=NOW)
    crossed = old.issue("Root", root.key, [], authority=True, end=end)
    leaf = middle.issue("leaf", key, [HOST])
    given = leaf + middle.certificate + crossed
    assert problems_of(given, key, trusted) == []
    item = {"certificate": given, "key": pem(key)}
    assert certificates.certificate_chains([item], [trusted], [], NOW) == [
        leaf + middle.certificate
    ]
    [warning] = certificates.warnings([item], [trusted], [], NOW)
    assert ("expired" in warning) == (end < 0)


def test_longer_way_is_taken_where_the_shorter_one_has_expired(
    root: Authority, middle: Authority, key: Key, trusted: str
) -> None:
    stale = root.issue("Middle", middle.key, [], authority=True, end=-1)
    other = Authority("Other", root)
    crossed = other.issue("Middle", middle.key, [], authority=True)
    leaf = middle.issue("leaf", key, [HOST])
    given = leaf + stale + crossed + other.certificate
    assert problems_of(given, key, trusted) == []
    item = {"certificate": given, "key": pem(key)}
    [shown] = certificates.certificate_chains([item], [trusted], [], NOW)
    assert shown == leaf + crossed + other.certificate


def extension(middle: Authority, key: Key, *extensions: tuple[x509.ExtensionType, bool]) -> str:
    return middle.issue("leaf", key, [HOST], extensions=extensions) + middle.certificate


def usage(**allowed: bool) -> x509.KeyUsage:
    names = [
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    ]  # fmt: skip
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")


@pytest.mark.parametrize(
    ("value", "critical", "message"),
    [
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False, "lacks serverAuth"),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False, "serverAuth"),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), True, ""),
        (usage(crl_sign=True), True, "lacks digitalSignature"),
        (usage(digital_signature=True), True, ""),
        (UNKNOWN, True, "critical extension"),
        (UNKNOWN, False, ""),
    ],
)
def test_usages_and_extensions(
    middle: Authority,
    key: Key,
    trusted: str,
    value: x509.ExtensionType,
    critical: bool,
    message: str,
) -> None:
    problems = problems_of(extension(middle, key, (value, critical)), key, trusted)
    assert len(problems) == (1 if message else 0)
    assert message in "".join(problems)


def test_key_usage_that_browsers_refuse_is_warned_of(
    middle: Authority, key: Key, trusted: str
) -> None:
    text = extension(middle, key, (usage(key_encipherment=True), True))
    assert problems_of(text, key, trusted) == []
    item = {"certificate": text, "key": pem(key)}
    [warning] = certificates.warnings([item], [trusted], [], NOW)
    assert "without digitalSignature, which browsers refuse" in warning


@pytest.mark.parametrize(
    ("extensions", "authority", "message"),
    [
        ([(x509.NameConstraints([x509.DNSName("corp.test")], None), True)], True, "constraints"),
        ([(x509.NameConstraints([x509.DNSName("example.com")], None), True)], True, ""),
        ([(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)], True, "serverAuth"),
        ([(usage(digital_signature=True), True)], True, "keyCertSign"),
        ([], False, "CN=Between may not issue certificates, but issued CN=leaf"),
    ],
)
def test_authority_that_may_not_issue_this(
    root: Authority, key: Key, trusted: str, extensions: Any, authority: bool, message: str
) -> None:
    between = Authority("Between", root)
    text = root.issue("Between", between.key, [], authority=authority, extensions=extensions)
    problems = problems_of(between.issue("leaf", key, [HOST]) + text, key, trusted)
    assert len(problems) == (1 if message else 0)
    assert message in "".join(problems)


def test_path_length(root: Authority, key: Key, trusted: str) -> None:
    upper = Authority("Upper", root)
    lower = Authority("Lower", upper)
    text = root.issue("Upper", upper.key, [], authority=True, path_length=0)
    [problem] = problems_of(
        lower.issue("leaf", key, [HOST]) + lower.certificate + text, key, trusted
    )
    assert "CN=Upper allows 0 authorities below it (pathlen), but has 1" in problem


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (ec.generate_private_key(ec.SECP256K1()), "of the kind secp256k1"),
        (ec.generate_private_key(ec.BrainpoolP256R1()), "of the kind brainpoolP256r1"),
        (ed448.Ed448PrivateKey.generate(), "of the kind Ed448"),
        (dsa.generate_private_key(2048), "of the kind DSA"),
    ],
)
def test_keys_that_clients_refuse(root: Authority, trusted: str, made: Any, message: str) -> None:
    [problem] = problems_of(root.issue("leaf", made, [HOST]), made, trusted)
    assert message in problem


@pytest.mark.parametrize(
    "made", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP521R1())]
)
def test_keys_that_some_clients_refuse(root: Authority, trusted: str, made: Any) -> None:
    text = root.issue("leaf", made, [HOST])
    assert problems_of(text, made, trusted) == []
    item = {"certificate": text, "key": pem(made)}
    [warning] = certificates.warnings([item], [trusted], [], NOW)
    assert "P-256 suits all clients" in warning


def test_curve_that_is_spelled_out(tmp_path: Path, trusted: str) -> None:
    """As keytool and old versions of openssl ecparam make keys."""
    key, text = tmp_path / "key.pem", tmp_path / "leaf.pem"
    ecparam = "openssl ecparam -name prime256v1 -param_enc explicit -genkey -noout -out"
    subprocess.run([*ecparam.split(), str(key)], check=True)
    made = f"openssl req -x509 -days 90 -subj /CN=leaf -addext subjectAltName=DNS:{HOST} -key"
    subprocess.run([*made.split(), str(key), "-out", str(text)], check=True)
    now = datetime.datetime.now(datetime.UTC)
    given = [{"certificate": text.read_text(), "key": key.read_text()}]
    [problem] = certificates.problems(given, [HOST], [str(text)], [], now)
    assert "explicit elliptic curve parameters" in problem


# Python's library signs with nothing weaker.
@pytest.mark.parametrize("algorithm", [hashes.SHA224(), hashes.SHA3_256()])
def test_weak_signature(
    middle: Authority, key: Key, trusted: str, algorithm: hashes.SHA224 | hashes.SHA3_256
) -> None:
    leaf = middle.issue("leaf", key, [HOST], algorithm=algorithm)
    [problem] = problems_of(leaf + middle.certificate, key, trusted)
    assert f"is signed with {algorithm.name}, which clients refuse" in problem


def test_common_name_alone_is_no_name(middle: Authority, key: Key, trusted: str) -> None:
    problems = problems_of(middle.issue(HOST, key, []) + middle.certificate, key, trusted)
    assert "is for no host" in problems[0]
    assert problems[1].startswith(f"ingress_hosts: no certificate is for {HOST}")


def test_renewed_certificate_with_the_same_key(root: Authority, key: Key, trusted: str) -> None:
    old = root.issue("old", key, [HOST], end=-1)
    new = root.issue("new", key, [HOST])
    assert problems_of(old + new, key, trusted) == []
    item = {"certificate": old + new, "key": pem(key)}
    assert certificates.certificate_chains([item], [trusted], [], NOW) == [new]


def test_two_keys(root: Authority, key: Key, trusted: str) -> None:
    leaf = root.issue("leaf", key, [HOST])
    other = pem(ec.generate_private_key(ec.SECP256R1()))
    assert problems_of(leaf, pem(key) + other, trusted) == []
    [problem] = problems_of(leaf, other + pem(key), trusted)
    assert "has 2 keys, and the first does not belong to" in problem


def test_secrets_are_written_anew(middle: Authority, key: Key, trusted: str) -> None:
    """Go's reader, which the controller uses, takes less than a lenient one does."""
    leaf = middle.issue("leaf", key, [HOST])
    bag = "Bag Attributes\r\n    friendlyName: speech\r\n"
    plain = {"tls.crt": leaf + middle.certificate, "tls.key": pem(key)}
    for text, own in (
        (leaf + middle.certificate, pem(key)),
        ("\ufeff" + leaf + middle.certificate, pem(key).replace("\n", "\r\n")),
        (leaf.replace("\n", "\n    ") + middle.certificate, bag + pem(key)),
        (bag + pem(key) + leaf + bag + middle.certificate, pem(key) + leaf),
        (leaf + middle.certificate, traditional(key)),
        (leaf + middle.certificate, pem(key).replace("\n", " \t\n")),
    ):
        given = [{"certificate": text, "key": own}]
        assert certificates.problems(given, [HOST], [trusted], [], NOW) == []
        assert certificates.certificate_secrets(given, [trusted], [], NOW) == [plain]


def traditional(key: Key) -> str:
    """Return a key as openssl ecparam -genkey writes it, after its parameters."""
    form = serialization.PrivateFormat.TraditionalOpenSSL
    text = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    return parameters + text.decode()


def test_hosts_in_any_form(root: Authority, trusted: str) -> None:
    given = [root.server(["speech.example.com", "xn--bcher-kva.example.com", "*.example.org"])]
    hosts = [
        "Speech.Example.com.",
        "b\u00fccher.example.com",
        "*.Example.org",
        "speech.example.com",
    ]
    assert certificates.problems(given, hosts, [trusted], [], NOW) == []
    names = ["speech.example.com", "xn--bcher-kva.example.com", "*.example.org"]
    assert certificates.certificate_hosts(given, hosts) == [names]
    assert certificates.canonical_hosts(hosts) == names
    assert certificates.reachable_hosts(hosts) == [*names[:2], "speech.example.org"]
    served = certificates.served_certificates(given, hosts)
    assert [item["name"] for item in served] == ["", *names[:2], "speech.example.org"]
    leaf = x509.load_pem_x509_certificate(given[0]["certificate"].encode())
    assert {item["sha256"] for item in served} == {leaf.fingerprint(hashes.SHA256()).hex()}


def test_hosts_that_are_none(root: Authority, trusted: str) -> None:
    given = [root.server([HOST])]
    [problem] = certificates.problems(given, [HOST, "a_b.example.com"], [trusted], [], NOW)
    assert problem.startswith("ingress_hosts: 'a_b.example.com' is no host name")
    [empty] = certificates.problems(given, [], [trusted], [], NOW)
    assert empty.startswith("ingress_hosts is empty")
    with pytest.raises(AnsibleError, match="ingress_hosts: a_b"):
        certificates.certificate_hosts(given, ["a_b.example.com"])


def test_key_of_another_certificate(root: Authority, key: Key, trusted: str) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    [problem] = problems_of(root.issue("leaf", key, [HOST]), other, trusted)
    assert "ingress_certificates[0].key does not belong to" in problem


@pytest.mark.parametrize("header", ["", "Bag Attributes\n    friendlyName: mine\n"])
def test_key_with_a_passphrase(root: Authority, key: Key, trusted: str, header: str) -> None:
    locked = header + pem(key, "secret")
    [problem] = problems_of(root.issue("leaf", key, [HOST]), locked, trusted)
    assert "is protected by a passphrase" in problem
    assert "secret" not in problem


def test_old_style_key_with_a_passphrase(root: Authority, key: Key, trusted: str) -> None:
    locked = (
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n"
        "AAAA\n-----END EC PRIVATE KEY-----\n"
    )
    [problem] = problems_of(root.issue("leaf", key, [HOST]), locked, trusted)
    assert "is protected by a passphrase" in problem


def test_all_at_once(root: Authority, key: Key, trusted: str) -> None:
    wrong = root.issue("leaf", key, ["other.example.com"], start=-90, end=-1)
    problems = problems_of(wrong, "no key", trusted)
    assert len(problems) == 4
    assert "ingress_certificates[0].key is not PEM" in problems[0]
    assert "is for other.example.com, for none of ingress_hosts=speech.example.com" in problems[1]
    assert "CN=leaf expired on 2026-05-31" in problems[2]
    assert "ingress_hosts: no certificate is for speech.example.com" in problems[3]


def test_not_valid_yet(root: Authority, key: Key, trusted: str) -> None:
    [problem] = problems_of(root.issue("leaf", key, [HOST], start=5), key, trusted)
    assert "valid only from 2026-06-06" in problem


def test_short_key(root: Authority, trusted: str) -> None:
    short = rsa.generate_private_key(65537, 1024)
    [problem] = problems_of(root.issue("leaf", short, [HOST]), short, trusted)
    assert "has an RSA key of 1024 bits" in problem


def test_no_certificate_at_all(trusted: str) -> None:
    problems = problems_of("nothing", "nothing", trusted)
    assert [line[:47] for line in problems] == [
        "ingress_certificates[0].certificate is not PEM ",
        "ingress_certificates[0].key is not PEM text of ",
    ]


def test_file_that_is_not_there(root: Authority, key: Key, trusted: str) -> None:
    [problem] = problems_of(root.issue("leaf", key, [HOST]), key, trusted, (HOST,), "/nowhere.pem")
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
    assert host_names.matches(pattern, host) is covered
