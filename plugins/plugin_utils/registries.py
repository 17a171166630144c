# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Validates how hosts reach registries of the site's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

OPTIONS = ("ca", "username", "password")


def problems(values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with site_registry_access; no password is shown.

    Args:
        values: variables by name; those with their defaults may be missing.
    """
    urls = [str(url) for url in (values.get("containerd_mirrors") or {}).values() if url]
    if mirror := values.get("site_registry_mirror"):
        urls.append(str(mirror))
    schemes = {parts.netloc: parts.scheme for parts in map(urlsplit, urls)}
    lines = []
    for host, access in (values.get("site_registry_access") or {}).items():
        if problem := _problem(str(host), access, schemes):
            lines.append(f"site_registry_access: {host}: {problem}")
    return lines


def _problem(host: str, access: Any, schemes: Mapping[str, str]) -> str:
    if "/" in host:
        return "write the host and port only, as they are in the mirror's URL"
    if not isinstance(access, Mapping):
        return f"has to be a dictionary with {', '.join(OPTIONS)}"
    if unknown := sorted(str(name) for name in access.keys() - set(OPTIONS)):
        return f"no {', '.join(unknown)}: choose of {', '.join(OPTIONS)}"
    if access.get("ca") and "-----BEGIN CERTIFICATE-----" not in str(access["ca"]):
        return "ca holds no certificate: give the text of a PEM file, not its path"
    if bool(access.get("username")) != bool(access.get("password")):
        return "give both username and password, or neither"
    if host not in schemes:
        named = ", ".join(schemes) or "none"
        return (
            "is the host of no mirror: write it with its port as site_registry_mirror or"
            f" containerd_mirrors has it ({named})"
        )
    if access.get("password") and schemes[host] == "http":
        return "its mirror is reached without TLS, which would show the login: use https://"
    return ""
