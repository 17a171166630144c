# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Options and client of the modules that deploy a chart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .._kube.kubeconfig import IMPORT_ERROR
from .._kube.module import kubeconfig_of
from .client import Helm

HELM_OPTIONS: dict[str, dict[str, Any]] = {
    "kubeconfig": {"type": "path"},
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "chart": {"type": "path"},
    "values": {"type": "dict", "default": {}},
    "secret_values": {"type": "dict", "default": {}, "no_log": True},
}


def helm_of(module: AnsibleModule, **early: Any) -> Helm:
    """Return Helm for the module's release, or end the module.

    In check mode a missing helm, chart or kubeconfig is no failure, since an earlier task may
    bring it. The module then ends with `early` as return values.
    """
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=IMPORT_ERROR)
    params = module.params
    kubeconfig = kubeconfig_of(module)
    binary = module.get_bin_path("helm")
    absent = [p for p in (kubeconfig, params["chart"]) if p and not Path(p).exists()]
    if module.check_mode and (absent or not binary):
        missing = ", ".join([*absent, *([] if binary else ["helm"])])
        module.exit_json(
            **early, msg=f"would read the release {params['name']}; missing so far: {missing}"
        )  # fmt: skip
    if not binary:
        module.fail_json(msg="helm is not installed on this host: add it to vendor_chart_packages")
    return Helm(module.run_command, binary, kubeconfig, params["namespace"], params["name"])
