# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""What the modules share that speak to a cluster: how they are told of it, and a client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .client import KubeClient, KubeError
from .kubeconfig import IMPORT_ERROR

CLUSTER_OPTIONS: dict[str, dict[str, Any]] = {
    "kubeconfig": {"type": "path", "required": True},
    "context": {"type": "str"},
}


def client_of(module: AnsibleModule, would: str, **empty: Any) -> KubeClient:
    """A client for the module's kubeconfig; ends the module where there can be none.

    In check mode a cluster that does not exist yet is no failure: the module then ends with
    `would`, what it would do there, and with `empty` as its return values.
    """
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=IMPORT_ERROR)
    kubeconfig = module.params["kubeconfig"]
    if module.check_mode and not Path(kubeconfig).exists():
        module.exit_json(
            **{"changed": False} | empty, msg=f"would {would}; {kubeconfig} does not exist yet"
        )
    try:
        return KubeClient(kubeconfig, module.params.get("context"))
    except KubeError as error:
        module.fail_json(msg=str(error))
        raise
