# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""What the modules share that wait for workloads: options, the wait, and how they end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._kube.client import KubeClient, KubeError
from .progress import KINDS, Target
from .wait import Graces, Outcome, Wait

WAIT_OPTIONS: dict[str, dict[str, Any]] = {
    "workloads": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "kind": {"type": "str", "required": True, "choices": sorted(KINDS)},
            "namespace": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
        },
    },
    "api_services": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 600},
    "image_pull_grace": {"type": "int", "default": 15},
    "unschedulable_grace": {"type": "int", "default": 15},
    "error_grace": {"type": "int", "default": 10},
    "crash_restarts": {"type": "int", "default": 2},
}


def targets_of(params: Mapping[str, Any]) -> list[Target]:
    """The workloads that the options name, without doubles."""
    return list(
        dict.fromkeys(
            Target(item["kind"], item["namespace"], item["name"]) for item in params["workloads"]
        )
    )


def wait_of(
    module: AnsibleModule, client: KubeClient, more: Sequence[Target] = (), **options: Any
) -> Wait:
    """The wait that the module's options ask for, and for more targets; options: see Wait."""
    params = module.params
    return Wait(
        client,
        list(dict.fromkeys([*targets_of(params), *more])),
        Graces.of(params),
        params["timeout"],
        api_services=params["api_services"],
        **options,
    )


def run_wait(module: AnsibleModule, wait: Wait) -> Outcome:
    """Waits, or looks once in check mode; ends the module when the API does not answer."""
    try:
        return wait.run(once=module.check_mode)
    except KubeError as error:
        module.fail_json(msg=f"the Kubernetes API cannot be asked: {error}")
        raise


def finish_applied(module: AnsibleModule, client: KubeClient, **values: Any) -> None:
    """Ends a module that has applied something, after what its options say to wait for."""
    if not (module.params["workloads"] or module.params["api_services"]):
        module.exit_json(**values)
    finish(module, run_wait(module, wait_of(module, client)), **values)


def finish(module: AnsibleModule, outcome: Outcome, **values: Any) -> None:
    """Ends the module with what the wait found."""
    values = {"changed": False} | values
    values["elapsed_s"] = outcome.elapsed_s
    values["workloads"] = [assessment.summary() for assessment in outcome.assessments]
    if outcome.failure:
        module.fail_json(msg=outcome.failure, cause=outcome.cause, **values)
    if outcome.pending:
        values["msg"] = "would wait for " + "; ".join(outcome.pending)
    module.exit_json(**values)
