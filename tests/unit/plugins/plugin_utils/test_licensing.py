# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils.licensing import problems

from lab.licences import Vendor

VENDOR = Vendor()
NOW = datetime(2026, 11, 21, tzinfo=UTC)
CONNECTED: dict[str, Any] = {
    "license_proxy_ca": "",
    "license_proxy_check_interval": 300,
    "license_proxy_endpoint": "https://api.cartesia.ai/self-hosted/license",
    "license_proxy_grace": 259200,
    "license_proxy_license": "",
    "license_proxy_mode": "connected",
    "license_proxy_persistence": {"enabled": False},
    "license_proxy_public_key": "",
}
AIR_GAPPED = CONNECTED | {
    "license_proxy_mode": "airgapped",
    "license_proxy_persistence": {"enabled": True, "hostPath": "/srv/license"},
    "license_proxy_public_key": VENDOR.public_key,
    "license_proxy_license": VENDOR.licence(issued=NOW - timedelta(days=1)),
}
EGRESS: dict[str, Any] = {
    "egress_profile": "strict",
    "egress_mode": "connected",
    "egress_allowlist": [{"name": "api.cartesia.ai", "used_by": ["license-proxy"]}],
}


def problems_of(values: dict[str, Any], **egress: Any) -> list[str]:
    return problems(values, EGRESS | egress, ["cp1", "gpu1"], NOW)


@pytest.mark.parametrize("values", [CONNECTED, AIR_GAPPED])
def test_what_is_in_order(values: dict[str, Any]) -> None:
    assert problems_of(values) == []
    assert problems_of(AIR_GAPPED, egress_mode="airgapped") == []
    assert problems_of(CONNECTED, egress_profile="off", egress_mode="airgapped") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"endpoint": "http://api.cartesia.ai/"}, "license_proxy_endpoint is no URL"),
        ({"endpoint": "api.cartesia.ai"}, "license_proxy_endpoint is no URL"),
        ({"endpoint": "https://user:pass@api.cartesia.ai"}, "license_proxy_endpoint is no URL"),
        ({"endpoint": "https://api.cartesia.ai:port/"}, "license_proxy_endpoint is no URL"),
        ({"endpoint": "https://api.cartesia.ai:8443/"}, "api.cartesia.ai:8443, which egress_allow"),
        ({"endpoint": "https://other.example.com/"}, "other.example.com:443, which egress_allow"),
        ({"ca": "/etc/ssl/ca.pem"}, "license_proxy_ca holds no certificates"),
        ({"check_interval": 0}, "license_proxy_check_interval is 0"),
        ({"grace": -1}, "license_proxy_grace is -1"),
        ({"persistence": {"enabled": True}}, "give either storageClass or hostPath"),
        ({"persistence": {"enabled": True, "storageClass": "a", "hostPath": "/b"}}, "give either"),
        ({"persistence": {"enabled": True, "hostPath": "b"}}, "hostPath=b is not an absolute path"),
        (
            {"persistence": {"enabled": True, "hostPath": "/b", "host": "gpu9"}},
            "license_proxy_persistence.host=gpu9 is no host of this site",
        ),
    ],
)
def test_connected(change: dict[str, Any], message: str) -> None:
    [problems] = problems_of(CONNECTED | {f"license_proxy_{name}": v for name, v in change.items()})
    assert message in problems
    assert "pass" not in problems


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"persistence": {"enabled": False}}, "air-gapped mode keeps its audit log"),
        ({"public_key": ""}, "license_proxy_public_key is empty"),
        ({"public_key": "ssh-ed25519 AAAA"}, "is no Ed25519 public key in PEM form"),
        ({"public_key": Vendor().public_key}, "was not signed by the owner of"),
        ({"license": "{}"}, "license_proxy_license is no licence"),
        ({"license": "path/to/license.json"}, "license_proxy_license is no licence"),
        ({"license": VENDOR.sign(b"[]")}, "license_proxy_license is no licence"),
        (
            {"license": VENDOR.licence(issued=NOW - timedelta(days=40))},
            "license_proxy_license ended on 2026-11-11",
        ),
    ],
)
def test_air_gapped(change: dict[str, Any], message: str) -> None:
    [problems] = problems_of(
        AIR_GAPPED | {f"license_proxy_{name}": v for name, v in change.items()}
    )
    assert message in problems


def test_modes_that_contradict_each_other() -> None:
    [problems] = problems_of(CONNECTED, egress_mode="airgapped")
    assert "license_proxy_mode is connected and egress_mode airgapped" in problems
    [problems] = problems_of(
        CONNECTED, egress_allowlist=[{"name": "api.cartesia.ai", "used_by": ["api"]}]
    )
    assert "does not let the license-proxy reach" in problems


def test_all_problems_are_reported_at_once() -> None:
    values = CONNECTED | {
        "license_proxy_grace": -1,
        "license_proxy_endpoint": "x",
        "license_proxy_persistence": {"enabled": True},
    }
    assert len(problems_of(values)) == 3
