# SPDX-License-Identifier: Apache-2.0
"""What the archive for support has of an inventory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError

from plugins.plugin_utils.support_inventory import options, site_inventory, site_secrets
from tests.playbooks import offline

SITE: dict[str, Any] = {
    "license_proxy_api_key": "canary-api-key",
    "ingress_certificates": [{"certificate": "public", "key": "canary-key"}],
    "site_registry_access": {"registry.example.com": {"username": "u", "password": "canary-pw"}},
    "nats_users": {"api": "canary-user"},
    "site_pull_secret": "name-of-a-secret",
    "support_secrets": ["canary-name"],
    "site_name": "rack1",
    "lab": {"not": "a role's variable", "api_key": "canary-other"},
}
HOSTVARS: dict[str, dict[str, Any]] = {
    "cp1": {**SITE, "ansible_host": "192.0.2.1", "ansible_become_password": "canary-sudo"},
    "gpu1": {**SITE, "nvidia_driver_gpu_count": 8},
}
GROUPS = {"all": ["cp1", "gpu1"], "control_plane": ["cp1"], "gpu_workers": ["gpu1"]}


class Broken(Mapping[str, Any]):
    """Variables of which one cannot be evaluated."""

    def __getitem__(self, name: str) -> Any:
        if name == "site_name":
            raise AnsibleError("'other' is undefined\nand more")
        return SITE[name]

    def __contains__(self, name: object) -> bool:
        return name in SITE

    def __iter__(self) -> Iterator[str]:
        return iter(SITE)

    def __len__(self) -> int:
        return len(SITE)


def test_secrets_are_replaced_and_nothing_else() -> None:
    written = site_inventory(["cp1", "gpu1"], HOSTVARS, GROUPS)
    assert written["variables"] == {
        "license_proxy_api_key": "[REDACTED]",
        "ingress_certificates": [{"certificate": "public", "key": "[REDACTED]"}],
        "site_registry_access": {
            "registry.example.com": {"username": "u", "password": "[REDACTED]"}
        },
        "nats_users": "[REDACTED]",
        "site_pull_secret": "name-of-a-secret",
        "support_secrets": "[REDACTED]",
        "site_name": "rack1",
    }
    assert written["hosts"] == {
        "cp1": {"groups": ["control_plane"], "address": "192.0.2.1", "variables": {}},
        "gpu1": {
            "groups": ["gpu_workers"],
            "address": "gpu1",
            "variables": {"nvidia_driver_gpu_count": 8},
        },
    }
    assert "canary" not in str(written)


def test_all_secrets_are_returned_for_redaction() -> None:
    assert sorted(site_secrets(["cp1", "gpu1"], HOSTVARS)) == [
        "canary-api-key", "canary-key", "canary-name", "canary-pw", "canary-sudo", "canary-user",
    ]  # fmt: skip


def test_variable_that_cannot_be_evaluated_is_named() -> None:
    written = site_inventory(["a"], {"a": Broken()}, {})
    assert written["variables"]["site_name"] == "cannot be evaluated: 'other' is undefined"


def test_each_secret_option_of_a_role_is_known() -> None:
    secret = {name for name, spec in options().items() if spec.get("no_log")}
    assert {"license_proxy_api_key", "site_service_account", "nats_key"} <= secret


def test_filters_see_templated_variables_of_an_inventory(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    inventory = {
        "all": {
            "children": {"control_plane": {"hosts": {"cp1": {}}}},
            "vars": {
                "license_proxy_api_key": "{{ 'canary' ~ '-templated' }}",
                "site_url": "{{ no_such_variable }}",
                "site_name": "rack1",
            },
        }
    }
    filters = {
        "inventory": "{{ ['cp1'] | baremetal.sonic.support_inventory(hostvars, groups) }}",
        "secrets": "{{ ['cp1'] | baremetal.sonic.support_secrets(hostvars) }}",
    }
    play = {
        "hosts": "control_plane",
        "connection": "local",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.copy": {"content": filters, "dest": str(result), "mode": "0600"}}
        ],
    }
    offline(tmp_path, inventory, play, {})
    text = result.read_text(encoding="utf-8")
    assert '"secrets": ["canary-templated"]' in text
    assert '"license_proxy_api_key": "[REDACTED]"' in text
    assert "cannot be evaluated" in text
