# SPDX-License-Identifier: Apache-2.0
"""The vendor's own Python client against the lab, through its ingress, with every call it has."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.register_assert_rewrite("tests.sdk")

from tests.sdk import SdkTests, Site  # noqa: E402


@pytest.fixture(scope="module")
def site(info: dict[str, Any]) -> Iterator[Site]:
    """The lab as a client has it that trusts its authority and resolves its name."""
    name, resolve = str(urlsplit(info["ingress_url"]).hostname), socket.getaddrinfo

    def resolver(host: Any, *rest: Any, **more: Any) -> Any:
        found = info["ingress_address"] if host in (name, name.encode()) else host
        return resolve(found, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolver)
        patch.setenv("SSL_CERT_FILE", info["ca_file"])
        yield Site(info["ingress_url"], info["api_key"])


class TestSdk(SdkTests):
    """The calls, here."""
