# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The sites of an inventory, and the playbooks that run at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.sonic.plugins.filter.hosts_of_site import site_of

from .cli import FILE_NAME
from .engine import OWN

COLLECTION = Path(__file__).resolve().parents[3]


def sites_of(
    variables: Mapping[str, Any], wanted: Sequence[str], option: str
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the hosts of each site, and the problems.

    Args:
        variables: of a task.
        wanted: names of sites; empty for all of the inventory.
        option: the variable that has these names.
    """
    hostvars, groups = variables["hostvars"], variables["groups"]
    known: dict[str, list[str]] = {}
    for group in ("control_plane", "gpu_workers", "ingress"):
        for host in groups.get(group, []):
            members = known.setdefault(site_of(hostvars[host]), [])
            if host not in members:
                members.append(host)
    problems = [
        f"{option}: the inventory has no site {name}" for name in wanted if name not in known
    ]
    sites = {name: known[name] for name in (wanted or known) if name in known}
    if not known:
        problems.append("the inventory has no site: its group control_plane is empty")
    leaders = groups.get("control_plane", [])
    problems += [
        f"site {name}: the group control_plane has no host of this site: name at least one"
        for name, members in sites.items()
        if not set(members) & set(leaders)
    ]
    problems += [
        f"site_name {name!r}: use letters, digits, dots, dashes and underscores only, since it"
        " names the site's files"
        for name in sites
        if not FILE_NAME.fullmatch(name)
    ]
    return sites, problems


def leader_of(members: Sequence[str], variables: Mapping[str, Any]) -> str:
    """Return the first control plane of a site."""
    leaders = variables["groups"].get("control_plane", [])
    return next((host for host in leaders if host in members), members[0])


def paths_of(names: Sequence[str], option: str) -> tuple[dict[str, str], list[str]]:
    """Return what ansible-playbook is given for each playbook, and the problems.

    Args:
        names: names of this collection's playbooks, or paths.
        option: the variable that has them.
    """
    paths = {name: _path(name) for name in names}
    problems = [
        f"{option}: there is no playbook {name}: give a path, or the name of one of this"
        " collection, baremetal.sonic.stack for example"
        for name, path in paths.items()
        if not path
    ]
    return {name: path for name, path in paths.items() if path}, problems


def _path(name: str) -> str:
    """Return what ansible-playbook is given for a playbook; empty for one that does not exist."""
    path = COLLECTION / "playbooks" / f"{name.removeprefix(OWN)}.yml"
    if "/" not in name and not name.endswith((".yml", ".yaml")):
        return str(path) if path.is_file() else ""
    return str(Path(name).absolute()) if Path(name).is_file() else ""
