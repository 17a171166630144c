#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start or remove one pod of a worker as an upgrade of a Helm release would make it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_canary
short_description: Start or remove one pod of a worker as an upgrade of a Helm release would make it
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Renders the chart. If the upgrade would replace the pods of a worker, starts one pod like the
    worker's new ones, in a separate Deployment. Does not change the release and its pods.
  - Copies ConfigMaps and Secrets that the upgrade makes or changes for the pod, under other names.
    If its pods need another object that the upgrade makes or changes (a volume, a service account),
    there is no canary, and RV(skipped_because) has the reason.
  - Removes the canary of an earlier run that is no longer wanted.
  - Does not wait for the pod; M(baremetal.sonic.worker_canary) does.
extends_documentation_fragment:
  - baremetal.sonic.attributes
  - baremetal.sonic.attributes.actiongroup_cluster
  - baremetal.sonic.helm
options:
  state:
    description: V(absent) removes the canary.
    type: str
    choices: [absent, present]
    default: present
  workers:
    description:
      - Names of workers, which are Deployments of the release. The first of them whose pods the upgrade
        replaces gets the canary.
      - Without one there is no canary.
    type: list
    elements: str
    default: []
seealso:
  - module: baremetal.sonic.helm_release
  - module: baremetal.sonic.worker_canary
"""

EXAMPLES = r"""
- name: Start the canary
  baremetal.sonic.helm_canary:
    kubeconfig: /etc/kubernetes/admin.conf
    name: cartesia
    namespace: cartesia
    chart: /opt/baremetal-sonic/charts/cartesia-1.0.0.tgz
    values:
      clusterName: rack1
    workers: [tts-worker]
  register: started

- name: Wait until it has capacity
  baremetal.sonic.worker_canary:
    kubeconfig: /etc/kubernetes/admin.conf
    namespace: cartesia
    worker: "{{ started.deployment }}"
  when: started.deployment | length > 0

- name: Remove it
  baremetal.sonic.helm_canary:
    kubeconfig: /etc/kubernetes/admin.conf
    name: cartesia
    namespace: cartesia
    state: absent
"""

RETURN = r"""
deployment:
  description: Name of the canary's Deployment; empty when there is none.
  type: str
  returned: success
models:
  description: Models that the deployed release serves, by C(workers[].workerArgs.model) of its values.
  type: list
  elements: str
  returned: success
skipped_because:
  description: Why there is no canary although pods of a worker are replaced; empty otherwise.
  type: str
  returned: success
worker:
  description: The worker whose pod it is; empty when there is none.
  type: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._helm import client as helm
from ansible_collections.baremetal.sonic.plugins.module_utils._helm.canary import (
    COPIED,
    Canary,
    plan,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._helm.module import (
    HELM_OPTIONS,
    helm_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.applyset import (
    AppliedSet,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.module import client_of

MANAGER = "baremetal.sonic.canary"
KINDS = [("apps/v1", "Deployment"), *(("v1", kind) for kind in COPIED)]
NOTHING = {"deployment": "", "models": [], "skipped_because": "", "worker": ""}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **HELM_OPTIONS,
            "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
            "workers": {"type": "list", "elements": "str", "default": []},
        },
        required_if=[("state", "present", ["chart"])],
        supports_check_mode=True,
    )
    try:
        module.exit_json(**_do(module))
    except (helm.HelmError, KubeError) as error:
        module.fail_json(msg=f"canary of release {module.params['name']}: {error}")


def _do(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    canary, models = Canary(), []
    if params["state"] == "present" and params["workers"]:
        api = helm_of(module, changed=False, **NOTHING)
        before = api.current()
        helm.refuse_pending(before)
        if before.revision:
            values = helm.merged(params["values"], params["secret_values"])
            after = api.tried(params["chart"], values)
            models = served(before.values)
            if not helm.same(before, after):
                canary = plan(before, after, params["workers"], params["namespace"])
    client = client_of(module, "start a canary", **NOTHING)
    wanted = AppliedSet(client, f"canary-{params['name']}", MANAGER, params["namespace"])
    changes = wanted.sync(canary.objects, KINDS, module.check_mode)
    return {
        "changed": bool(changes),
        "deployment": canary.deployment,
        "models": models,
        "skipped_because": canary.why,
        "worker": canary.worker,
        "diff": {
            "before": helm.dump([change.called for change in changes if change.before]),
            "after": helm.dump([change.called for change in changes if change.after]),
        },
    }


def served(values: Any) -> list[str]:
    """Return the models that a release's values name.

    The values' shape is that of the vendor's page "Managed Kubernetes".
    """
    return [
        worker["workerArgs"]["model"]
        for worker in values.get("workers") or []
        if "model" in (worker.get("workerArgs") or {})
    ]


if __name__ == "__main__":
    main()
