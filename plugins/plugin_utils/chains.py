# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Build the path from a server's certificate to a root as clients do, or explain a failure."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import pem

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.x509 import verification
    from cryptography.x509.oid import (
        AuthorityInformationAccessOID,
        ExtendedKeyUsageOID,
        SignatureAlgorithmOID,
    )

    _AGNOSTIC = verification.Criticality.AGNOSTIC
    _POLICY = verification.ExtensionPolicy
except (ImportError, AttributeError) as error:
    IMPORT_ERROR: Exception | None = error
else:
    IMPORT_ERROR = None

# Certificates between the server's own and the root. Public chains have one or two.
MAX_BETWEEN = 6
# OpenSSL's security level 2 requires 112 bits. Debian builds HAProxy with this level.
MIN_RSA_BITS = 2048
# The longest keys that OpenSSL verifies (OPENSSL_RSA_MAX_MODULUS_BITS).
MAX_RSA_BITS = 16384
# Go and browsers accept signatures with these only.
HASHES = ("sha256", "sha384", "sha512")
# Curves that browsers, Go and Python accept, by their names in cryptography.
CURVES = ("secp256r1", "secp384r1", "secp521r1")
# The object identifiers prime-field and characteristic-two-field, DER. They mark a key with
# explicit curve parameters instead of a name, which RFC 5480, 2.1.1, forbids.
_FIELDS = (bytes.fromhex("06072a8648ce3d0101"), bytes.fromhex("06072a8648ce3d0102"))


@dataclass(frozen=True)
class Authorities:
    """The certificates that clients trust, and those that may complete a chain."""

    roots: Sequence[x509.Certificate]
    between: Sequence[x509.Certificate] = ()


def title(certificate: x509.Certificate) -> str:
    """Return the subject; without a subject the serial number."""
    return certificate.subject.rfc4514_string() or f"serial {certificate.serial_number:x}"


