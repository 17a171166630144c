# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""What the modules share that deploy a chart: options, and helm itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .._kube.kubeconfig import IMPORT_ERROR
from .client import Helm

HELM_OPTIONS: dict[str, dict[str, Any]] = {
    "kubeconfig": {"type": "path", "required": True},
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "chart": {"type": "path"},
    "values": {"type": "dict", "default": {}},
    "secret_values": {"type": "dict", "default": {}, "no_log": True},
}


def helm_of(module: AnsibleModule, **early: Any) -> Helm:
    """Helm for the module's release; ends the module where there is none.

    In check mode what an earlier task would have brought is no failure: the module then ends with
    `early` as its return values.
    """
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=IMPORT_ERROR)
    params = module.params
    binary = module.get_bin_path("helm")
    absent = [p for p in (params["kubeconfig"], params["chart"]) if p and not Path(p).exists()]
    if module.check_mode and (absent or not binary):
        missing = ", ".join([*absent, *([] if binary else ["helm"])])
        module.exit_json(
            **early, msg=f"would look at {params['name']}; not there yet: {missing}"
        )  # fmt: skip
    if not binary:
        module.fail_json(msg="helm is not installed on this host: add it to chart_packages")
    return Helm(
        module.run_command, binary, params["kubeconfig"], params["namespace"], params["name"]
    )
