# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Validate the certificates of the site's servers, and assign them to hosts."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible.errors import AnsibleError

from . import chains, host_names, pem
from .chains import Authorities
from .host_names import matches

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID
except ImportError as error:
    IMPORT_ERROR: Exception | None = error
else:
    IMPORT_ERROR = pem.IMPORT_ERROR or chains.IMPORT_ERROR


@dataclass(frozen=True)
class Place:
    """Variables of a certificate and its key. more: how to add what the chain lacks."""

    certificate: str
    key: str
    more: str


@dataclass(frozen=True)
class Server:
    """A server's own certificate, all certificates given with it, and its key as PKCS #8."""

    leaf: x509.Certificate
    given: Sequence[x509.Certificate]
    key: str = ""


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
    """Return what is wrong with the certificates of an ingress, and with its hosts.

    Args:
        certificates: the variable ingress_certificates: PEM texts by `certificate` and `key`.
        hosts: the names that clients use.
        roots: files with the CA certificates that clients trust, PEM.
        intermediates: files with certificates that may complete a chain, PEM.
        now: the time of validation; by default the current time.

    Raises:
        AnsibleError: the controller's Python lacks cryptography.
    """
    _need_cryptography()
    messages = host_names.problems(hosts)
    names = host_names.usable(hosts)
    authorities = _authorities(roots, intermediates, messages)
    covered: set[str] = set()
    for number, item in enumerate(certificates):
        place = _place(number)
        server = _server(place, item["certificate"], item["key"], messages)
        if server is None:
            # The hosts of an unreadable certificate are unknown: it may be for all of them.
            covered.update(names)
            continue
        mine = _covered(server.leaf, names)
        if names and not mine:
            messages.append(
                f"ingress_certificates[{number}] is for"
                f" {', '.join(certificate_names(server.leaf)) or 'no host'}, for none of"
                f" ingress_hosts={', '.join(names)}: ask for a certificate with these names"
            )
        covered.update(mine)
        messages += _chain_problems(place, server, authorities, _time(now))
    return messages + [
        f"ingress_hosts: no certificate is for {host}: add one to ingress_certificates that has"
        " this name among its subject alternative names"
        for host in names
        if host not in covered
    ]


def warnings(
    certificates: Sequence[Mapping[str, str]],
    roots: Sequence[str],
    intermediates: Sequence[str] = (),
    now: datetime.datetime | None = None,
) -> list[str]:
    """Return how served chains differ from the given ones, and what some clients refuse.

    Args:
        certificates: the variable ingress_certificates, in which problems() finds nothing wrong.
        roots: as for problems().
        intermediates: as for problems().
        now: as for problems().

    Raises:
        AnsibleError: the controller's Python lacks cryptography.
    """
    _need_cryptography()
    authorities = _authorities(roots, intermediates, [])
    warned = []
    for number, item in enumerate(certificates):
        place = _place(number)
        server = _server(place, item["certificate"], item["key"], [])
        if server is not None:
            changes = _changes(server, authorities, _time(now)) + chains.leaf_warnings(server.leaf)
            warned += [f"{place.certificate}: {line}" for line in changes]
    return warned


def nats_problems(
    certificate: str,
    key: str,
    ca: str,
    servers: int,
    now: datetime.datetime | None = None,
) -> list[str]:
    """Return what is wrong with the certificate that all NATS servers of a site share.

    Args:
        certificate: the variable nats_certificate, PEM text with the chain.
        key: nats_key, PEM text.
        ca: nats_ca, PEM text.
        servers: number of servers. Several servers are also clients of each other.
        now: the time of validation; by default the current time.

    Raises:
        AnsibleError: the controller's Python lacks cryptography.
    """
    _need_cryptography()
    messages: list[str] = []
    trusted = _load("nats_ca", ca, messages)
    server = _server(NATS_PLACE, certificate, key, messages)
    if server is None:
        return messages
    if server.given[0] != server.leaf:
        messages.append(
            "nats_certificate has the server's own certificate in place"
            f" {server.given.index(server.leaf) + 1}: put it first, then the one that issued it"
        )
    wanted = ["nats"]
    if servers > 1:
        wanted += [f"nats-{number}.nats-headless" for number in range(servers)]
        if not _for_clients(server.leaf):
            messages.append(
                "nats_certificate may not be a client's, which each of several servers is to the"
                " others: ask for one with the extended key usage clientAuth beside serverAuth"
            )
    covered = _covered(server.leaf, wanted)
    missing = [name for name in wanted if name not in covered]
    if missing:
        messages.append(
            f"nats_certificate is for {', '.join(certificate_names(server.leaf)) or 'no host'}, not"
            f" for {', '.join(missing)}: ask for one with these subject alternative names"
        )
    if trusted:
        messages += _chain_problems(NATS_PLACE, server, Authorities(trusted), _time(now))
    return messages