def issued(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """Whether the parent issued the child, by name and signature."""
    try:
        child.verify_directly_issued_by(parent)
    except InvalidSignature:
        return False
    except pem.UNREADABLE:
        return False
    return True


def verified(
    leaf: x509.Certificate,
    pool: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: datetime.datetime,
) -> list[x509.Certificate]:
    """Return the shortest path from the leaf to a root that a client accepts at a time.

    Signatures, dates, constraints, key sizes and usages are validated (RFC 5280, 6). The host name
    is not.

    Raises:
        verification.VerificationError: there is no such path.
    """
    if not roots:
        raise verification.VerificationError("no root is trusted")
    builder = (
        verification.PolicyBuilder()
        .store(verification.Store(list(roots)))
        .time(now)
        .extension_policies(ca_policy=_authority_policy(), ee_policy=_server_policy())
    )
    depth = 0
    while True:
        verifier = builder.max_chain_depth(depth).build_client_verifier()
        try:
            return list(verifier.verify(leaf, list(pool)).chain)
        except verification.VerificationError:
            if depth == MAX_BETWEEN:
                raise
        depth += 1


def best(
    leaf: x509.Certificate,
    given: Sequence[x509.Certificate],
    authorities: Authorities,
    now: datetime.datetime,
) -> list[x509.Certificate]:
    """Return the shortest path that a client accepts; else the best by names and signatures."""
    path = _linked(leaf, [*given, *authorities.between], authorities.roots)
    try:
        return verified(leaf, _reachable(leaf, given, authorities), authorities.roots, now)
    except verification.VerificationError:
        return path


def shown(
    path: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    """Return the certificates of a path that a server sends: all but the root (RFC 8446, 4.4.2)."""
    return [item for item in path if item not in roots] or list(path[:1])


def path_problems(
    leaf: x509.Certificate,
    given: Sequence[x509.Certificate],
    authorities: Authorities,
    now: datetime.datetime,
) -> tuple[list[str], x509.Certificate | None]:
    """Return why clients refuse a certificate, and the one whose issuer is missing, if any."""
    if leaf in authorities.roots:
        # A client that trusts the certificate itself builds no path.
        return certificate_problems(leaf, now, leaf), None
    try:
        verified(leaf, _reachable(leaf, given, authorities), authorities.roots, now)
    except verification.VerificationError as error:
        path = _linked(leaf, [*given, *authorities.between], authorities.roots)
        messages = [line for item in path for line in certificate_problems(item, now, leaf)]
        if not _trusted(path[-1], authorities.roots):
            return messages, path[-1]
        return messages or _authority_problems(path) or [_refusal(leaf, error)], None
    return [], None


def certificate_problems(
    item: x509.Certificate, now: datetime.datetime, leaf: x509.Certificate
) -> list[str]:
    """Return what is wrong with one certificate of a path, apart from the path."""
    messages = []
    name = title(item)
    if item.not_valid_after_utc < now:
        messages.append(f"{name} expired on {item.not_valid_after_utc:%Y-%m-%d}: renew it")
    if item.not_valid_before_utc > now:
        messages.append(
            f"{name} is valid only from {item.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; is the"
            " clock right?"
        )
    messages += [f"{name} {line}" for line in _key_problems(item)]
    used = _hash_name(item)
    if used and used not in HASHES and item.subject != item.issuer:
        messages.append(f"{name} is signed with {used}, which clients refuse: renew it")
    if item == leaf:
        messages += _usage_problems(leaf)
    return messages


def leaf_warnings(leaf: x509.Certificate) -> list[str]:
    """Return why some clients refuse a server's certificate."""
    key = leaf.public_key()
    name = title(leaf)
    messages = []
    if not _signs(leaf):
        # RFC 8446, 4.4.2.2. The server signs with every cipher that the ingress offers.
        messages.append(f"{name} has a key usage without digitalSignature, which browsers refuse")
    if isinstance(key, ed25519.Ed25519PublicKey):
        messages.append(
            f"{name} has an Ed25519 key, which browsers refuse: P-256 suits all clients"
        )
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == CURVES[2]:
        messages.append(f"{name} has a P-521 key, which Chrome refuses: P-256 suits all clients")
    return messages


def _signs(leaf: x509.Certificate) -> bool:
    try:
        value = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return bool(value.digital_signature)


def issuer_url(certificate: x509.Certificate) -> str:
    """Return the URL of the issuer's certificate; empty if the certificate has none."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    except x509.ExtensionNotFound:
        return ""
    for item in access.value:
        if item.access_method == AuthorityInformationAccessOID.CA_ISSUERS:
            return str(item.access_location.value)
    return ""


def _authority_policy() -> verification.ExtensionPolicy:
    return (
        _POLICY.permit_all()
        .require_present(x509.BasicConstraints, _AGNOSTIC, _may_issue)
        .may_be_present(x509.KeyUsage, _AGNOSTIC, _may_sign_certificates)
        .may_be_present(x509.ExtendedKeyUsage, _AGNOSTIC, _for_servers)
    )


def _server_policy() -> verification.ExtensionPolicy:
    return (
        _POLICY.permit_all()
        .may_be_present(x509.SubjectAlternativeName, _AGNOSTIC, None)
        .may_be_present(x509.KeyUsage, _AGNOSTIC, _may_sign_handshakes)
        .may_be_present(x509.ExtendedKeyUsage, _AGNOSTIC, _for_servers)
    )


def _may_issue(_policy: object, _item: x509.Certificate, value: x509.BasicConstraints) -> None:
    if not value.ca:
        raise ValueError("it may not issue certificates")


def _may_sign_certificates(
    _policy: object, _item: x509.Certificate, value: x509.KeyUsage | None
) -> None:
    if value is not None and not value.key_cert_sign:
        raise ValueError("its key usage lacks keyCertSign")


def _may_sign_handshakes(
    _policy: object, _item: x509.Certificate, value: x509.KeyUsage | None
) -> None:
    # The same rule as OpenSSL's purpose sslserver.
    if value is not None and not (
        value.digital_signature or value.key_encipherment or value.key_agreement
    ):
        raise ValueError("its key usage lacks digitalSignature")


def _for_servers(
    _policy: object, _item: x509.Certificate, value: x509.ExtendedKeyUsage | None
) -> None:
    # RFC 5280, 4.2.1.12: without the extension every use is allowed. OpenSSL does not accept
    # anyExtendedKeyUsage in place of serverAuth.
    if value is not None and ExtendedKeyUsageOID.SERVER_AUTH not in value:
        raise ValueError("its extended key usage lacks serverAuth")


def _usage_problems(leaf: x509.Certificate) -> list[str]:
    """Return why a certificate may not be used by a server."""
    messages = []
    for item in leaf.extensions:
        try:
            if isinstance(item.value, x509.KeyUsage):
                _may_sign_handshakes(None, leaf, item.value)
            elif isinstance(item.value, x509.ExtendedKeyUsage):
                _for_servers(None, leaf, item.value)
        except ValueError as error:
            messages.append(
                f"{title(leaf)} is not for servers, {error}: ask for a server's certificate"
            )
    return messages


def _key_problems(item: x509.Certificate) -> list[str]:
    """Return why clients refuse a certificate's key: one reason, or none."""
    key = item.public_key()
    kind = type(key).__name__.removesuffix("PublicKey")
    reason = f"has a key of the kind {kind}, which clients refuse: use RSA or the curve P-256"
    if isinstance(key, rsa.RSAPublicKey):
        if item.public_key_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS:
            reason = reason.replace(kind, "RSA-PSS", 1)
        elif key.key_size < MIN_RSA_BITS:
            reason = f"has an RSA key of {key.key_size} bits, which clients and servers refuse"
            reason += f": ask for one with at least {MIN_RSA_BITS}"
        elif key.key_size > MAX_RSA_BITS:
            reason = f"has an RSA key of {key.key_size} bits, more than clients accept"
            reason += ": ask for one with 2048 to 4096"
        else:
            return []
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if any(field in item.tbs_certificate_bytes for field in _FIELDS):
            reason = "has a key with explicit elliptic curve parameters, which clients refuse: make"
            reason += " one with a named curve (openssl genpkey -algorithm EC -pkeyopt"
            reason += " ec_paramgen_curve:P-256)"
        elif key.curve.name in CURVES:
            return []
        else:
            reason = reason.replace(kind, key.curve.name, 1)
    elif isinstance(key, ed25519.Ed25519PublicKey):
        return []
    return [reason]


def _hash_name(item: x509.Certificate) -> str:
    try:
        used = item.signature_hash_algorithm
    except pem.UNREADABLE:
        return ""
    return used.name if used is not None else ""


def _authority_problems(path: Sequence[x509.Certificate]) -> list[str]:
    """Return which certificates of a path may not issue the one before them."""
    messages = []
    for below, item in enumerate(path[1:]):
        try:
            basic = item.extensions.get_extension_for_class(x509.BasicConstraints).value
        except x509.ExtensionNotFound:
            messages.append(f"{title(item)} does not say that it may issue certificates")
            continue
        if not basic.ca:
            messages.append(
                f"{title(item)} may not issue certificates, but issued {title(path[below])}"
            )
        elif basic.path_length is not None and basic.path_length < below:
            messages.append(
                f"{title(item)} allows {basic.path_length} authorities below it (pathlen), but has"
                f" {below}"
            )
    return [f"{line}: ask your CA for another chain" for line in messages]


def _refusal(leaf: x509.Certificate, error: Exception) -> str:
    """Return a message with the verifier's reason."""
    reason = str(error).removeprefix("validation failed: ").split(" (encountered processing")[0]
    reason = reason.removeprefix("candidates exhausted: ")
    reason = reason.removeprefix("Python extension validator failed: ").removeprefix("ValueError: ")
    return f"{title(leaf)} is refused by clients: {reason}. Ask your CA for another one"


def _parents(
    child: x509.Certificate, pool: Sequence[x509.Certificate]
) -> Iterator[x509.Certificate]:
    return (item for item in pool if item.subject == child.issuer and issued(child, item))


def _trusted(certificate: x509.Certificate, roots: Sequence[x509.Certificate]) -> bool:
    """Whether a certificate is a root, or was issued by one."""
    return certificate in roots or any(_parents(certificate, roots))


def _reachable(
    leaf: x509.Certificate, given: Sequence[x509.Certificate], authorities: Authorities
) -> list[x509.Certificate]:
    """Return the certificates that may be on a path of a leaf, the nearest first."""
    pool = [*given, *authorities.between]
    above: list[x509.Certificate] = []
    seen = {leaf}
    front = [leaf]
    for _step in range(MAX_BETWEEN):
        front = [up for item in front for up in _parents(item, pool) if up not in seen]
        front = list(dict.fromkeys(front))
        seen.update(front)
        above += front
    return above


def _linked(
    leaf: x509.Certificate,
    pool: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
) -> list[x509.Certificate]:
    """Return the shortest path by names and signatures alone, or the longest without a root."""
    paths = [[leaf]]
    seen = {leaf}
    longest = paths[0]
    while paths:
        path = paths.pop(0)
        longest = max(longest, path, key=len)
        if path[-1] in roots:
            return path
        if root := next(_parents(path[-1], roots), None):
            return [*path, root]
        for parent in _parents(path[-1], pool):
            if parent not in seen and len(path) <= MAX_BETWEEN:
                seen.add(parent)
                paths.append([*path, parent])
    return longest
