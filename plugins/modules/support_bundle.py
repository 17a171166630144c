#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what support needs of a site into an archive without secrets."""

from __future__ import annotations

DOCUMENTATION = r"""
module: support_bundle
short_description: Write what support needs of a site into an archive without secrets
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Reads versions, objects, events, logs, figures and alerts through the Kubernetes API, and writes them as a C(tar.gz) with
    a C(MANIFEST.json).
  - Removes secrets from every file. These are O(secrets), the values of all Secrets of the cluster, and what looks like a
    private key, an API key, a token, a password or a signature. Each is removed in plain form, in base64, hexadecimal, URL encoding and
    JSON.
  - Values that are shorter than 6 characters are not removed by value.
  - Never writes data of Secrets or ConfigMaps, literal values of environment variables, or arguments of containers.
  - Removes transcripts from log lines. These are the values of the fields C(transcript), C(text), C(words), C(alias) and
    C(pronunciation).
  - What cannot be read is listed in the manifest, and is no failure. If the cluster does not answer, the archive holds the rest, and
    RV(cluster) has the reason.
  - Give the task C(no_log), since O(hosts) may contain secrets.
extends_documentation_fragment:
  - baremetal.sonic.attributes
  - baremetal.sonic.attributes.actiongroup_cluster
  - baremetal.sonic.cluster
attributes:
  check_mode:
    description: Can run in check mode.
    support: full
    details: Reads and writes nothing in check mode.
  diff_mode:
    description: Shows what changed in diff mode.
    support: none
    details: The content changes from second to second.
  idempotent:
    description: Changes nothing when run again.
    support: none
    details: Each run writes a new archive.
options:
  dest:
    description: The archive, on the host that runs the module. Its folder must exist. Only the owner can read it.
    type: path
    required: true
  site:
    description: Name of the site.
    type: str
    required: true
  namespace:
    description: Namespace of the speech stack.
    type: str
    required: true
  secrets:
    description: Texts that must not be in the archive.
    type: list
    elements: str
    default: []
  inventory:
    description: The site's variables, as the filter P(baremetal.sonic.support_inventory#filter) returns them.
    type: dict
    default: {}
  hosts:
    description: Results of M(baremetal.sonic.support_host) by the name of the host.
    type: dict
    default: {}
  since:
    description: Seconds of logs and figures.
    type: int
    default: 3600
  log_bytes:
    description: Most bytes of one log. The last lines are kept.
    type: int
    default: 1048576
  total_bytes:
    description: Most bytes of all logs of containers. The site's namespace comes first.
    type: int
    default: 33554432
  prometheus_namespace:
    description: Namespace of Prometheus.
    type: str
    default: monitoring
  prometheus_service:
    description: Name of its Service and the Service's port.
    type: str
    default: prometheus-operated:9090
seealso:
  - module: baremetal.sonic.support_host
"""

EXAMPLES = r"""
- name: Write the archive
  baremetal.sonic.support_bundle:
    kubeconfig: /etc/kubernetes/admin.conf
    dest: /root/rack1.tar.gz
    site: rack1
    namespace: cartesia
    secrets: ["{{ license_proxy_api_key }}"]
  no_log: true
"""

RETURN = r"""
path:
  description: The archive.
  type: str
  returned: success
bytes:
  description: Its size.
  type: int
  returned: success
at:
  description: When it was written, in UTC, as C(YYYYMMDDTHHMMSSZ).
  type: str
  returned: success
seconds:
  description: How long it took.
  type: float
  returned: success
files:
  description: Number of files in it.
  type: int
  returned: success
left_out:
  description: Number of parts that the manifest lists as missing.
  type: int
  returned: success
cluster:
  description: Why the cluster did not answer. Empty if it did.
  type: str
  returned: success
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import (
    KubeClient,
    KubeError,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.kubeconfig import IMPORT_ERROR
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.module import (
    CLUSTER_OPTIONS,
    kubeconfig_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._support.archive import Bundle
from ansible_collections.baremetal.sonic.plugins.module_utils._support.collect import (
    SupportApi,
    Wanted,
    add_hosts,
    add_inventory,
    add_logs,
    add_metrics,
    add_objects,
    bundle_of,
    lists_of,
)


def connected(kubeconfig: str, context: str | None) -> tuple[SupportApi, dict[str, Any]]:
    """Return a client and the API server's version. Raises KubeError.

    Unlike the other modules, this one is of use without a cluster that answers.
    """
    if IMPORT_ERROR:
        raise KubeError(missing_required_lib("kubernetes"))
    client = KubeClient(kubeconfig, context)
    return client, client.get("/version")


def collected(params: Mapping[str, Any], wanted: Wanted) -> tuple[Bundle, str]:
    """Return the bundle, and why the cluster did not answer."""
    problem = ""
    try:
        api, server = connected(params["kubeconfig"], params["context"])
    except KubeError as error:
        problem = f"the cluster cannot be reached: {error}".rstrip(".")
        bundle = bundle_of({}, params["secrets"], wanted.namespace)
        bundle.leave_out("objects, logs, metrics", problem)
    else:
        lists = lists_of(api)
        bundle = bundle_of(lists, params["secrets"], wanted.namespace)
        if isinstance(reason := lists["secrets"], str):
            # What is not known cannot be removed by value.
            bundle.leave_out("logs", f"Secrets cannot be read, so logs are not safe: {reason}")
        elif not isinstance(pods := lists["pods"], str):
            add_logs(bundle, api, pods, wanted)
        add_objects(bundle, server, lists)
        add_metrics(bundle, api, wanted)
    add_hosts(bundle, params["hosts"], wanted.log_bytes)
    add_inventory(bundle, params["inventory"])
    return bundle, bundle.redactor.text(problem)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "dest": {"type": "path", "required": True},
            "site": {"type": "str", "required": True},
            "namespace": {"type": "str", "required": True},
            "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "inventory": {"type": "dict", "default": {}},
            "hosts": {"type": "dict", "default": {}},
            "since": {"type": "int", "default": 3600},
            "log_bytes": {"type": "int", "default": 1048576},
            "total_bytes": {"type": "int", "default": 33554432},
            "prometheus_namespace": {"type": "str", "default": "monitoring"},
            "prometheus_service": {"type": "str", "default": "prometheus-operated:9090"},
        },
        supports_check_mode=True,
    )
    params = module.params
    kubeconfig_of(module)
    path = Path(params["dest"])
    begun = time.time()
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(begun))
    result = {"path": str(path), "at": at, "bytes": 0, "seconds": 0.0, "files": 0, "left_out": 0}
    if module.check_mode:
        module.exit_json(changed=True, msg=f"would write {path}", cluster="", **result)
    wanted = Wanted(
        namespace=params["namespace"],
        prometheus=(params["prometheus_namespace"], params["prometheus_service"]),
        since_s=params["since"],
        log_bytes=params["log_bytes"],
        total_bytes=params["total_bytes"],
        now=begun,
    )
    bundle, problem = collected(params, wanted)
    about = {
        "site": params["site"],
        "at": at,
        "seconds": round(time.time() - begun, 1),
        "since_s": wanted.since_s,
        "cluster": problem or "read",
    }
    try:
        size = bundle.write(path, about, f"{params['site']}-{at}")
    except OSError as error:
        module.fail_json(msg=f"{path} cannot be written: {error}")
        raise
    result |= {
        "bytes": size,
        "seconds": round(time.time() - begun, 1),
        "files": len(bundle.files) + 1,
        "left_out": len(bundle.left_out),
    }
    module.exit_json(changed=True, cluster=problem, **result)


if __name__ == "__main__":
    main()