def certificate_hosts(
    certificates: Sequence[Mapping[str, str]], hosts: Sequence[str]
) -> list[list[str]]:
    """Return the hosts of each certificate. A host gets the first certificate that is for it.

    Raises:
        AnsibleError: a certificate is not PEM text, a host is no host name, or the controller's
            Python lacks cryptography.
    """
    left = _canonical(hosts)
    served = []
    for server in _servers(certificates):
        mine = _covered(server.leaf, left)
        left = [host for host in left if host not in mine]
        served.append(mine)
    return served


def certificate_chains(
    certificates: Sequence[Mapping[str, str]],
    roots: Sequence[str],
    intermediates: Sequence[str] = (),
    now: datetime.datetime | None = None,
) -> list[str]:
    """Return the chain that a server shows for each certificate: the shortest valid path.

    Args:
        certificates: the variable ingress_certificates, in which problems() finds nothing wrong.
        roots: files with the CA certificates that clients trust, PEM.
        intermediates: files with certificates that may complete a chain, PEM.
        now: the time of validation; by default the current time.

    Returns:
        PEM texts that begin with the host's own certificate and leave out the root.

    Raises:
        AnsibleError: a text is not PEM, or the controller's Python lacks cryptography.
    """
    authorities = _readable_authorities(roots, intermediates)
    return [
        pem.encode(_shown(server, authorities, _time(now))) for server in _servers(certificates)
    ]


def certificate_secrets(
    certificates: Sequence[Mapping[str, str]],
    roots: Sequence[str],
    intermediates: Sequence[str] = (),
    now: datetime.datetime | None = None,
) -> list[dict[str, str]]:
    """Return the entries of each certificate's Secret by name.

    Certificates and key are encoded again, so that no other part of the given texts reaches the
    cluster. Arguments and errors are those of certificate_chains().
    """
    authorities = _readable_authorities(roots, intermediates)
    secrets = []
    for number, server in enumerate(_servers(certificates)):
        if not server.key:
            raise AnsibleError(f"{_place(number).key} is not PEM text of a private key")
        chain = pem.encode(_shown(server, authorities, _time(now)))
        secrets.append({"tls.crt": chain, "tls.key": server.key})
    return secrets


def served_certificates(
    certificates: Sequence[Mapping[str, str]], hosts: Sequence[str]
) -> list[dict[str, str]]:
    """Return for each host a name to ask for, and the SHA-256 of its certificate.

    The first entry has no name: a client without a host name gets the first certificate.

    Raises:
        AnsibleError: as certificate_hosts().
    """
    wanted = [("", server.leaf) for server in _servers(certificates)[:1]]
    divided = certificate_hosts(certificates, hosts)
    for server, mine in zip(_servers(certificates), divided, strict=True):
        wanted += [(host_names.concrete(host), server.leaf) for host in mine]
    return [
        {"name": name, "sha256": leaf.fingerprint(hashes.SHA256()).hex()} for name, leaf in wanted
    ]


def canonical_hosts(hosts: Sequence[str]) -> list[str]:
    """Return the variable ingress_hosts in canonical form.

    Raises:
        AnsibleError: an item is no host name.
    """
    return _canonical(hosts)


def reachable_hosts(hosts: Sequence[str]) -> list[str]:
    """Return a name to ask for, for each of ingress_hosts: clients cannot ask for a wildcard.

    Raises:
        AnsibleError: an item is no host name.
    """
    return [host_names.concrete(host) for host in _canonical(hosts)]


