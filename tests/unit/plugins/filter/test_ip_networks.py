# SPDX-License-Identifier: Apache-2.0
"""Addresses and networks that settings of HAProxy are made of."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.sonic.plugins.filter.ip_networks import ip_networks


def test_networks_in_one_form() -> None:
    given = ["192.0.2.7", " 198.51.100.0/24", "2001:db8::/32", "192.0.2.7/32"]
    assert ip_networks(given) == ["192.0.2.7/32", "198.51.100.0/24", "2001:db8::/32"]


@pytest.mark.parametrize("value", ["", "office", "999.1.1.1", "192.0.2.7/24", "192.0.2.7 }"])
def test_what_is_no_network(value: str) -> None:
    with pytest.raises(AnsibleFilterError, match="is no address and no network"):
        ip_networks([value])
