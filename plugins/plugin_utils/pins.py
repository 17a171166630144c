# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Whether what comes from the network at install is pinned: signing keys and release manifests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# Variables of release manifests: address, sum, and the switch without which neither is used.
MANIFESTS = (
    ("keda_manifest", "keda_manifest_sha256", "keda_install"),
    ("prometheus_operator_manifest", "prometheus_operator_manifest_sha256", "prometheus_install"),
)


def problems(values: Mapping[str, Any]) -> list[str]:
    """Downloads that the network could replace unnoticed.

    Args:
        values: variables of all roles by name, defaults included but for templates: a manifest's
            address by default is upstream's.
    """
    messages = repository_problems(values.get("site_package_repositories") or [])
    for address, digest, switch in MANIFESTS:
        if values[switch]:
            messages += _manifest_problem(values, address, digest)
    return messages


def repository_problems(repositories: Sequence[Mapping[str, Any]]) -> list[str]:
    """Package repositories whose signing key the network could replace.

    Args:
        repositories: the variable site_package_repositories.
    """
    messages = []
    for item in repositories:
        name = f"site_package_repositories: {item['name']}"
        if item.get("key"):
            continue
        if not item.get("key_url"):
            messages.append(
                f"{name} has no signing key: give its text as key, or key_url and fingerprints"
            )
        elif not item.get("fingerprints"):
            messages.append(
                f"{name} has a key_url without fingerprints: give those that the vendor publishes,"
                " as 'gpg --show-keys' prints them, or the key's text as key"
            )
    return messages


def _manifest_problem(values: Mapping[str, Any], address: str, digest: str) -> list[str]:
    given = str(values[digest])
    a_file = address in values and not str(values[address]).startswith(("http://", "https://"))
    if not given and not a_file:
        problem = (
            f"{digest} is empty: give the manifest's SHA-256, as 'sha256sum' prints it for the file"
            f" that you looked at, or set {address} to the path of a file on the site's leader"
        )
        return [problem]
    if given and not re.fullmatch(r"[0-9a-fA-F]{64}", given):
        return [f"{digest} is no SHA-256: give 64 hexadecimal digits, as 'sha256sum' prints them"]
    return []
