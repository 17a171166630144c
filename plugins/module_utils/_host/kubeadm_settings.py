# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Settings that kubeadm reads only when it initializes a cluster, and the key that Secrets need."""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# NaCl's secretbox takes keys of 32 bytes: the API server refuses any other length.
KEY_BYTES = 32
# The parts of ClusterConfiguration that become command lines, and the static pods that have them.
COMPONENTS = {
    "apiServer": "kube-apiserver",
    "controllerManager": "kube-controller-manager",
    "scheduler": "kube-scheduler",
}

Documents = Sequence[Mapping[str, Any]]


def encryption_configuration(key: bytes) -> dict[str, Any]:
    """An EncryptionConfiguration by which the API server encrypts Secrets in etcd.

    The first provider writes, all read: a rotation puts a second key in front of this one, and what
    a cluster wrote before it had a key stays readable.
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


def make_encryption_file(path: Path) -> bool:
    """Write a configuration with a new key if the file is missing; whether it was written.

    Only root can read it. It is there whole or not at all, and never replaced: what is in etcd can
    be read only with this key. Raises OSError.
    """
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = json.dumps(encryption_configuration(secrets.token_bytes(KEY_BYTES)), indent=2) + "\n"
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    return True


def noted(documents: Documents) -> str:
    """The part of a cluster's first documents that is stored for `differences`."""
    return json.dumps([_lasting(document) for document in documents], sort_keys=True) + "\n"


def differences(note: str, documents: Documents) -> list[str]:
    """Fields whose wanted values differ from those at the cluster's initialization.

    Args:
        note: what `noted` made then; empty when that is not known.
        documents: what is wanted now.

    Returns:
        Each as KIND.FIELD, for example ClusterConfiguration.apiServer.extraArgs.
    """
    if not note.strip():
        return []
    before = {document["kind"]: document for document in json.loads(note)}
    found: list[str] = []
    for document in documents:
        now = _lasting(document)
        found += _changed(now["kind"], before.get(now["kind"], {}), now)
    return found


def _lasting(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "bootstrapTokens"}


def _changed(path: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _changed(f"{path}.{key}", before.get(key), now.get(key))
    elif before != now:
        yield path


def lacking_arguments(documents: Documents, pods: Sequence[Mapping[str, Any]]) -> list[str]:
    """Wanted arguments that the control plane's programs do not run with.

    Args:
        documents: what is wanted.
        pods: the static pods of the control plane, as the API has them.
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
