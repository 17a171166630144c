# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Judges the variables of the role license_proxy."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ..module_utils._license import licence_text
from .egress import lets_to

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
except ImportError:
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True

PERSISTENCE = "license_proxy_persistence"


def problems(
    values: Mapping[str, Any],
    egress: Mapping[str, Any],
    hosts: list[str],
    now: datetime.datetime | None = None,
) -> list[str]:
    """What is wrong with the role's variables beyond their types.

    Args:
        values: the role's variables by name, defaults included.
        egress: egress_profile, egress_mode and egress_allowlist.
        hosts: the site's hosts by their inventory names.
        now: the time at which the licence has to hold; the current time by default.
    """
    found = _times(values) + _persistence(values, hosts)
    if values["license_proxy_mode"] == "connected":
        return found + _endpoint(values, egress)
    return found + _offline(values, now or datetime.datetime.now(datetime.UTC))


def _times(values: Mapping[str, Any]) -> list[str]:
    found = []
    interval_s = int(values["license_proxy_check_interval"])
    grace_s = int(values["license_proxy_grace"])
    if not 1 <= interval_s <= 86400:
        found.append(
            f"license_proxy_check_interval is {interval_s}: set it to 1 to 86400, in seconds"
        )
    if not 0 <= grace_s <= 366 * 86400:
        found.append(f"license_proxy_grace is {grace_s}: set it to 0 to 31622400, in seconds")
    return found


def _persistence(values: Mapping[str, Any], hosts: list[str]) -> list[str]:
    kept = values[PERSISTENCE] or {}
    folder, storage_class = kept.get("hostPath"), kept.get("storageClass")
    if not kept.get("enabled"):
        if values["license_proxy_mode"] == "airgapped":
            need = "air-gapped mode keeps its audit log and the licence on a volume"
            return [f"{PERSISTENCE}: {need}: set enabled: true, and storageClass or hostPath"]
        return []
    if bool(folder) == bool(storage_class):
        return [f"{PERSISTENCE}: give either storageClass or hostPath"]
    found = []
    if folder and (not PurePosixPath(folder).is_absolute() or ".." in folder.split("/")):
        found.append(f"{PERSISTENCE}.hostPath={folder} is not an absolute path")
    if kept.get("host") and kept["host"] not in hosts:
        found.append(f"{PERSISTENCE}.host={kept['host']} is no host of this site")
    return found


def _endpoint(values: Mapping[str, Any], egress: Mapping[str, Any]) -> list[str]:
    url = values["license_proxy_endpoint"]
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        host = None
    if host is None or parts.scheme != "https" or parts.username or parts.query or parts.fragment:
        # Not the URL itself, which may have a password in it.
        return ["license_proxy_endpoint is no URL of the form https://HOST[:PORT]/PATH"]
    found = []
    if values["license_proxy_ca"] and HAS_CRYPTOGRAPHY:
        try:
            x509.load_pem_x509_certificates(values["license_proxy_ca"].encode())
        except ValueError:
            found.append("license_proxy_ca holds no certificates in PEM form")
    if egress["egress_profile"] != "strict":
        return found
    if egress["egress_mode"] == "airgapped":
        found.append(
            "license_proxy_mode is connected and egress_mode airgapped: the license endpoint cannot"
            " be reached; set both to the same"
        )
    elif not lets_to(egress["egress_allowlist"], "license-proxy", host, port):
        found.append(
            f"license_proxy_endpoint is at {host}:{port}, which egress_allowlist does not let the"
            " license-proxy reach: add it there"
        )
    return found


def _offline(values: Mapping[str, Any], now: datetime.datetime) -> list[str]:
    text = values["license_proxy_public_key"]
    if not text:
        need = "air-gapped mode verifies licences by the vendor's public key"
        return [f"license_proxy_public_key is empty: {need}"]
    if not HAS_CRYPTOGRAPHY:
        return []
    try:
        key = load_pem_public_key(text.encode())
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        return ["license_proxy_public_key is no Ed25519 public key in PEM form"]
    if not values.get("license_proxy_license"):
        return []
    return _licence(values["license_proxy_license"], key, now)


def _licence(text: str, key: Ed25519PublicKey, now: datetime.datetime) -> list[str]:
    """Give the verdict that the license proxy gives when it is given the same."""
    try:
        content, signature = licence_text.unpack(text)
        key.verify(signature, content)
        terms = licence_text.terms_of(content)
    except InvalidSignature:
        return ["license_proxy_license was not signed by the owner of license_proxy_public_key"]
    except licence_text.LicenceError as error:
        whole = "give the text of the vendor's file, whole"
        return [f"license_proxy_license is no licence: {whole}: {error}"]
    try:
        licence_text.check_time(terms, now.timestamp())
    except licence_text.LicenceError as error:
        if error.code == licence_text.NOT_YET:
            return [f"license_proxy_license: {error} of the machine that runs the playbook"]
        ends = terms.expires_at
        return [f"license_proxy_license ended on {ends:%Y-%m-%d}: ask the vendor for a new one"]
    return []
