# SPDX-License-Identifier: Apache-2.0
"""Render a role's template with the role's defaults, as Ansible does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.objects import with_secrets
from ansible_collections.baremetal.sonic.plugins.plugin_utils.templating import trust_as_template

ROOT = Path(__file__).resolve().parents[2]
# What templates read of the role site beside what render gives.
SITE_FACTS = (
    "site_ca",
    "site_ca_file",
    "site_image_registry",
    "site_pull_secret",
    "site_release_tag",
    "site_service_account",
    "site_url",
    "site_workers",
)


def trusted(value: Any) -> Any:
    """A value with its templates marked as such, in lists and dictionaries too."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, list):
        return [trusted(item) for item in value]
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    return value


def role_variables(role: str) -> dict[str, Any]:
    """A role's defaults and variables, as templates."""
    variables: dict[str, Any] = {}
    for name in ("defaults/main.yml", "vars/main.yml"):
        path = ROOT / "roles" / role / name
        if path.is_file():
            variables |= trusted(yaml.safe_load(path.read_text(encoding="utf-8")))
    return variables


def templated(text: str, variables: dict[str, Any]) -> Any:
    """What an expression becomes. Raises AnsibleError."""
    return Templar(loader=DataLoader(), variables=variables).template(trust_as_template(text))


def known(role: str, **variables: Any) -> dict[str, Any]:
    """A role's variables in a small site; the given ones go over its defaults."""
    folder = ROOT / "roles" / role
    # A template that takes in another one of the role names it without a folder.
    values: dict[str, Any] = {"ansible_search_path": [str(folder)]}
    values |= {"site_namespace": "cartesia", "site_name": "rack1"}
    values["site_image_digests"] = {}
    values["workers"] = []
    values |= {"site_registry_access": {}, "site_proxy_environment": {}}
    values["site_namespace_labels"] = {
        "app.kubernetes.io/managed-by": "baremetal.sonic",
        "pod-security.kubernetes.io/enforce": "restricted",
    }
    values["site_nodes"] = ["cp1", "gpu1"]
    site = role_variables("site")
    values = {name: site[name] for name in SITE_FACTS} | values
    return values | role_variables(role) | variables


def render(role: str, template: str, **variables: Any) -> list[Any]:
    """The documents of a template; variables go over the role's defaults."""
    path = ROOT / "roles" / role / "templates" / template
    look = f"{{{{ lookup('ansible.builtin.template', '{path}') }}}}"
    return list(yaml.safe_load_all(templated(look, known(role, **variables))))


def value(role: str, name: str, **variables: Any) -> Any:
    """What one of a role's variables becomes; the given ones go over its defaults."""
    return templated(f"{{{{ {name} }}}}", known(role, **variables))


def applied(role: str, template: str, **variables: Any) -> list[Any]:
    """The objects of a template as they are applied: what is in the role's Secrets filled in."""
    items = [item for item in render(role, template, **variables) if item]
    return with_secrets(items, value(role, f"_{role}_secret_data", **variables))[0]
