# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The site's HTTP proxy: what goes past it, and whether its variables can be used."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

# Never proxied: the host itself, and names of the cluster's DNS.
ALWAYS = ("localhost", "127.0.0.1", ".svc", ".cluster.local")
# A URL in a file of apt or systemd: quotes, white space and backslashes would end it early.
PROXY = re.compile(r"https?://(?:[^\s\"'\\/@]+@)?[A-Za-z0-9.-]+(?::\d{1,5})?/?")
EXCEPTION = re.compile(r"\.?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
LARGEST_PORT = 65535


def exceptions(
    extra: Sequence[str], hosts: Sequence[str], networks: Sequence[str], urls: Sequence[str]
) -> list[str]:
    """What NO_PROXY must name, each once.

    Args:
        extra: names, addresses and networks of the site's own (site_no_proxy).
        hosts: names and addresses of the site's hosts; empty ones are left out.
        networks: of pods and Services.
        urls: addresses of servers that are inside, the registry mirror for example; empty for none.
    """
    servers = [urlsplit(url).hostname or "" for url in urls]
    lines = [*ALWAYS, *hosts, *networks, *servers, *extra]
    return list(dict.fromkeys(entry for entry in lines if entry))


def goes_direct(host: str, entries: Sequence[str]) -> bool:
    """Whether an entry of NO_PROXY names a host.

    An entry is a network, or a name that stands for its subdomains, too; with a dot in front only
    for these.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return any(
            bool(host) and (host == entry or host.endswith(f".{entry.lstrip('.')}"))
            for entry in entries
        )
    return any(address in net for entry in entries if (net := _network(entry)))


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def problems(values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with site_http_proxy, site_https_proxy and site_no_proxy.

    Args:
        values: variables by name; those with their defaults may be missing. A proxy's URL may hold
            a password, and is not shown.
    """
    lines = [
        f"{name} is no URL of a proxy: give http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT"
        " with special characters percent-encoded"
        for name in ("site_http_proxy", "site_https_proxy")
        if (url := str(values.get(name) or "")) and not _is_proxy(url)
    ]
    return lines + [
        f"site_no_proxy: '{entry}' is no name, address or network: give one in each item, a domain"
        " as .example.com"
        for entry in values.get("site_no_proxy") or []
        if not EXCEPTION.fullmatch(entry) and not _network(entry)
    ]


def _is_proxy(url: str) -> bool:
    if not PROXY.fullmatch(url):
        return False
    port = url.rstrip("/").rpartition("@")[2].rpartition(":")[2]
    return not port.isdigit() or 0 < int(port) <= LARGEST_PORT


def warnings(values: Mapping[str, Any]) -> list[str]:
    """Return what works without the proxy only.

    Args:
        values: variables by name; those with their defaults may be missing.
    """
    proxied = values.get("site_http_proxy") or values.get("site_https_proxy")
    gateway = values.get("egress_mode", "connected") == "connected"
    if not proxied or not gateway or values.get("egress_profile", "strict") == "off":
        return []
    return [
        (
            "a proxy is set, and the egress gateway connects directly: it passes TLS through"
            " unopened and cannot ask an HTTP proxy. Let its hosts out to the names of"
            " egress_allowlist, or set egress_mode to airgapped"
        )
    ]
