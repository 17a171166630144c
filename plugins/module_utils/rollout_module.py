# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""What the modules share that wait for workloads: options, client, and how they end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .kube import KUBERNETES_IMPORT_ERROR, KubeClient, KubeError
from .rollout import KINDS, Target
from .rollout_wait import Outcome, Wait

WORKLOAD_OPTIONS: dict[str, dict[str, Any]] = {
    "kind": {"type": "str", "required": True, "choices": sorted(KINDS)},
    "namespace": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
}


def targets_of(workloads: Sequence[Mapping[str, str]]) -> list[Target]:
    """The targets that a list of workload options names, without doubles."""
    return list(
        dict.fromkeys(Target(item["kind"], item["namespace"], item["name"]) for item in workloads)
    )


def client_of(module: AnsibleModule, would: str, **empty: Any) -> KubeClient:
    """A client for the module's kubeconfig; ends the module where there can be none.

    In check mode a cluster that does not exist yet is no failure: the module then ends with
    `would`, what it would wait for, and with `empty` as its return values.
    """
    if KUBERNETES_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=KUBERNETES_IMPORT_ERROR)
    kubeconfig = module.params["kubeconfig"]
    if module.check_mode and not Path(kubeconfig).exists():
        module.exit_json(
            changed=False,
            msg=f"would wait for {would}; {kubeconfig} does not exist yet",
            elapsed_s=0.0,
            **empty,
        )
    try:
        return KubeClient(kubeconfig, module.params["context"])
    except KubeError as error:
        module.fail_json(msg=str(error))
        raise


def run_wait(module: AnsibleModule, wait: Wait) -> Outcome:
    """Waits, or looks once in check mode; ends the module when the API does not answer."""
    try:
        return wait.run(once=module.check_mode)
    except KubeError as error:
        module.fail_json(msg=f"the Kubernetes API cannot be asked: {error}")
        raise


def finish(module: AnsibleModule, outcome: Outcome, **values: Any) -> None:
    """Ends the module with what the wait found."""
    values["elapsed_s"] = outcome.elapsed_s
    values["workloads"] = [assessment.summary() for assessment in outcome.assessments]
    if outcome.failure:
        module.fail_json(msg=outcome.failure, cause=outcome.cause, **values)
    if outcome.pending:
        values["msg"] = "would wait for " + "; ".join(outcome.pending)
    module.exit_json(changed=False, **values)
