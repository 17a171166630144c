# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Judges the certificates that servers of the site would show, and tells which host gets which."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible.errors import AnsibleError

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )
    from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None

# What OpenSSL's security level 2 asks for, with which Debian builds HAProxy: 112 bits.
MIN_RSA_BITS = 2048
WEAK_HASHES = ("md5", "sha1")


@dataclass(frozen=True)
class Place:
    """Where a certificate and its key were given, and where what its chain lacks belongs."""

    certificate: str
    key: str
    more: str


INGRESS_MORE = (
    "append it to the chain{offered}, or name its file in ingress_intermediate_certificates, or in"
    " ingress_root_certificates if it is a root that your clients trust"
)
NATS_PLACE = Place(
    "nats_certificate",
    "nats_key",
    "append it to the chain{offered}, or to nats_ca if it is a root",
)


def problems(
    certificates: Sequence[Mapping[str, str]],
    hosts: Sequence[str],
    roots: Sequence[str],
    intermediates: Sequence[str] = (),
    now: datetime.datetime | None = None,
) -> list[str]:
    """What is wrong with the certificates that an ingress would serve.

    Args:
        certificates: the variable ingress_certificates: PEM texts by `certificate` and `key`.
        hosts: the names that clients use.
        roots: files with the CA certificates that clients trust, PEM.
        intermediates: files with certificates that may complete a chain, PEM.
        now: the time to judge by; the current time when left out.

    Raises:
        AnsibleError: the controller's Python lacks cryptography.
    """
    _need_cryptography()
    found: list[str] = []
    trusted = _load_files("ingress_root_certificates", roots, found)
    between = _load_files("ingress_intermediate_certificates", intermediates, found)
    covered: set[str] = set()
    for number, item in enumerate(certificates):
        name = f"ingress_certificates[{number}]"
        place = Place(f"{name}.certificate", f"{name}.key", INGRESS_MORE)
        chain = _load(place.certificate, item["certificate"], found)
        if not chain:
            # Of what cannot be read nobody knows for which hosts it is.
            covered.update(hosts)
            continue
        found += _key_problems(place, item["key"], chain)
        names = host_names(chain[0])
        mine = [host for host in hosts if any(matches(pattern, host) for pattern in names)]
        if not mine:
            found.append(
                f"{name} is for {', '.join(names) or 'no host'}, for none of"
                f" ingress_hosts={', '.join(hosts)}: ask for a certificate with these names"
            )
        covered.update(mine)
        found += _chain_problems(place, chain, trusted, between)
        found += _validity_problems(place.certificate, chain, now)
    found += [
        f"ingress_hosts: no certificate is for {host}: add one to ingress_certificates that has"
        " this name among its subject alternative names"
        for host in hosts
        if host not in covered
    ]
    return found


def nats_problems(
    certificate: str,
    key: str,
    ca: str,
    servers: int,
    now: datetime.datetime | None = None,
) -> list[str]:
    """What is wrong with the certificate that all NATS servers of a site share.

    Args:
        certificate: the variable nats_certificate, PEM text with the chain.
        key: nats_key, PEM text.
        ca: nats_ca, PEM text.
        servers: how many there are. Several of them show it to each other, too, on both sides.
        now: the time to judge by; the current time when left out.

    Raises:
        AnsibleError: the controller's Python lacks cryptography.
    """
    _need_cryptography()
    found: list[str] = []
    trusted = _load("nats_ca", ca, found)
    chain = _load(NATS_PLACE.certificate, certificate, found)
    if not chain:
        return found
    found += _key_problems(NATS_PLACE, key, chain)
    names = host_names(chain[0])
    wanted = ["nats"]
    if servers > 1:
        wanted += [f"nats-{number}.nats-headless" for number in range(servers)]
        if not _for_clients(chain[0]):
            found.append(
                "nats_certificate may not be a client's, which each of several servers is to the"
                " others: ask for one with the extended key usage clientAuth beside serverAuth"
            )
    missing = [name for name in wanted if not any(matches(pattern, name) for pattern in names)]
    if missing:
        found.append(
            f"nats_certificate is for {', '.join(names) or 'no host'}, not for"
            f" {', '.join(missing)}: ask for one with these subject alternative names"
        )
    if trusted:
        found += _chain_problems(NATS_PLACE, chain, trusted, ())
    return found + _validity_problems(NATS_PLACE.certificate, chain, now)


