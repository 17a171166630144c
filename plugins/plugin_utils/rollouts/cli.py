# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""What the processes of the sites take over from the command line of a rollout."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Options with one value that are passed on as they are, by their names in ansible.context.CLIARGS.
VALUES = {
    "become_method": "--become-method",
    "become_user": "--become-user",
    "become_password_file": "--become-password-file",
    "connection_password_file": "--connection-password-file",
    "private_key_file": "--private-key",
    "remote_user": "--user",
    "connection": "--connection",
    "timeout": "--timeout",
    "ssh_common_args": "--ssh-common-args",
    "sftp_extra_args": "--sftp-extra-args",
    "scp_extra_args": "--scp-extra-args",
    "ssh_extra_args": "--ssh-extra-args",
    "forks": "--forks",
}
PROMPTS = {
    "ask_vault_pass": "--ask-vault-password: use --vault-password-file",
    "become_ask_pass": "--ask-become-pass: use --become-password-file",
    "ask_pass": "--ask-pass: use --connection-password-file",
}
# Variables of Ansible itself, which differ between runs and hosts, not between releases.
MAGIC = (
    "groups", "group_names", "hostvars", "inventory_dir", "inventory_file", "inventory_hostname",
    "inventory_hostname_short", "omit", "playbook_dir", "play_hosts", "vars", "environment",
    "role_name", "role_names", "role_path", "role_uuid", "parent_role_names",
    "parent_role_paths",
)  # fmt: skip


def arguments(given: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the options for each site's ansible-playbook, and the problems.

    given: ansible.context.CLIARGS.
    """
    options: list[str] = []
    for source in given.get("inventory") or ():
        options += ["--inventory", str(source)]
    for text in given.get("extra_vars") or ():
        options += ["--extra-vars", str(text)]
    for text in given.get("vault_password_files") or ():
        options += ["--vault-password-file", str(text)]
    for text in given.get("vault_ids") or ():
        options += ["--vault-id", str(text)]
    if given.get("become"):
        options.append("--become")
    for name, option in VALUES.items():
        if (value := given.get(name)) not in (None, ""):
            # A value may begin with a dash.
            options.append(f"{option}={value}")
    if int(given.get("verbosity") or 0):
        options.append("-" + "v" * int(given["verbosity"]))
    return options, _refused(given)


def _refused(given: Mapping[str, Any]) -> list[str]:
    problems = [
        f"{text} instead. A process for each site cannot ask"
        for name, text in PROMPTS.items()
        if given.get(name)
    ]
    problems += [
        f"--vault-id {text}: name a file instead of a prompt. A process for each site cannot ask"
        for text in given.get("vault_ids") or ()
        if str(text).rpartition("@")[2] in ("prompt", "prompt_ask_vault_pass")
    ]
    if tuple(given.get("tags") or ("all",)) != ("all",) or given.get("skip_tags"):
        problems.append("--tags and --skip-tags: leave them out. A rollout needs all of its steps")
    if given.get("step") or given.get("start_at_task"):
        problems.append("--step and --start-at-task: leave them out. A process cannot ask")
    return problems


def is_inventory(name: str) -> bool:
    """Whether a variable is part of the wanted change, and not of this run."""
    return not (name in MAGIC or name.startswith(("ansible_", "rollout_", "_rollout_")))


def version(collection: Path) -> str:
    """Return the version of the collection, of an archive or a checkout."""
    manifest = collection / "MANIFEST.json"
    if manifest.is_file():
        stored = json.loads(manifest.read_text(encoding="utf-8"))
        return str(stored["collection_info"]["version"])
    text = (collection / "galaxy.yml").read_text(encoding="utf-8")
    match = re.search(r"^version: *(\S+)", text, re.MULTILINE)
    return match[1] if match else ""
