#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply the release manifest of a project."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_manifest
short_description: Apply the release manifest of a project
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Applies all objects of a manifest (server-side) in one namespace, and waits until the
    API serves the kinds that the manifest defines.
  - Works with manifests of megabytes. The ConfigMap C(release-NAME) of the namespace records the
    applied version. While neither the source nor any of the objects has changed, the
    manifest is not fetched again.
  - Repairs objects that were changed or removed.
  - Keeps objects that a newer manifest no longer has.
  - Refuses a manifest that would take over a part of the API that another Service serves.
  - Then waits until O(workloads) run the applied version. Fails at once with the reason when they cannot,
    as M(baremetal.sonic.workloads_ready) does.
extends_documentation_fragment:
  - baremetal.sonic.attributes
  - baremetal.sonic.attributes.actiongroup_cluster
  - baremetal.sonic.cluster
  - baremetal.sonic.rollout
attributes:
  diff_mode:
    support: none
    description: Returns the names of changed objects in RV(objects), not the changes in them.
options:
  name:
    description: Name of the release, for the ConfigMap with the applied version.
    type: str
    required: true
  namespace:
    description: Namespace for all objects of the manifest that need one. The module makes it.
    type: str
    required: true
  src:
    description:
      - Manifest, as a URL (http, https) or an absolute path on the host that runs the module.
      - The module takes the content of a URL for constant. Use one that names the version.
    type: str
    required: true
  sha256:
    description: Digest that the manifest must have, in hexadecimal.
    type: str
    default: ""
  patches:
    description:
      - Changes to objects of the manifest. Each names kind, name and, if the object has one, O(namespace).
      - Mappings are merged, and null removes a key. Lists that Kubernetes merges by name (containers, env, webhooks) are merged. All
        other lists are replaced.
      - The module refuses a patch for an object that the manifest does not have, because a right that the patch removes would stay.
    type: list
    elements: dict
    default: []
  additions:
    description: Further objects to apply. The manifest must not have them.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Apply the Prometheus operator
  baremetal.sonic.k8s_manifest:
    kubeconfig: /etc/kubernetes/admin.conf
    name: prometheus-operator
    namespace: monitoring
    src: https://github.com/prometheus-operator/prometheus-operator/releases/download/v0.93.0/bundle.yaml
    sha256: a3061ceebd87de793d1ba9bed10cb763be9ce748adb53b5c5ef4c7c65ee38376
    patches:
      - kind: ServiceAccount
        metadata: {name: prometheus-operator, namespace: monitoring}
        automountServiceAccountToken: false
"""

RETURN = r"""
objects:
  description: Kind and name of each object that was changed (or would be, in check mode).
  type: list
  elements: str
  returned: always
cause:
  description: What kind of failure of O(workloads) it is, as M(baremetal.sonic.workloads_ready) returns it.
  type: str
  returned: when the wait failed
elapsed_s:
  description: Seconds that the wait took.
  type: float
  returned: when something was waited for
workloads:
  description: The state of each of O(workloads) at the end, as M(baremetal.sonic.workloads_ready) returns it.
  type: list
  elements: dict
  returned: when something was waited for
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import (
    KubeClient,
    KubeError,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.manifest import (
    Release,
    ReleaseError,
    established,
    fingerprint,
    in_namespace,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.manifest_changes import (
    ChangeError,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.manifest_changes import (
    changed as with_changes,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.module import (
    CLUSTER_OPTIONS,
    client_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.module import (
    WAIT_OPTIONS,
    finish_applied,
)

try:
    import yaml
except ImportError:
    yaml = None  # type: ignore[assignment]  # the Kubernetes client brings it, and is asked for first


FETCH_TIMEOUT_S = 60


def read(src: str) -> bytes:
    """Return the manifest's bytes. Raises ReleaseError."""
    try:
        if src.startswith(("http://", "https://")):
            answer: Any = open_url(src, timeout=FETCH_TIMEOUT_S, http_agent="baremetal.sonic")
            content: bytes = answer.read()
            return content
        return Path(src).read_bytes()
    except Exception as error:  # what open_url raises is not one family
        raise ReleaseError(f"it cannot be read: {error}") from error


def loader() -> Any:
    """Return a YAML loader that reads a manifest as Kubernetes does.

    To YAML 1.1 a bare = and a bare date are types of their own; the CustomResourceDefinitions of
    the Prometheus operator have the former. The loader written in C reads in seconds what takes
    the other a minute.
    """
    made: Any = type("ManifestLoader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
    for name in ("value", "timestamp"):
        made.add_constructor(f"tag:yaml.org,2002:{name}", lambda self, node: str(node.value))
    return made


def objects(content: bytes, sha256: str, namespace: str) -> list[dict[str, Any]]:
    """Return the objects of a manifest with the right sum. Raises ReleaseError."""
    digest = hashlib.sha256(content).hexdigest()
    if sha256 and digest != sha256.lower():
        raise ReleaseError(
            f"its sha256 is {digest}, not {sha256}: it is not the file that was pinned. After a"
            " change of version or address give the sum that upstream publishes"
        )
    try:
        return in_namespace(yaml.load_all(content, loader()), namespace)
    except yaml.YAMLError as error:
        raise ReleaseError(f"it is not YAML: {error}") from error


def waiter(client: KubeClient, timeout_s: int) -> Any:
    """Return a function that returns when the API serves a CustomResourceDefinition's kind."""

    def wait(path: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not established(client.get(path)):
            if time.monotonic() > deadline:
                raise KubeError(f"{path} is not served after {timeout_s} s")
            time.sleep(0.2)

    return wait


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            **WAIT_OPTIONS,
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str", "required": True},
            "src": {"type": "str", "required": True},
            "sha256": {"type": "str", "default": ""},
            "patches": {"type": "list", "elements": "dict", "default": []},
            "additions": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    src, namespace = params["src"], params["namespace"]
    client = client_of(module, f"apply {src}", changed=True, objects=[])
    release = Release(client, params["name"], namespace)
    local = not src.startswith(("http://", "https://"))
    try:
        content = read(src) if local else b""
        known = hashlib.sha256(content).hexdigest() if local else src
        changes = json.dumps([params["patches"], params["additions"]], sort_keys=True)
        wanted = fingerprint(known, params["sha256"], namespace, changes)
        if release.current(wanted):
            finish_applied(module, client, changed=False, objects=[])
        items = objects(content or read(src), params["sha256"], namespace)
        items = with_changes(items, params["patches"], params["additions"])
        changed = release.apply(items, wanted, module.check_mode, waiter(client, params["timeout"]))
    except (ReleaseError, ChangeError) as error:
        module.fail_json(msg=f"the manifest {src} cannot be used: {error}")
        raise
    except KubeError as error:
        module.fail_json(msg=f"the manifest {src} cannot be applied: {error}")
        raise
    finish_applied(module, client, changed=bool(changed), objects=changed)


if __name__ == "__main__":
    main()
