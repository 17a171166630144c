# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The variables that an inventory sets for a site: what support may see of them, and what not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.yaml import yaml_load
from ansible.release import __version__
from jinja2.exceptions import UndefinedError

from ..module_utils._support.forms import is_secret, secret_leaves
from ..module_utils._support.transcripts import MARK
from .role_defaults import ROLES

Spec = Mapping[str, Any]
Variables = Mapping[str, Any]
# Passwords with which Ansible logs in. No role has them as an option.
LOGINS = (
    "ansible_password",
    "ansible_ssh_pass",
    "ansible_become_password",
    "ansible_become_pass",
    "ansible_sudo_pass",
)


@cache
def options() -> Mapping[str, Spec]:
    """Return the options of all roles by name, as their argument specs have them."""
    merged: dict[str, Spec] = {}
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        loaded = yaml_load(path.read_text(encoding="utf-8"))
        for entry in loaded["argument_specs"].values():
            merged.update(entry.get("options") or {})
    return merged


def collection_version() -> str:
    """Return this collection's version, of an installed one or of a checkout."""
    installed, checkout = ROLES.parent / "MANIFEST.json", ROLES.parent / "galaxy.yml"
    if installed.is_file():
        manifest = yaml_load(installed.read_text(encoding="utf-8"))
        return str(manifest["collection_info"]["version"])
    return str(yaml_load(checkout.read_text(encoding="utf-8"))["version"])


def plain(value: Any) -> Any:
    """Return a value without what Ansible attaches to it, as JSON has it."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)


def shown(name: str, value: Any, spec: Spec) -> Any:
    """Return a value without the secrets in it: by the spec's no_log, and by names."""
    if value and not isinstance(value, bool) and (spec.get("no_log") or is_secret(name)):
        return MARK
    inner: Mapping[str, Spec] = spec.get("options") or {}
    if isinstance(value, Mapping):
        return {key: shown(key, item, inner.get(key) or {}) for key, item in value.items()}
    if isinstance(value, list):
        return [shown("", item, {"options": inner}) for item in value]
    return value


def hidden(name: str, value: Any, spec: Spec) -> Iterator[str]:
    """Yield the texts that shown() leaves out."""
    if spec.get("no_log") or is_secret(name):
        yield from secret_leaves(value, True)
        return
    inner: Mapping[str, Spec] = spec.get("options") or {}
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from hidden(key, item, inner.get(key) or {})
    elif isinstance(value, list):
        for item in value:
            yield from hidden("", item, {"options": inner})


def evaluated(variables: Variables, name: str) -> Any:
    """Return a variable's value, or the text of why it has none."""
    try:
        return plain(variables[name])
    except (AnsibleError, UndefinedError) as error:
        return f"cannot be evaluated: {str(error).splitlines()[0]}"


def site_inventory(
    hosts: Sequence[str], hostvars: Mapping[str, Variables], groups: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return what an inventory sets for these hosts, without secrets.

    Variables with the same value on all hosts are listed once.
    """
    specs = options()
    values = {
        host: {
            name: shown(name, evaluated(hostvars[host], name), spec)
            for name, spec in sorted(specs.items())
            if name in hostvars[host]
        }
        for host in hosts
    }
    first = next(iter(values.values()), {})
    common = {
        name: value
        for name, value in first.items()
        if all(name in one and one[name] == value for one in values.values())
    }
    return {
        "collection": collection_version(),
        "ansible_core": __version__,
        "variables": common,
        "hosts": {
            host: {
                "groups": sorted(
                    group for group, names in groups.items() if host in names and group != "all"
                ),
                "address": str(evaluated(hostvars[host], "ansible_host"))
                if "ansible_host" in hostvars[host]
                else host,
                "variables": {
                    name: value for name, value in values[host].items() if name not in common
                },
            }
            for host in hosts
        },
    }


def site_secrets(hosts: Sequence[str], hostvars: Mapping[str, Variables]) -> list[str]:
    """Return the secret texts among the variables of these hosts, each once."""
    specs = {**options(), **{name: {"no_log": True} for name in LOGINS}}
    texts: dict[str, None] = {}
    for host in hosts:
        for name, spec in specs.items():
            if name in hostvars[host]:
                texts.update(dict.fromkeys(hidden(name, evaluated(hostvars[host], name), spec)))
    return [text for text in texts if text]
