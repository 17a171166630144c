# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the roles' defaults from their files, so that no code repeats one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansible.module_utils.common.yaml import yaml_load

ROLES = Path(__file__).resolve().parents[2] / "roles"


@cache
def role_defaults(role: str) -> Mapping[str, Any]:
    """Return a role's defaults by name; templates are not evaluated."""
    path = ROLES / role / "defaults/main.yml"
    loaded = yaml_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    return loaded or {}


@cache
def plain_defaults() -> Mapping[str, Any]:
    """Return the defaults of all roles by name, without those that hold a template."""
    roles = sorted(path.name for path in ROLES.iterdir())
    return {
        name: value
        for role in roles
        for name, value in role_defaults(role).items()
        if "{{" not in str(value)
    }