def certificate_hosts(
    certificates: Sequence[Mapping[str, str]], hosts: Sequence[str]
) -> list[list[str]]:
    """For each certificate the hosts it serves: a host gets the first one that is for it.

    Raises:
        AnsibleError: one is not PEM text, or the controller's Python lacks cryptography.
    """
    _need_cryptography()
    left = list(hosts)
    served = []
    for chain in _chains(certificates):
        names = host_names(chain[0])
        mine = [host for host in left if any(matches(pattern, host) for pattern in names)]
        left = [host for host in left if host not in mine]
        served.append(mine)
    return served


def certificate_chains(
    certificates: Sequence[Mapping[str, str]],
    roots: Sequence[str],
    intermediates: Sequence[str] = (),
) -> list[str]:
    """What a server shows for each certificate: the chain up to the root, without the root.

    A client has the root already, or does not trust it (RFC 8446, 4.4.2).

    Args:
        certificates: the variable ingress_certificates, in which problems() finds nothing wrong.
        roots: files with the CA certificates that clients trust, PEM.
        intermediates: files with certificates that may complete a chain, PEM.

    Returns:
        PEM texts.

    Raises:
        AnsibleError: something is not PEM text, or the controller's Python lacks cryptography.
    """
    _need_cryptography()
    found: list[str] = []
    trusted = _load_files("ingress_root_certificates", roots, found)
    between = _load_files("ingress_intermediate_certificates", intermediates, found)
    if found:
        raise AnsibleError("; ".join(found))
    chains = []
    for given in _chains(certificates):
        whole = _completed(given, trusted, between)
        shown = [item for item in whole if item not in trusted] or whole
        chains.append("".join(item.public_bytes(Encoding.PEM).decode() for item in shown))
    return chains


def host_names(certificate: x509.Certificate) -> list[str]:
    """Names and addresses that a certificate is for (RFC 6125: only subjectAltName counts)."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    names = list(value.get_values_for_type(x509.DNSName))
    return names + [str(address) for address in value.get_values_for_type(x509.IPAddress)]


def matches(pattern: str, host: str) -> bool:
    """Whether a certificate's name covers a host: a wildcard stands for one whole first label."""
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    if pattern.startswith("*."):
        _first, dot, rest = host.partition(".")
        return bool(dot) and rest == pattern[2:]
    return pattern == host


def _need_cryptography() -> None:
    if IMPORT_ERROR:
        raise AnsibleError(
            f"certificates cannot be judged: {IMPORT_ERROR}. Install cryptography (ansible-core"
            " needs it for its vault, too) in the Python that runs ansible-playbook"
        ) from IMPORT_ERROR


def _chains(certificates: Sequence[Mapping[str, str]]) -> Iterator[list[x509.Certificate]]:
    """Each certificate with those given behind it. Raises AnsibleError: one is not PEM text."""
    for number, item in enumerate(certificates):
        try:
            yield x509.load_pem_x509_certificates(item["certificate"].encode())
        except ValueError as error:
            raise AnsibleError(f"ingress_certificates[{number}].certificate: {error}") from error


def _load(variable: str, text: str, found: list[str]) -> list[x509.Certificate]:
    """The certificates of a PEM text; none, and a problem more, when it is no such text."""
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        found.append(f"{variable} is not PEM text of a certificate: {error}")
        return []


