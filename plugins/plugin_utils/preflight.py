# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Validate an inventory: its variables, and the hosts' reports."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..module_utils._http.headers import header_problem
from . import certificates, nats_secrets
from .egress import lets_to
from .worker_specs import WorkerSpec


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


def gpu_problems(workers: Sequence[WorkerSpec], gpus: Mapping[str, int | None]) -> list[str]:
    """Whether the workers ask for more GPUs than the inventory says there are.

    Args:
        workers: the site's workers.
        gpus: GPUs by host; None where the inventory does not say.
    """
    have = _gpu_count(gpus)
    need = sum(worker.min_replicas for worker in workers)
    if have is None or need <= have:
        return []
    asked = f"the variable workers asks for {need} GPUs"
    remedy = "lower replicas or minReplicas, or add hosts to gpu_workers"
    return [f"{asked}, the inventory has {have} ({_listed(gpus)}): {remedy}"]


def driver_problems(branches: Mapping[str, str | None]) -> list[str]:
    """Whether the hosts of a site ask for different branches of the driver.

    Args:
        branches: nvidia_driver_branch by host; None where the inventory does not say.
    """
    hosts: dict[str, list[str]] = {}
    for host, branch in branches.items():
        hosts.setdefault("the default" if branch is None else branch, []).append(host)
    if len(hosts) < 2:
        return []
    listed = "; ".join(f"{branch}: {', '.join(sorted(names))}" for branch, names in hosts.items())
    return [
        (
            f"nvidia_driver_branch differs between the site's hosts ({listed}): set it once, for"
            " the whole site, so that a worker runs alike on each"
        )
    ]


def gpu_warnings(workers: Sequence[WorkerSpec], gpus: Mapping[str, int | None]) -> list[str]:
    """What autoscaling may ask for and cannot get; not wrong, since hosts may be added later.

    Args:
        workers: the site's workers.
        gpus: GPUs by host; None where the inventory does not say.
    """
    have = _gpu_count(gpus)
    if have is None:
        return []
    lines = []
    for worker in workers:
        if worker.autoscaled and worker.max_replicas > have:
            lines.append(
                f"worker {worker.name}: maxReplicas is {worker.max_replicas}, the inventory has"
                f" {have} GPUs ({_listed(gpus)}): pods above that will wait for a GPU"
            )
    total = sum(worker.max_replicas for worker in workers)
    if not lines and total > have:
        lines.append(
            f"all workers together may grow to {total} pods, the inventory has {have} GPUs"
            f" ({_listed(gpus)}): under full load the first to grow leave none to the others"
        )
    return lines


def nats_problems(values: Mapping[str, Any], servers: int) -> list[str]:
    """What is wrong with the passwords and the certificate that an operator gives to NATS.

    Passwords are not shown.

    Args:
        values: variables of the role nats by name.
        servers: how many servers share the certificate.

    Raises:
        AnsibleError: the controller's Python lacks cryptography.
    """
    given = [name for name in NATS_TLS if values.get(name)]
    users = values.get("nats_users") or {}
    lines = []
    if values.get("nats_access") == "open" and (given or users):
        named = ["nats_users"] * bool(users) + given
        lines.append(
            f"nats_access is open, which asks for neither password nor TLS, and {', '.join(named)}"
            " is given: remove it, or set nats_access to strict"
        )
    if 0 < len(given) < len(NATS_TLS):
        missing = [name for name in NATS_TLS if name not in given]
        lines.append(f"{' and '.join(missing)}: give all of {', '.join(NATS_TLS)}, or none")
    for name, password in sorted(users.items()):
        if name not in nats_secrets.USERS:
            lines.append(
                f"nats_users.{name} is no user of NATS: give passwords of"
                f" {', '.join(nats_secrets.USERS)}, or of some of them"
            )
        elif not nats_secrets.PASSWORD.fullmatch(str(password)):
            lines.append(
                f"nats_users.{name} has to be a password of 16 or more letters, digits, - or _, a"
                " letter first: it becomes part of an address"
            )
    if len(given) == len(NATS_TLS):
        certificate, key, ca = (values[name] for name in NATS_TLS)
        lines += certificates.nats_problems(certificate, key, ca, servers)
    return lines


NATS_TLS = ("nats_certificate", "nats_key", "nats_ca")


