# SPDX-License-Identifier: Apache-2.0
"""What the role host gives to the service that keeps the clock."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.rendering import render, role_variables

SERVERS = ["ntp1.example.com", "192.0.2.1"]


def item(**variables: Any) -> dict[str, Any]:
    [[actual]] = render("host", "time.yml.j2", **variables)
    result: dict[str, Any] = actual
    return result


def test_chrony_gets_a_line_a_server() -> None:
    actual = item(host_time_service="chrony", host_time_servers=SERVERS)
    # Debian's chrony.conf reads this folder, and in it files of this ending only.
    assert actual["path"] == "/etc/chrony/sources.d/baremetal-sonic.sources"
    lines = actual["content"].splitlines()[1:]
    assert lines == ["server ntp1.example.com iburst", "server 192.0.2.1 iburst"]


def test_timesyncd_gets_one_line() -> None:
    actual = item(host_time_service="systemd-timesyncd", host_time_servers=SERVERS)
    assert actual["path"].startswith("/etc/systemd/timesyncd.conf.d/")
    assert actual["content"].splitlines()[1:] == ["[Time]", "NTP=ntp1.example.com 192.0.2.1"]


@pytest.mark.parametrize("service", role_variables("host")["host_time_services"])
def test_without_servers_the_file_goes_away(service: str) -> None:
    assert item(host_time_service=service)["state"] == "absent"
