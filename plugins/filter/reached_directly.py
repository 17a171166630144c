# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the hosts that are reached without an HTTP proxy."""

from __future__ import annotations

DOCUMENTATION = r"""
name: reached_directly
short_description: Hosts of URLs that are reached without an HTTP proxy
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Returns the hosts of URLs that an entry of C(NO_PROXY) names, each once.
  - Programs that compare texts only, apt for example, need each such host by itself.
options:
  _input:
    description: URLs.
    type: list
    elements: str
    required: true
  exceptions:
    description: Entries of C(NO_PROXY).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the hosts that apt reaches directly
  ansible.builtin.debug:
    msg: "{{ ['https://deb.example.com/debian'] | baremetal.sonic.reached_directly(['.example.com']) }}"
"""

RETURN = r"""
_value:
  description: Names and addresses of hosts.
  type: list
  elements: str
  sample: [deb.example.com]
"""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.baremetal.sonic.plugins.plugin_utils import proxies


def reached_directly(urls: Sequence[str], exceptions: Sequence[str]) -> list[str]:
    """Return the hosts of the URLs that go past the proxy, each once."""
    hosts = dict.fromkeys(urlsplit(url).hostname or "" for url in urls)
    return [host for host in hosts if proxies.goes_direct(host, exceptions)]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file by name."""
        return {"reached_directly": reached_directly}
