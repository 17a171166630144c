# SPDX-License-Identifier: Apache-2.0
"""Render a role's template with the role's defaults, as Ansible does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parents[2]


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
    for name in ("defaults/main.yml", "vars/main.yml"):
        if (folder / name).is_file():
            loaded = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
            values |= {
                key: trust_as_template(value) if isinstance(value, str) else value
                for key, value in loaded.items()
            }
    look = f"{{{{ lookup('ansible.builtin.template', '{folder}/templates/{template}') }}}}"
    return list(yaml.safe_load_all(templated(look, values | variables)))
