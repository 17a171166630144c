# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Settings that kubeadm reads only at a cluster's initialization, and the key for its Secrets."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import write_file

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# NaCl's secretbox takes keys of 32 bytes: the API server refuses any other length.
KEY_BYTES = 32
# The parts of ClusterConfiguration that become arguments, and the static pods that get them.
COMPONENTS = {
    "apiServer": "kube-apiserver",
    "controllerManager": "kube-controller-manager",
    "scheduler": "kube-scheduler",
}

Documents = Sequence[Mapping[str, Any]]


def encryption_configuration(key: bytes) -> dict[str, Any]:
    """Return an EncryptionConfiguration, so that the API server encrypts Secrets in etcd.

    The first provider writes, all providers read. So a rotation puts a second key before this one,
    and Secrets from before the key stay readable.
    """
    encoded = base64.b64encode(key).decode("ascii")
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [
            {
                "resources": ["secrets"],
                "providers": [
                    {"secretbox": {"keys": [{"name": "key1", "secret": encoded}]}},
                    {"identity": {}},
                ],
            }
        ],
    }


def make_encryption_file(module: AnsibleModule, path: Path) -> bool:
    """Write a configuration with a new key if the file is missing; return whether it was.

    Only root can read it. An existing file is never replaced: what is in etcd can be read only
    with its key. Raises OSError.
    """
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = json.dumps(encryption_configuration(secrets.token_bytes(KEY_BYTES)), indent=2) + "\n"
    write_file(module, path, text, 0o600)
    return True


def initial_settings(documents: Documents) -> str:
    """Return the text that a new cluster stores for `differences`."""
    return json.dumps([_lasting(document) for document in documents], sort_keys=True) + "\n"


def differences(note: str, documents: Documents) -> list[str]:
    """Return the fields whose wanted values differ from those at the cluster's initialization.

    Args:
        note: the text of `initial_settings` from then; empty if it is unknown.
        documents: the wanted documents.

    Returns:
        Each as KIND.FIELD, for example ClusterConfiguration.apiServer.extraArgs.
    """
    if not note.strip():
        return []
    before = {document["kind"]: document for document in json.loads(note)}
    fields: list[str] = []
    for document in documents:
        now = _lasting(document)
        fields += _changed(now["kind"], before.get(now["kind"], {}), now)
    return fields


def _lasting(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "bootstrapTokens"}


def _changed(path: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _changed(f"{path}.{key}", before.get(key), now.get(key))
    elif before != now:
        yield path


def lacking_arguments(documents: Documents, pods: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the wanted arguments that the control plane's programs lack.

    Args:
        documents: the wanted documents.
        pods: the static pods of the control plane, from the API.
    """
    commands = {
        container["name"]: container.get("command") or []
        for pod in pods
        for container in pod["spec"]["containers"]
    }
    return [
        f"{program} --{argument['name']}"
        for document in documents
        if document.get("kind") == "ClusterConfiguration"
        for part, program in COMPONENTS.items()
        if program in commands
        for argument in (document.get(part) or {}).get("extraArgs") or []
        if f"--{argument['name']}={argument['value']}" not in commands[program]
    ]
