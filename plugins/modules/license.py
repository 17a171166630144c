#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install an offline licence and read the licence's state."""

from __future__ import annotations

DOCUMENTATION = r"""
module: license
short_description: Install an offline licence and read the licence's state
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Connects to the license proxy through the Kubernetes API, so that the proxy need not be reachable from outside.
  - The proxy verifies the licence. The module fails with the reason when the licence is not newer than the present one, was not signed
    by the vendor, or has ended.
extends_documentation_fragment:
  - baremetal.sonic.attributes
  - baremetal.sonic.attributes.actiongroup_cluster
  - baremetal.sonic.cluster
attributes:
  check_mode:
    details:
      - Validates a licence as the license proxy does, by its form, its times and the licence in force. Does not verify
        the signature.
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
    description: The licence to install, the text of the vendor's file. When empty, the module only reads the state.
    type: str
  audit_dest:
    description:
      - Also write the audit log, a tar archive, to this path on the host that runs the module.
      - An export has the time at which it was made, so this is always a change.
    type: path
seealso:
  - module: baremetal.sonic.license_audit
"""

EXAMPLES = r"""
- name: Install the renewed licence
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
  description: When the state ends without a further event.
  type: str
  returned: when an end is known
terms:
  description: The offline licence that is in force (id, customer, issued_at, expires_at, operations).
  type: dict
  returned: in air-gapped mode, when there is one
"""

import json
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._http.headers import strip_secret
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import (
    KubeClient,
    KubeError,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.module import (
    CLUSTER_OPTIONS,
    client_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.store import service_proxy
from ansible_collections.baremetal.sonic.plugins.module_utils._license import licence_text


class LicenseProxy:
    """The license proxy, through the Kubernetes API's proxy to its Service."""

    def __init__(self, api: KubeClient, namespace: str, service: str) -> None:
        self._api = api
        self._base = service_proxy(namespace, service)

    def status(self) -> dict[str, Any]:
        """Return what state the licence is in. Raises KubeError."""
        return self._api.get(f"{self._base}/status")

    def hand_in(self, text: str) -> dict[str, Any]:
        """Install a licence and return the status. Raises KubeError, also when it is refused."""
        answer: dict[str, Any] = json.loads(
            self._api.content(f"{self._base}/license", send=text.encode())
        )
        return answer

    def audit(self) -> bytes:
        """Return the audit log's archive. Raises KubeError."""
        return self._api.content(f"{self._base}/audit")


def read(text: str) -> licence_text.Terms:
    """Return a licence's terms, unverified. Raises LicenceError when it is none."""
    content, _unverified = licence_text.unpack(text)
    return licence_text.terms_of(content)


def terms_of(text: str) -> dict[str, Any]:
    """Return what a diff shows of a licence. Raises LicenceError when it is none."""
    terms = read(text).as_json()
    return {name: terms[name] for name in ("id", "issued_at", "expires_at")}


def would_take(given: licence_text.Terms, force: dict[str, Any] | None, now: float) -> bool:
    """Return whether the proxy would take a licence, False where it is the one in force.

    Args:
        given: its terms.
        force: those of the licence that is in force, as the proxy shows them; None for none.
        now: seconds since the epoch.

    Raises:
        LicenceError: it would be refused.
    """
    if not force:
        licence_text.check_time(given, now)
        return True
    issued_at = licence_text.time_of(force["issued_at"])
    if (given.id, given.issued_at) == (force["id"], issued_at):
        return False
    licence_text.check_time(given, now)
    if given.issued_at <= issued_at:
        message = f"the licence {given.id} is not newer than {force['id']}, which is in force"
        raise licence_text.LicenceError(409, licence_text.SUPERSEDED, message)
    return True


def shown(terms: dict[str, Any] | None) -> str:
    """Return a licence for the diff."""
    if not terms:
        return "no licence\n"
    return f"{terms['id']}, from {terms['issued_at']} to {terms['expires_at']}\n"


def main() -> None:
    """Run the module."""
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
                terms = read(given_license)
                changed = would_take(terms, before.get("license"), time.time())
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
    except licence_text.LicenceError as error:
        unreadable = error.code == licence_text.UNREADABLE
        message = f"this is no licence: {error}" if unreadable else str(error)
        module.fail_json(msg=f"license: {message}")
        raise
    except OSError as error:
        module.fail_json(msg=f"audit_dest {params['audit_dest']} cannot be written: {error}")
        raise
    for warning in after.get("warnings") or []:
        module.warn(f"the license proxy says: {warning}")
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