def secret_problems(values: Mapping[str, Any]) -> list[str]:
    """Return which keys no HTTP header may hold; the keys themselves are never shown.

    Args:
        values: variables by name. White space around a key is no problem: it is removed.
    """
    return [
        f"{name} {problem}: give the key as it was issued, in one line"
        for name in HEADER_KEYS
        if values.get(name) and (problem := header_problem(str(values[name]).strip()))
    ]


HEADER_KEYS = (
    "license_proxy_api_key",
    "vendor_chart_openai_api_key",
    "vendor_chart_anthropic_api_key",
)


def version_problems(given: object, used: object, table: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with site_versions.

    Args:
        given: the inventory's own versions; None when it gives none.
        used: what the roles see. -e replaces the whole table, past the collection's own.
        table: the collection's versions.
    """
    lines = []
    if isinstance(given, Mapping):
        unknown = sorted(str(name) for name in given.keys() - table.keys())
        if unknown:
            lines.append(
                f"site_versions: {', '.join(unknown)} is no component: choose of"
                f" {', '.join(sorted(table))}"
            )
    missing = sorted(table.keys() - used.keys()) if isinstance(used, Mapping) else []
    if missing:
        lines.append(
            f"site_versions has no {', '.join(missing)}: given with -e it replaces the whole table;"
            " put it in the inventory, where it completes it"
        )
    return lines


def _gpu_count(gpus: Mapping[str, int | None]) -> int | None:
    if not gpus or any(count is None for count in gpus.values()):
        return None
    return sum(count or 0 for count in gpus.values())


def _listed(gpus: Mapping[str, int | None]) -> str:
    return ", ".join(f"{host} {count}" for host, count in gpus.items())


def virtual_ip_problems(address: str, hosts: Mapping[str, str]) -> list[str]:
    """Whether the ingress hosts can share an address.

    Args:
        address: the variable ingress_virtual_ip.
        hosts: addresses of the site's hosts, by inventory name; names count as addresses unknown.
    """
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return [f"ingress_virtual_ip={address} is not an IP address: give one without a prefix"]
    return [
        f"ingress_virtual_ip={address} is the address of {host}: choose a free one in the ingress"
        " hosts' network"
        for host, own in hosts.items()
        if own == address
    ]


def artifact_problems(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with the variables of the role artifact_sync, and with the way to the bucket.

    Args:
        values: variables of all roles by name, defaults included.
    """
    bucket, volume = values["artifact_sync_bucket"], values["artifact_sync_volume"]
    if bucket and volume:
        return ["artifact_sync_bucket and artifact_sync_volume are both set: keep one of them"]
    if not bucket and not volume:
        return []
    lines = []
    interval = values["artifact_sync_interval"]
    if interval < 1:
        lines.append(f"artifact_sync_interval is {interval}: give whole seconds, 1 or more")
    return lines + (_bucket_problems(values) if bucket else [])


def _bucket_problems(values: Mapping[str, Any]) -> list[str]:
    lines = []
    # A message about a secret does not show it.
    if (key := values["artifact_sync_service_account"]) and not _is_account(key):
        lines.append(
            "artifact_sync_service_account is not the JSON key of a service account: give the text"
            " of the file that Google Cloud made for it"
        )
    path = values["artifact_sync_ca_file"]
    if path and not Path(path).is_file():
        lines.append(f"artifact_sync_ca_file: there is no file {path} on the controller")
    endpoint = str(values["artifact_sync_endpoint"])
    parts = urlsplit(endpoint)
    name, port = (parts.hostname or ""), parts.port or 443
    mode = values["egress_mode"]
    if mode == "airgapped" and values["egress_profile"] == "strict":
        lines.append(
            "artifact_sync_bucket is set and egress_mode airgapped: no storage can be reached;"
            " bring the files and set artifact_sync_volume instead"
        )
    if parts.scheme != "https" or not name:
        lines.append(f"artifact_sync_endpoint is {endpoint}: give an address with https://")
    elif mode == "connected" and not lets_to(
        values["egress_allowlist"], "artifact-sync", name, port
    ):
        lines.append(
            f"egress_allowlist does not let artifact-sync to {name}:{port}, where"
            " artifact_sync_endpoint is: add the name with used_by: [artifact-sync]"
        )
    return lines


def _is_account(key: str) -> bool:
    try:
        account = json.loads(key)
    except ValueError:
        return False
    needed = {"client_email", "private_key", "token_uri"}
    return isinstance(account, dict) and needed <= account.keys()
