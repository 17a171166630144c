#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands an offline licence to the license proxy, and tells what state the licence is in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: license
short_description: Hands an offline licence to the license proxy, and tells what state the licence is in
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Speaks to the license proxy through the Kubernetes API, so that it need not be reachable from outside.
  - The proxy verifies the licence. One that is not newer than the one in force, was not signed by the vendor, or has ended is a failure
    that says so.
extends_documentation_fragment:
  - baremetal.sonic.attributes
  - baremetal.sonic.cluster
attributes:
  check_mode:
    details: A licence is compared with the one in force by its terms; its signature is not verified.
options:
  namespace:
    description: Namespace of the license proxy.
    type: str
    required: true
  service:
    description: Name of its Service and the Service's port.
    type: str
    default: license-proxy:8080
  license:
    description: The licence to hand in, the text of the vendor's file. Nothing is handed in when empty.
    type: str
  audit_dest:
    description:
      - Also writes the audit log, a tar archive, to this path on the host that runs the module.
      - An export tells when it was made, so this is always a change.
    type: path
seealso:
  - module: baremetal.sonic.license_audit
"""

EXAMPLES = r"""
- name: Hand in the renewed licence
  baremetal.sonic.license:
    kubeconfig: /etc/kubernetes/admin.conf
    namespace: cartesia
    license: "{{ lookup('ansible.builtin.file', 'files/license.json') }}"
"""

RETURN = r"""
state:
  description: V(connected), V(airgapped), V(grace) or V(expired).
  type: str
  returned: success
mode:
  description: V(connected) or V(airgapped).
  type: str
  returned: success
reason:
  description: Why it is in this state.
  type: str
  returned: success
until:
  description: When the state ends if nothing else happens.
  type: str
  returned: when an end is known
terms:
  description: The offline licence that is in force (id, customer, issued_at, expires_at, operations).
  type: dict
  returned: in air-gapped mode, when there is one
"""

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils.cluster_module import (
    CLUSTER_OPTIONS,
    client_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils.headers import strip_secret
from ansible_collections.baremetal.sonic.plugins.module_utils.kube import KubeClient, KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils.kube_store import service_proxy


class LicenseProxy:
    """The license proxy, through the Kubernetes API's proxy to its Service."""

    def __init__(self, api: KubeClient, namespace: str, service: str) -> None:
        self._api = api
        self._base = service_proxy(namespace, service)

    def status(self) -> dict[str, Any]:
        """What state the licence is in. Raises KubeError."""
        return self._api.get(f"{self._base}/status")

    def hand_in(self, text: str) -> dict[str, Any]:
        """The status after a licence was taken. Raises KubeError, also when it is refused."""
        said: dict[str, Any] = json.loads(
            self._api.content(f"{self._base}/license", send=text.encode())
        )
        return said

    def audit(self) -> bytes:
        """The audit log's archive. Raises KubeError."""
        return self._api.content(f"{self._base}/audit")


def terms_of(text: str) -> dict[str, Any]:
    """A licence's terms, unverified. Raises ValueError when it is none."""
    try:
        terms: dict[str, Any] = json.loads(base64.b64decode(json.loads(text)["license"]))
        return {name: terms[name] for name in ("id", "issued_at", "expires_at")}
    except (KeyError, TypeError) as error:
        raise ValueError(f"no {error}") from error


def differ(one: dict[str, Any], other: dict[str, Any] | None) -> bool:
    """Whether two licences are different ones, by their names and times. Raises ValueError."""
    if not other or one["id"] != other["id"]:
        return True
    times = (datetime.fromisoformat(item["issued_at"]) for item in (one, other))
    return len(set(times)) > 1


def shown(terms: dict[str, Any] | None) -> str:
    """A licence for the diff."""
    if not terms:
        return "no licence\n"
    return f"{terms['id']}, from {terms['issued_at']} to {terms['expires_at']}\n"


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "namespace": {"type": "str", "required": True},
            "service": {"type": "str", "default": "license-proxy:8080"},
            "license": {"type": "str", "no_log": True},
            "audit_dest": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    empty: dict[str, Any] = {"mode": "", "state": "", "reason": ""}
    proxy = LicenseProxy(
        client_of(module, "ask the license proxy", **empty), params["namespace"], params["service"]
    )
    changed = False
    try:
        before = proxy.status()
        after = before
        if given_license := strip_secret(params["license"] or ""):
            if module.check_mode:
                given = terms_of(given_license)
                changed = differ(given, before.get("license"))
                after = before | {"license": given} if changed else before
            else:
                after = proxy.hand_in(given_license)
                changed = bool(after["changed"])
        if params["audit_dest"] and not module.check_mode:
            Path(params["audit_dest"]).write_bytes(proxy.audit())
    except KubeError as error:
        module.fail_json(
            msg=f"the license proxy ({params['service']} in {params['namespace']}) says: {error}"
        )
        raise
    except ValueError as error:
        module.fail_json(msg=f"license: this is no licence: {error}")
        raise
    except OSError as error:
        module.fail_json(msg=f"audit_dest {params['audit_dest']} cannot be written: {error}")
        raise
    facts = {name: after[name] for name in ("mode", "state", "reason", "until") if after.get(name)}
    if after.get("license"):
        facts["terms"] = after["license"]
    module.exit_json(
        changed=changed or bool(params["audit_dest"]),
        diff={"before": shown(before.get("license")), "after": shown(after.get("license"))},
        **facts,
    )


if __name__ == "__main__":
    main()
