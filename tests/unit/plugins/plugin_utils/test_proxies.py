# SPDX-License-Identifier: Apache-2.0
"""What goes past the site's proxy, and which proxies preflight refuses."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.filter.proxy_exceptions import proxy_exceptions
from ansible_collections.baremetal.sonic.plugins.plugin_utils import proxies


def test_the_sites_own_addresses_go_past_the_proxy() -> None:
    actual = proxy_exceptions(
        ["intranet.example.com"],
        hosts=["192.0.2.11", "", "192.0.2.11", "gpu1"],
        networks=["10.244.0.0/16", "10.96.0.0/16"],
        urls=["https://harbor.example.com:8443/v2/x", "", "http://192.0.2.2:5000"],
    )
    assert actual == [
        "localhost",
        "127.0.0.1",
        ".svc",
        ".cluster.local",
        "192.0.2.11",
        "gpu1",
        "10.244.0.0/16",
        "10.96.0.0/16",
        "harbor.example.com",
        "192.0.2.2",
        "intranet.example.com",
    ]


@pytest.mark.parametrize(
    ("host", "direct"),
    [
        ("192.0.2.2", True),
        ("192.0.3.2", False),
        ("deb.intranet.example.com", True),
        ("intranet.example.com", True),
        ("a.dotted.example.com", True),
        ("dotted.example.com", False),
        ("example.com", False),
        ("xintranet.example.com", False),
        ("", False),
    ],
)
def test_hosts_that_an_exception_names(host: str, direct: bool) -> None:
    """As Go's programs read NO_PROXY: a name has its subdomains with it."""
    exceptions = ["192.0.2.0/24", "intranet.example.com", ".dotted.example.com"]
    assert proxies.goes_direct(host, exceptions) is direct


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, ""),
        ({"site_http_proxy": "http://proxy.example.com:3128"}, ""),
        ({"site_http_proxy": "http://user:p%40ss@192.0.2.9:3128/"}, ""),
        ({"site_https_proxy": "https://proxy.example.com"}, ""),
        ({"site_http_proxy": "proxy.example.com:3128"}, "site_http_proxy is no URL of a proxy"),
        ({"site_https_proxy": "socks5://192.0.2.9:1080"}, "site_https_proxy is no URL of a proxy"),
        ({"site_http_proxy": "http://proxy.example.com:99999"}, "site_http_proxy is no URL"),
        ({"site_http_proxy": 'http://a"b:3128'}, "site_http_proxy is no URL of a proxy"),
        ({"site_http_proxy": "http://proxy/path"}, "site_http_proxy is no URL of a proxy"),
        ({"site_no_proxy": ["a.example.com,b.example.com"]}, "site_no_proxy: 'a.example.com,b."),
        ({"site_no_proxy": ["https://a.example.com"]}, "site_no_proxy: 'https://a.example.com'"),
        ({"site_no_proxy": ["*.example.com"]}, "site_no_proxy: '*.example.com'"),
        ({"site_no_proxy": [".example.com", "10.0.0.0/8", "host"]}, ""),
    ],
)
def test_proxies_that_are_refused(values: dict[str, Any], says: str) -> None:
    actual = proxies.problems(values)
    assert [line.startswith(says) for line in actual] == ([True] if says else [])


def test_a_password_is_never_shown() -> None:
    assert "secret" not in str(proxies.problems({"site_http_proxy": "ftp://user:secret@proxy"}))


@pytest.mark.parametrize(
    ("values", "warns"),
    [
        ({"site_https_proxy": "http://proxy:3128"}, True),
        ({"site_http_proxy": "http://proxy:3128", "egress_mode": "connected"}, True),
        ({"site_https_proxy": "http://proxy:3128", "egress_mode": "airgapped"}, False),
        ({"site_https_proxy": "http://proxy:3128", "egress_profile": "off"}, False),
        ({}, False),
    ],
)
def test_the_egress_gateway_uses_no_proxy(values: dict[str, Any], warns: bool) -> None:
    actual = proxies.warnings(values)
    assert ["egress gateway connects directly" in line for line in actual] == [True] * warns
