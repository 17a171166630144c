# SPDX-License-Identifier: Apache-2.0
"""The problems of the certificate that NATS servers share, before they use it."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import certificates
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.unit.plugins.plugin_utils.authority import Authority

SERVERS = ["nats", "nats-0.nats-headless", "nats-1.nats-headless", "nats-2.nats-headless"]


def nats(authority: Authority, hosts: list[str], servers: int = 3, **changed: Any) -> list[str]:
    """What is wrong with a certificate that an authority makes for NATS, some of it changed."""
    made = authority.server(hosts, changed.pop("usages", ()))
    given = {"ca": authority.certificate, **made, **changed}
    return certificates.nats_problems(**given, servers=servers)


@pytest.mark.parametrize(
    ("hosts", "servers"), [(["nats"], 1), (SERVERS, 3), (["nats", "*.nats-headless"], 3)]
)
def test_nats_certificate(hosts: list[str], servers: int) -> None:
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    assert nats(Authority(), hosts, servers) == []
    assert nats(Authority(), hosts, servers, usages=both) == []


def test_nats_certificate_of_several_servers_is_for_all_of_them() -> None:
    [problem] = nats(Authority(), SERVERS[:2])
    assert problem.startswith("nats_certificate is for nats, nats-0.nats-headless, not for nats-1")
    [problem] = nats(Authority(), ["other"], 1)
    assert "not for nats:" in problem


def test_nats_servers_are_each_others_clients() -> None:
    usages = [ExtendedKeyUsageOID.SERVER_AUTH]
    assert nats(Authority(), ["nats"], 1, usages=usages) == []
    [problem] = nats(Authority(), SERVERS, usages=usages)
    assert "clientAuth" in problem


def test_everything_wrong_with_a_nats_certificate_is_listed() -> None:
    other = Authority("Other CA")
    made = {"ca": other.certificate, "key": other.server(["nats"])["key"]}
    actual = nats(Authority(), ["nats"], 1, **made)
    assert [line.partition(" ")[0] for line in actual] == ["nats_key", "nats_certificate:"]
    assert "or to nats_ca" in actual[1]
    late = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=400)
    expired = nats(Authority(), ["nats"], 1, now=late)
    assert [line.partition(" on ")[0] for line in expired] == [
        "nats_certificate: CN=server expired", "nats_certificate: CN=Test CA expired",
    ]  # fmt: skip
    unread = nats(Authority(), ["nats"], 1, certificate="c", ca="a", key="k")
    assert [line.partition(" ")[0] for line in unread] == [
        "nats_ca", "nats_certificate", "nats_key",
    ]  # fmt: skip
