# SPDX-License-Identifier: Apache-2.0
"""Read artifacts.yml and upstream.yml, and the versions that they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lab.config import REPOSITORY

HERE = Path(__file__).resolve().parent


def versions() -> dict[str, str]:
    """Return the roles' own table of versions, and the parts of Kubernetes' version."""
    defaults = yaml.safe_load(
        (REPOSITORY / "roles/site/defaults/main.yml").read_text(encoding="utf-8")
    )
    table = {name: str(value) for name, value in defaults["site_versions"].items()}
    major, minor, _patch = table["kubernetes"].split(".")
    return table | {"kubernetes_major": major, "kubernetes_minor": minor}


def artifacts() -> dict[str, Any]:
    """artifacts.yml with every {version} filled in."""
    return _read("artifacts.yml")


def upstream() -> dict[str, Any]:
    """upstream.yml with every {version} filled in."""
    return _read("upstream.yml")


def _read(name: str) -> dict[str, Any]:
    raw = yaml.safe_load((HERE / name).read_text(encoding="utf-8"))
    filled: dict[str, Any] = _fill(raw, versions())
    return filled


def _fill(value: Any, table: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, table) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, table) for item in value]
    return value.format_map(table) if isinstance(value, str) else value
