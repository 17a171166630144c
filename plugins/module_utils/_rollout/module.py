# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Options, wait and result of the modules that wait for workloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._kube.client import KubeClient, KubeError
from . import phases
from .progress import KINDS, Target
from .wait import Graces, Outcome, Wait, Waited

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


# Options with which an action plugin runs a wait in parts, to show progress.
PART_OPTIONS: dict[str, dict[str, Any]] = {
    "part_s": {"type": "float", "default": 0.0},
    "waited": {"type": "dict", "default": {}},
}


def targets_of(params: Mapping[str, Any]) -> list[Target]:
    """Return the workloads that the options name, each once."""
    return list(
        dict.fromkeys(
            Target(item["kind"], item["namespace"], item["name"]) for item in params["workloads"]
        )
    )


def wait_of(
    module: AnsibleModule, client: KubeClient, more: Sequence[Target] = (), **options: Any
) -> Wait:
    """Make the wait of the module's options, for more targets if given; options: see Wait."""
    params = module.params
    return Wait(
        client,
        list(dict.fromkeys([*targets_of(params), *more])),
        Graces.of(params),
        params["timeout"],
        api_services=params["api_services"],
        waited=_waited(params.get("waited") or {}),
        **options,
    )


def _waited(given: Mapping[str, Any]) -> Waited:
    troubles = {str(key): float(age) for key, age in (given.get("troubles") or {}).items()}
    return Waited(float(given.get("elapsed_s") or 0), troubles)


def run_wait(module: AnsibleModule, wait: Wait) -> Outcome:
    """Wait; in check mode only look once. End the module if the API does not answer."""
    try:
        return wait.run(once=module.check_mode, part_s=module.params.get("part_s") or 0.0)
    except KubeError as error:
        module.fail_json(msg=f"the Kubernetes API cannot be asked: {error}")
        raise


def finish_applied(module: AnsibleModule, client: KubeClient, **values: Any) -> None:
    """Wait for what the options name, then end a module that has applied something."""
    if not (module.params["workloads"] or module.params["api_services"]):
        module.exit_json(**values)
    finish(module, run_wait(module, wait_of(module, client)), **values)


def finish(module: AnsibleModule, outcome: Outcome, **values: Any) -> None:
    """End the module with the outcome of the wait."""
    values = {"changed": False} | values
    values["elapsed_s"] = outcome.elapsed_s
    values["passed_over"] = outcome.passed_over
    for node, reason in sorted(outcome.passed_over.items()):
        module.warn(f"Node {node} {reason}, so it was not waited for: run again when it is back")
    values["workloads"] = [assessment.summary() for assessment in outcome.assessments]
    if outcome.waited:
        now = datetime.now(timezone.utc)
        values["waited"] = asdict(outcome.waited)
        values["progress"] = [
            phases.line(assessment, now)
            for assessment in outcome.assessments
            if not assessment.progress.done
        ] or outcome.pending
        module.exit_json(**values)
    if outcome.failure:
        module.fail_json(msg=outcome.failure, cause=outcome.cause, **values)
    if outcome.pending:
        values["msg"] = "would wait for " + "; ".join(outcome.pending)
    module.exit_json(**values)