def _for_clients(certificate: x509.Certificate) -> bool:
    """Whether a certificate may be a client's (RFC 5280, 4.2.1.12: without the extension, any)."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return bool(
        {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage)
    )


def _load_files(variable: str, files: Sequence[str], found: list[str]) -> list[x509.Certificate]:
    loaded: list[x509.Certificate] = []
    for name in files:
        try:
            loaded += x509.load_pem_x509_certificates(Path(name).read_bytes())
        except (OSError, ValueError) as error:
            found.append(
                f"{variable}: {name} cannot be used: {error}. Name a file of PEM certificates on"
                " the machine that runs ansible-playbook"
            )
    return loaded


def _key_problems(place: Place, key: str, chain: Sequence[x509.Certificate]) -> list[str]:
    if "ENCRYPTED" in key.partition("\n\n")[0]:
        return [
            (
                f"{place.key} is protected by a passphrase, which a server cannot ask for: take it"
                " off (openssl pkey -in KEY -out PLAIN) and keep the result in a vault"
            )
        ]
    try:
        private = load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError) as error:
        return [f"{place.key} is not PEM text of a private key: {error}"]
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    public = private.public_key().public_bytes(*form)
    owners = [
        number
        for number, item in enumerate(chain, start=1)
        if item.public_key().public_bytes(*form) == public
    ]
    if not owners:
        return [
            (
                f"{place.key} does not belong to {place.certificate}: give the key that the"
                " certificate was requested with"
            )
        ]
    if owners[0] != 1:
        return [
            (
                f"{place.certificate} has the host's own certificate in place {owners[0]}: put it"
                " first, then the one that issued it, and so on"
            )
        ]
    return []


def _issued(child: x509.Certificate, parent: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(parent)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _trusted(certificate: x509.Certificate, roots: Sequence[x509.Certificate]) -> bool:
    """Whether a certificate is one of the roots, or comes from one."""
    return certificate in roots or any(_issued(certificate, root) for root in roots)


def _title(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"serial {certificate.serial_number:x}"


def _chain_problems(
    place: Place,
    chain: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    intermediates: Sequence[x509.Certificate],
) -> list[str]:
    found = [
        f"{place.certificate}: {_title(parent)} did not issue {_title(child)}: put the chain in"
        " order, the host's own first, and leave out what does not belong to it"
        for child, parent in itertools.pairwise(chain)
        if not _issued(child, parent)
    ]
    if found:
        return found
    last = _completed(chain, roots, intermediates)[-1]
    if _trusted(last, roots):
        return []
    offered = f" (its issuer offers it at {url})" if (url := _issuer_url(last)) else ""
    return [
        (
            f"{place.certificate}: {_title(last)} was issued by"
            f" {last.issuer.rfc4514_string() or 'somebody unnamed'}, whose certificate"
            f" is missing: {place.more.format(offered=offered)}"
        )
    ]


def _completed(
    chain: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    intermediates: Sequence[x509.Certificate],
) -> list[x509.Certificate]:
    """The chain, and the intermediate certificates from its end on towards a root."""
    whole = list(chain)
    while not _trusted(whole[-1], roots):
        parents = (item for item in intermediates if item not in whole)
        parent = next((item for item in parents if _issued(whole[-1], item)), None)
        if parent is None:
            break
        whole.append(parent)
    return whole


def _issuer_url(certificate: x509.Certificate) -> str:
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    except x509.ExtensionNotFound:
        return ""
    for item in access.value:
        if item.access_method == AuthorityInformationAccessOID.CA_ISSUERS:
            return str(item.access_location.value)
    return ""


def _validity_problems(
    name: str, chain: Sequence[x509.Certificate], now: datetime.datetime | None
) -> list[str]:
    now = now or datetime.datetime.now(datetime.UTC)
    found = []
    for item in chain:
        title = f"{name}: {_title(item)}"
        if item.not_valid_after_utc < now:
            found.append(f"{title} expired on {item.not_valid_after_utc:%Y-%m-%d}: renew it")
        if item.not_valid_before_utc > now:
            found.append(
                f"{title} is valid only from {item.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; is"
                " the clock right?"
            )
        key = item.public_key()
        if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
            found.append(
                f"{title} has an RSA key of {key.key_size} bits, which clients and servers refuse:"
                f" ask for one with at least {MIN_RSA_BITS}"
            )
        used = item.signature_hash_algorithm
        if used is not None and used.name in WEAK_HASHES and item.subject != item.issuer:
            found.append(f"{title} is signed with {used.name}, which clients refuse: renew it")
    return found