def certificate_names(certificate: x509.Certificate) -> list[str]:
    """Return the names and addresses of a certificate's subjectAltName (RFC 6125)."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    names = list(value.get_values_for_type(x509.DNSName))
    return names + [str(address) for address in value.get_values_for_type(x509.IPAddress)]


def _need_cryptography() -> None:
    if IMPORT_ERROR:
        raise AnsibleError(
            f"certificates cannot be validated: {IMPORT_ERROR}. Install cryptography 45 or newer"
            " (ansible-core needs it for its vault, too) in the Python that runs ansible-playbook"
        ) from IMPORT_ERROR


def _time(now: datetime.datetime | None) -> datetime.datetime:
    return now or datetime.datetime.now(datetime.UTC)


def _place(number: int) -> Place:
    name = f"ingress_certificates[{number}]"
    return Place(f"{name}.certificate", f"{name}.key", INGRESS_MORE)


def _canonical(hosts: Sequence[str]) -> list[str]:
    try:
        return host_names.canonical_names(hosts)
    except host_names.HostNameError as error:
        raise AnsibleError(f"ingress_hosts: {error}") from error


def _covered(leaf: x509.Certificate, hosts: Sequence[str]) -> list[str]:
    names = certificate_names(leaf)
    return [host for host in hosts if any(matches(pattern, host) for pattern in names)]


def _load(variable: str, text: str, messages: list[str]) -> list[x509.Certificate]:
    """Return the certificates of a text. If it has none, add a message."""
    try:
        return pem.certificates(text)
    except pem.PemError as error:
        messages.append(f"{variable} {error}")
        return []


def _load_files(variable: str, files: Sequence[str], messages: list[str]) -> list[x509.Certificate]:
    loaded: list[x509.Certificate] = []
    for name in files:
        try:
            loaded += pem.file_certificates(name)
        except (OSError, ValueError) as error:
            messages.append(
                f"{variable}: {name} cannot be used: {error}. Name a file of PEM certificates on"
                " the machine that runs ansible-playbook"
            )
    return loaded


def _authorities(
    roots: Sequence[str], intermediates: Sequence[str], messages: list[str]
) -> Authorities:
    return Authorities(
        _load_files("ingress_root_certificates", roots, messages),
        _load_files("ingress_intermediate_certificates", intermediates, messages),
    )


def _readable_authorities(roots: Sequence[str], intermediates: Sequence[str]) -> Authorities:
    _need_cryptography()
    messages: list[str] = []
    authorities = _authorities(roots, intermediates, messages)
    if messages:
        raise AnsibleError("; ".join(messages))
    return authorities


def _servers(certificates: Sequence[Mapping[str, str]]) -> list[Server]:
    """Return the given certificates. Raises AnsibleError if one cannot be read."""
    _need_cryptography()
    messages: list[str] = []
    servers = [
        _server(_place(number), item["certificate"], item.get("key", ""), messages)
        for number, item in enumerate(certificates)
    ]
    usable = [server for server in servers if server is not None]
    if len(usable) < len(servers):
        raise AnsibleError("; ".join(messages))
    return usable


def _server(place: Place, text: str, key: str, messages: list[str]) -> Server | None:
    """Return a server's certificate with its key. If the key does not fit, add a message."""
    given = _load(place.certificate, text, messages)
    if not given:
        if key:
            _keys(place, key, messages)
        return None
    issuers = {item.issuer for item in given}
    guess = next((item for item in given if item.subject not in issuers), given[0])
    keys = _keys(place, key, messages) if key else []
    if not keys:
        return Server(guess, given)
    owned = [[item for item in given if _public(item) == _public(one.private)] for one in keys]
    if owned[0]:
        # A renewed certificate may have the key of its predecessor.
        latest = max(owned[0], key=lambda item: item.not_valid_after_utc)
        return Server(latest, given, keys[0].text)
    if any(owned):
        messages.append(
            f"{place.key} has {len(keys)} keys, and the first does not belong to"
            f" {place.certificate}: leave out all but the one that it was requested with"
        )
    else:
        messages.append(
            f"{place.key} does not belong to {place.certificate}: give the key that the"
            " certificate was requested with"
        )
    return Server(guess, given, keys[0].text)


def _keys(place: Place, text: str, messages: list[str]) -> list[pem.Key]:
    try:
        return pem.private_keys(text)
    except pem.PemError as error:
        messages.append(f"{place.key} {error}")
        return []


def _public(holder: x509.Certificate | PrivateKeyTypes) -> bytes:
    """Return the public key of a certificate or a private key, for comparison."""
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _shown(
    server: Server, authorities: Authorities, now: datetime.datetime
) -> list[x509.Certificate]:
    path = chains.best(server.leaf, server.given, authorities, now)
    return chains.shown(path, authorities.roots)


def _chain_problems(
    place: Place, server: Server, authorities: Authorities, now: datetime.datetime
) -> list[str]:
    messages, last = chains.path_problems(server.leaf, server.given, authorities, now)
    if not messages and last is None:
        # The library's verifier does not validate all of this in a server's own certificate.
        messages = chains.certificate_problems(server.leaf, now, server.leaf)
    messages = [f"{place.certificate}: {line}" for line in messages]
    if last is not None:
        url = chains.issuer_url(last)
        offered = f" (its issuer offers it at {url})" if url else ""
        messages.append(
            f"{place.certificate}: {chains.title(last)} was issued by"
            f" {last.issuer.rfc4514_string() or 'an authority without a name'}, whose certificate"
            f" is missing: {place.more.format(offered=offered)}"
        )
    return messages


def _changes(server: Server, authorities: Authorities, now: datetime.datetime) -> list[str]:
    """Return how the served chain differs from the given one."""
    served = _shown(server, authorities, now)
    given = [item for item in dict.fromkeys(server.given) if item not in authorities.roots]
    messages = []
    if len(set(server.given)) < len(server.given):
        messages.append("a certificate is in it more than once, and is served once")
    if [item for item in given if item in served] != [item for item in served if item in given]:
        messages.append("it is not in order, and is served from the host's own certificate on")
    for item in given:
        if item not in served:
            reason = "it has expired" if item.not_valid_after_utc < now else "no path needs it"
            messages.append(f"{chains.title(item)} is left out, since {reason}")
    return messages


def _for_clients(certificate: x509.Certificate) -> bool:
    """Whether a client may use it (RFC 5280, 4.2.1.12: without the extension, any party may)."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return bool(
        {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage)
    )
