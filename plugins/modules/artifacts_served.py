#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until every API pod and worker has the files of the bucket."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifacts_served
short_description: Wait until every API pod and worker has the files of the bucket
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Asks the artifact sync through the API server which files it serves and which files each pod has, until all running pods have them.
  - Fails at once when the artifact sync refuses one of the files, with the reason.
extends_documentation_fragment:
  - baremetal.sonic.attributes.reads
  - baremetal.sonic.attributes.actiongroup_cluster
  - baremetal.sonic.cluster
options:
  namespace:
    description: Namespace of the stack.
    type: str
    required: true
  files:
    description: For each file in the bucket its version, as in RV(baremetal.sonic.bucket_files#module:versions). Empty for a removed file.
    type: dict
    required: true
  timeout:
    description: Seconds to wait at most.
    type: int
    default: 300
seealso:
  - module: baremetal.sonic.bucket_files
"""

EXAMPLES = r"""
- name: Wait until every pod has the voice
  baremetal.sonic.artifacts_served:
    kubeconfig: /etc/kubernetes/admin.conf
    namespace: cartesia
    files:
      voices/night-desk.json: "1795276800000000"
"""

RETURN = r"""
elapsed_s:
  description: Seconds that the wait took.
  type: float
  returned: always
generation:
  description: The generation that all pods have.
  type: str
  returned: success
pods:
  description: How many pods have it.
  type: int
  returned: success
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.module import (
    CLUSTER_OPTIONS,
    client_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.store import (
    collection,
    service_proxy,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._speech.artifacts import (
    FOLLOWERS,
    RefusedError,
    following,
    waits_for,
)

PAUSE_S = 0.5
SERVICE = "artifact-sync:8080"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "namespace": {"type": "str", "required": True},
            "files": {"type": "dict", "required": True},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    namespace = module.params["namespace"]
    wanted = {name: str(version or "") for name, version in module.params["files"].items()}
    client = client_of(module, "wait until every pod has the artifacts", generation="", pods=0)
    began = time.monotonic()
    if module.check_mode:
        module.exit_json(changed=False, elapsed_s=0.0, generation="", pods=0)
    path = f"{service_proxy(namespace, SERVICE)}/followers"
    followers: dict[str, Any] = {}
    pods: list[dict[str, Any]] = []
    while True:
        try:
            followers = client.get(path)
            pods = client.get(collection("pods", namespace), labelSelector=FOLLOWERS)["items"]
            missing = waits_for(followers, pods, wanted)
        except RefusedError as error:
            module.fail_json(
                msg=f"the artifact sync refuses what is in the bucket:\n{error}",
                elapsed_s=time.monotonic() - began,
            )
        except KubeError as error:
            missing = f"the artifact sync cannot be asked: {error}"
        elapsed_s = time.monotonic() - began
        if not missing:
            break
        if elapsed_s > module.params["timeout"]:
            module.fail_json(msg=f"after {elapsed_s:.0f} s: {missing}", elapsed_s=elapsed_s)
        time.sleep(PAUSE_S)
    module.exit_json(
        changed=False,
        elapsed_s=elapsed_s,
        generation=followers["generation"],
        pods=len(following(pods)),
    )


if __name__ == "__main__":
    main()
