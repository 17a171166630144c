# SPDX-License-Identifier: Apache-2.0
"""Renders a role's template with the role's defaults, as Ansible does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parents[2]


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
    found: dict[str, Any] = {}
    for name in ("defaults/main.yml", "vars/main.yml"):
        path = ROOT / "roles" / role / name
        if path.is_file():
            found |= trusted(yaml.safe_load(path.read_text(encoding="utf-8")))
    return found


def templated(text: str, variables: dict[str, Any]) -> Any:
    """What an expression becomes. Raises AnsibleError."""
    return Templar(loader=DataLoader(), variables=variables).template(trust_as_template(text))


def render(role: str, template: str, **variables: Any) -> list[Any]:
    """The documents of a template; variables go over the role's defaults."""
    folder = ROOT / "roles" / role
    # A template that takes in another one of the role names it without a folder.
    values: dict[str, Any] = {"ansible_search_path": [str(folder)]}
    values |= {"site_namespace": "cartesia", "site_name": "rack1"}
    values["site_image_digests"] = {}
    values["site_namespace_labels"] = {
        "app.kubernetes.io/managed-by": "baremetal.sonic",
        "pod-security.kubernetes.io/enforce": "restricted",
    }
    values["site_nodes"] = ["cp1", "gpu1"]
    values |= role_variables(role)
    look = f"{{{{ lookup('ansible.builtin.template', '{folder}/templates/{template}') }}}}"
    return list(yaml.safe_load_all(templated(look, values | variables)))
