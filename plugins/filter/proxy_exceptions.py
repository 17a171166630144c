# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute what goes past a site's HTTP proxy."""

from __future__ import annotations

DOCUMENTATION = r"""
name: proxy_exceptions
short_description: Names, addresses and networks that go past an HTTP proxy
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Returns the entries of C(NO_PROXY) for a site, each once.
  - Besides what is given, these are the host itself and the names of the cluster's DNS.
options:
  _input:
    description: Names, addresses and networks of the site's own.
    type: list
    elements: str
    required: true
  hosts:
    description: Names and addresses of the site's hosts; empty ones are left out.
    type: list
    elements: str
    default: []
  networks:
    description: Networks in CIDR form.
    type: list
    elements: str
    default: []
  urls:
    description: Addresses of servers whose hosts go past the proxy; empty ones are left out.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what goes past the proxy
  ansible.builtin.debug:
    msg: "{{ ['.example.com'] | baremetal.sonic.proxy_exceptions(hosts=['192.0.2.11'], networks=['10.244.0.0/16']) }}"
"""

RETURN = r"""
_value:
  description: Entries of C(NO_PROXY).
  type: list
  elements: str
  sample: [localhost, 127.0.0.1, .svc, .cluster.local, 192.0.2.11, 10.244.0.0/16, .example.com]
"""

from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils import proxies


def proxy_exceptions(
    extra: Sequence[str],
    hosts: Sequence[str] = (),
    networks: Sequence[str] = (),
    urls: Sequence[str] = (),
) -> list[str]:
    """Return the entries of NO_PROXY, each once."""
    return proxies.exceptions(extra, hosts, networks, urls)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by their names."""
        return {"proxy_exceptions": proxy_exceptions}
