# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Complete the passwords, keys and certificates of a site's NATS servers."""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.errors import AnsibleError

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
        load_pem_private_key,
    )
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None

USERS = ("api", "stt", "tts")
# NATS reads a password with a first digit as a number. The password is also part of a URL.
PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{15,}")
OFFERINGS = re.compile(r"[0-9a-f]{64}")

AUTHORITY_LIFE = datetime.timedelta(days=3650)
SERVER_LIFE = datetime.timedelta(days=825)
# A certificate with less time left is renewed. The authority outlives what it issues.
SERVER_MARGIN = SERVER_LIFE / 3
AUTHORITY_MARGIN = SERVER_LIFE + SERVER_MARGIN
# The clocks of hosts may be behind.
SKEW = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate, perhaps with others after it, and its private key; PEM texts."""

    certificate: str
    key: str


def complete(
    stored: Sequence[Mapping[str, Any]],
    given: Mapping[str, Any],
    names: Sequence[str],
    now: datetime.datetime | None = None,
) -> dict[str, Any]:
    """Return the secrets of NATS and its clients. Stored ones that are still valid are kept.

    Args:
        stored: those of the Secrets nats-users, nats-authority and nats-tls that exist.
        given: the operator's own secrets, which have priority over stored ones: users (passwords
            by user), and certificate, key and ca, which are all given or all empty.
        names: the DNS names of the certificate.
        now: the time at which certificates must be valid; by default the current time.

    Returns:
        users (passwords by user), offerings (the master key of the keys of offerings), certificate,
        key, ca, and authority (the entries of the Secret of the role's own authority; empty with
        the operator's certificate).

    Raises:
        AnsibleError: the controller's Python lacks cryptography.
    """
    secrets_by_name = {item["metadata"]["name"]: _texts(item.get("data") or {}) for item in stored}
    kept = secrets_by_name.get("nats-users", {})
    users = {user: given["users"].get(user) or _password(kept.get(user, "")) for user in USERS}
    offerings = kept.get("offerings", "")
    if not OFFERINGS.fullmatch(offerings):
        offerings = secrets.token_hex(32)
    made = {"users": users, "offerings": offerings}
    if given["certificate"]:
        tls = {name: given[name] for name in ("certificate", "key", "ca")}
        return made | tls | {"authority": {}}
    _need_cryptography()
    now = now or datetime.datetime.now(datetime.UTC)
    authority = _authority(_pair(secrets_by_name.get("nats-authority", {})), now)
    server = _server(_pair(secrets_by_name.get("nats-tls", {})), authority, names, now)
    return made | {
        "certificate": server.certificate,
        "key": server.key,
        "ca": authority.certificate,
        "authority": {"tls.crt": authority.certificate, "tls.key": authority.key},
    }


def offering_key(master: str, operation: str, model: str) -> str:
    """Return the key with which workers prove their offering.

    services/sonic_reference/sealing.py derives the same key.
    """
    text = f"offering {operation.lower()}/{model}"
    return hmac.new(master.encode(), text.encode(), hashlib.sha256).hexdigest()


def _need_cryptography() -> None:
    if IMPORT_ERROR:
        raise AnsibleError(
            f"certificates cannot be made: {IMPORT_ERROR}. Install cryptography (ansible-core"
            " needs it for its vault, too) in the Python that runs ansible-playbook"
        ) from IMPORT_ERROR


def _texts(data: Mapping[str, str]) -> dict[str, str]:
    """Return a Secret's entries as text, without those that are no text."""
    texts = {}
    for key, value in data.items():
        try:
            texts[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
    return texts


def _password(stored: str) -> str:
    return stored if PASSWORD.fullmatch(stored) else f"p{secrets.token_hex(20)}"


def _pair(entries: Mapping[str, str]) -> Pair:
    return Pair(entries.get("tls.crt", ""), entries.get("tls.key", ""))


def _read(pair: Pair) -> tuple[x509.Certificate, Any] | None:
    """Return the first certificate and its key; None if they are not a pair."""
    try:
        certificate = x509.load_pem_x509_certificates(pair.certificate.encode())[0]
        key = load_pem_private_key(pair.key.encode(), password=None)
    except (ValueError, TypeError):
        return None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    same = certificate.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)
    return (certificate, key) if same else None


def _authority(stored: Pair, now: datetime.datetime) -> Pair:
    """Return the stored authority; if it ends too soon, a new one followed by the old one."""
    pair = _read(stored)
    if pair and pair[0].not_valid_after_utc - now > AUTHORITY_MARGIN:
        return stored
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"NATS authority {secrets.token_hex(4)}")]
    )
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(name, key, now, AUTHORITY_LIFE)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    before = pair[0].public_bytes(Encoding.PEM).decode() if pair else ""
    return Pair(certificate.public_bytes(Encoding.PEM).decode() + before, _pem(key))


def _server(stored: Pair, authority: Pair, names: Sequence[str], now: datetime.datetime) -> Pair:
    """Return the servers' stored certificate; if it is not valid, a new one."""
    read = _read(authority)
    if read is None:
        raise AnsibleError("the authority's key does not belong to its certificate")
    issuer, issuer_key = read
    pair = _read(stored)
    if pair and _serves(pair[0], issuer, names, now):
        return stored
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nats")])
    certificate = (
        _builder(subject, key, now, SERVER_LIFE)
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )
    return Pair(certificate.public_bytes(Encoding.PEM).decode(), _pem(key))


def _builder(
    name: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    life: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _serves(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    names: Sequence[str],
    now: datetime.datetime,
) -> bool:
    """Whether this authority issued a certificate for these names that lasts long enough."""
    try:
        certificate.verify_directly_issued_by(issuer)
        value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    same = set(value.get_values_for_type(x509.DNSName)) == set(names)
    return same and certificate.not_valid_after_utc - now > SERVER_MARGIN


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
