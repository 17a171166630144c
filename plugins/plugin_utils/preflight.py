# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Judges an inventory: certificates, variables and what hosts said of themselves."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None


def certificate_problems(
    certificate: str, key: str, host: str, now: datetime.datetime | None = None
) -> list[str]:
    """What is wrong with the certificate that an ingress would serve.

    Args:
        certificate: PEM text, the host's own certificate first, then its chain.
        key: PEM text of the private key, not encrypted.
        host: the name that clients use.
        now: the time to judge by; the current time when left out.

    Raises:
        AnsibleError: the controller's Python lacks cryptography.
    """
    if IMPORT_ERROR:
        raise AnsibleError(
            f"certificates cannot be judged: {IMPORT_ERROR}. Install cryptography (ansible-core"
            " needs it for its vault, too) in the Python that runs ansible-playbook"
        ) from IMPORT_ERROR
    try:
        chain = x509.load_pem_x509_certificates(certificate.encode())
    except ValueError as error:
        return [f"ingress_certificate is not PEM text of a certificate: {error}"]
    leaf = chain[0]
    found = []
    try:
        private = load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError) as error:
        found.append(f"ingress_certificate_key is not PEM text of an unencrypted key: {error}")
    else:
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if private.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
            found.append(
                "ingress_certificate_key does not belong to ingress_certificate: give the key"
                " that the certificate was requested with (the host's certificate comes first)"
            )
    names = host_names(leaf)
    if not any(matches(pattern, host) for pattern in names):
        found.append(
            f"ingress_certificate is for {', '.join(names) or 'no host'}, not for"
            f" ingress_host={host}: ask for a certificate with that name"
        )
    now = now or datetime.datetime.now(datetime.UTC)
    for number, item in enumerate(chain, start=1):
        subject = item.subject.rfc4514_string() or f"number {number}"
        if item.not_valid_after_utc < now:
            found.append(
                f"ingress_certificate: {subject} expired on {item.not_valid_after_utc:%Y-%m-%d}"
            )
        if item.not_valid_before_utc > now:
            found.append(
                f"ingress_certificate: {subject} is valid only from"
                f" {item.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; is the clock right?"
            )
    for child, parent in itertools.pairwise(chain):
        try:
            child.verify_directly_issued_by(parent)
        except (ValueError, TypeError, InvalidSignature):
            found.append(
                f"ingress_certificate: {parent.subject.rfc4514_string()} did not issue"
                f" {child.subject.rfc4514_string()}: put the chain in order, the host's own first"
            )
    return found


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


def shared_machine_ids(machine_ids: Mapping[str, str]) -> list[str]:
    """Hosts that were cloned from one image without a new identity."""
    hosts: dict[str, list[str]] = {}
    for host, machine_id in machine_ids.items():
        if machine_id:
            hosts.setdefault(machine_id, []).append(host)
    return [
        f"{' and '.join(sorted(names))} have the same /etc/machine-id: on all but one, empty it"
        " and run systemd-machine-id-setup"
        for names in hosts.values()
        if len(names) > 1
    ]


def gpu_problems(workers: Sequence[Mapping[str, Any]], gpus: Mapping[str, int | None]) -> list[str]:
    """Whether the workers ask for more GPUs than the inventory says there are.

    Args:
        workers: the variable workers_list.
        gpus: GPUs by host; None where the inventory does not say.
    """
    have = _gpu_count(gpus)
    need = sum(least_pods(item) for item in workers)
    if have is None or need <= have:
        return []
    message = f"workers_list asks for {need} GPUs, the inventory has {have} ({_listed(gpus)}):"
    return [f"{message} lower replicas or minReplicas, or add hosts to gpu_workers"]


def gpu_warnings(workers: Sequence[Mapping[str, Any]], gpus: Mapping[str, int | None]) -> list[str]:
    """What autoscaling may ask for and cannot get; not wrong, since hosts may be added later.

    Args:
        workers: the variable workers_list.
        gpus: GPUs by host; None where the inventory does not say.
    """
    have = _gpu_count(gpus)
    if have is None:
        return []
    found = []
    for item in workers:
        if (item.get("autoscaling") or {}).get("enabled") and most_pods(item) > have:
            found.append(
                f"worker {item.get('name')}: maxReplicas is {most_pods(item)}, the inventory has"
                f" {have} GPUs ({_listed(gpus)}): pods above that will wait for a GPU"
            )
    most = sum(most_pods(item) for item in workers)
    if not found and most > have:
        found.append(
            f"all workers together may grow to {most} pods, the inventory has {have} GPUs"
            f" ({_listed(gpus)}): under full load the first to grow leave none to the others"
        )
    return found


def scaling_problems(workers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Numbers of autoscaling that no cluster would take, or that would never scale.

    Args:
        workers: the variable workers_list.
    """
    found = []
    for item in workers:
        scaling = item.get("autoscaling") or {}
        if not scaling.get("enabled"):
            continue
        name = f"worker {item.get('name')}: autoscaling"
        least, most = least_pods(item), most_pods(item)
        if least < 0:
            found.append(f"{name}.minReplicas is {least}: set it to 0 or more")
        if most < max(least, 1):
            found.append(f"{name}.maxReplicas is {most}: set it to {max(least, 1)} or more")
        threshold = float(_given(scaling, "threshold", 0.6))
        if not 0 < threshold <= 1:
            found.append(
                f"{name}.threshold is {threshold:g}: it is a share of the streams that are there,"
                " so set it above 0 and up to 1"
            )
    return found


def least_pods(worker: Mapping[str, Any]) -> int:
    """The pods that a worker has at least, each on a GPU of its own."""
    scaling = worker.get("autoscaling") or {}
    if scaling.get("enabled"):
        return int(_given(scaling, "minReplicas", 1))
    return int(_given(worker, "replicas", 1))


def most_pods(worker: Mapping[str, Any]) -> int:
    """The pods to which a worker may grow."""
    scaling = worker.get("autoscaling") or {}
    if scaling.get("enabled"):
        return int(_given(scaling, "maxReplicas", 10))
    return least_pods(worker)


def _given(options: Mapping[str, Any], name: str, default: float) -> Any:
    value = options.get(name)
    return default if value is None else value


def _gpu_count(gpus: Mapping[str, int | None]) -> int | None:
    if not gpus or any(count is None for count in gpus.values()):
        return None
    return sum(count or 0 for count in gpus.values())


def _listed(gpus: Mapping[str, int | None]) -> str:
    return ", ".join(f"{host} {count}" for host, count in gpus.items())
