# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Options and client of the modules that use a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .client import KubeClient, KubeError
from .kubeconfig import IMPORT_ERROR

CLUSTER_OPTIONS: dict[str, dict[str, Any]] = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
}


def kubeconfig_of(module: AnsibleModule) -> str:
    """The module's kubeconfig; ends the module where none is given.

    The option is not required: a role's task has it from module_defaults, which ansible-lint does
    not see.
    """
    if not (kubeconfig := module.params["kubeconfig"]):
        module.fail_json(
            msg="kubeconfig is missing: give it to the module, or once to all of them by"
            " module_defaults of group/baremetal.sonic.cluster"
        )
    return str(kubeconfig)


def client_of(module: AnsibleModule, would: str, **empty: Any) -> KubeClient:
    """Return a client for the module's kubeconfig, or end the module.

    In check mode a missing kubeconfig is no failure, since an earlier task may make it. The module
    then ends with a message that says what it `would` do, and with `empty` as return values.
    """
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=IMPORT_ERROR)
    kubeconfig = kubeconfig_of(module)
    if module.check_mode and not Path(kubeconfig).exists():
        module.exit_json(
            **{"changed": False} | empty, msg=f"would {would}; {kubeconfig} does not exist yet"
        )
    try:
        return KubeClient(kubeconfig, module.params.get("context"))
    except KubeError as error:
        module.fail_json(msg=str(error))
        raise
