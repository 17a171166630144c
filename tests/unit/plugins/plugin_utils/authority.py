# SPDX-License-Identifier: Apache-2.0
"""A certificate authority for tests."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

Key = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | dsa.DSAPrivateKey
)


def pem(key: Key, passphrase: str = "") -> str:
    """Return a private key as PEM text, protected when there is a passphrase."""
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        protection = serialization.BestAvailableEncryption(passphrase.encode())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    return key.private_bytes(*form, protection).decode()


def named(text: str) -> x509.Name:
    """Return a name that is a common name only."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """Issues certificates; a root, or issued itself by ``parent``. Times count from ``now``."""

    def __init__(
        self,
        name: str = "Test CA",
        parent: Authority | None = None,
        now: datetime.datetime | None = None,
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name
        self.now: datetime.datetime = (
            now or (parent.now if parent else None) or datetime.datetime.now(datetime.UTC)
        )
        self.certificate = (parent or self).issue(name, self.key, [], authority=True)

    def issue(
        self,
        subject: str,
        key: Key,
        hosts: list[str],
        *,
        start: int = -10,
        end: int = 90,
        authority: bool = False,
        issuer_url: str = "",
        usages: Sequence[x509.ObjectIdentifier] = (),
        path_length: int | None = None,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
        algorithm: hashes.SHA224 | hashes.SHA3_256 | None = None,
    ) -> str:
        """Return a certificate as PEM text, valid between two numbers of days from now.

        Each of ``extensions`` says whether it is critical. ``algorithm`` is SHA-256 when left out.
        """
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now + datetime.timedelta(days=start))
            .not_valid_after(self.now + datetime.timedelta(days=end))
            .add_extension(
                x509.BasicConstraints(ca=authority, path_length=path_length), critical=True
            )
        )
        if hosts:
            names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        if issuer_url:
            where = x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(issuer_url)
            )
            builder = builder.add_extension(
                x509.AuthorityInformationAccess([where]), critical=False
            )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(self.key, algorithm or hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def server(
        self, hosts: list[str], usages: Sequence[x509.ObjectIdentifier] = ()
    ) -> dict[str, str]:
        """Return a certificate for hosts and its key, as an item of ingress_certificates."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.issue("server", key, hosts, usages=usages)
        return {"certificate": certificate, "key": pem(key)}
