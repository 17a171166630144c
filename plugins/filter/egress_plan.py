# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make network policies and a gateway's listeners from the matrix of allowed connections."""

from __future__ import annotations

DOCUMENTATION = r"""
name: egress_plan
short_description: Network policies and gateway of an egress profile
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Makes the objects of the role P(baremetal.sonic.egress#role) from its matrix and its variables.
options:
  _input:
    description: The matrix, as in roles/egress/vars/main/matrix.yml.
    type: dict
    required: true
  profile:
    description: The profile, one of the matrix.
    type: str
    required: true
  mode:
    description: Whether there is a gateway to the names of O(allowlist).
    type: str
    choices: [connected, airgapped]
    required: true
  namespaces:
    description: Names of the namespaces V(stack), V(monitoring) and V(keda).
    type: dict
    required: true
  policed:
    description: Which of the latter two this collection installs, so that its policies cover them completely.
    type: list
    elements: str
    required: true
  guarded:
    description: Names of other namespaces whose pods reach no port of a host and no metadata address.
    type: list
    elements: str
    required: true
  readers:
    description: NetworkPolicyPeers that may read Prometheus, in addition to KEDA and the API server.
    type: list
    elements: dict
    required: true
  targets:
    description: Rules (to, ports) for further targets of Prometheus.
    type: list
    elements: dict
    required: true
  selectors:
    description: Label selector of each component.
    type: dict
    required: true
  peers:
    description: Lists of NetworkPolicyPeers by the names V(dns), V(ingress), V(ingress-pods), V(entry) and V(dcgm-exporter).
    type: dict
    required: true
  hosts:
    description: >-
      Addresses and networks of hosts by the names V(ingress), V(entry), V(control-plane) and V(node), which join the peers of the same
      name.
    type: dict
    required: true
  allowlist:
    description: Names that pods may reach outside (name, port, used_by, address).
    type: list
    elements: dict
    required: true
  ranges:
    description: The cluster's networks of V(pods) and V(services).
    type: dict
    required: true
  offset:
    description: Index of the gateway's first Service in the network of services.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Name the policies of the profile strict
  ansible.builtin.debug:
    msg: "{{ egress_plan.policies | map(attribute='metadata.name') }}"
  vars:
    egress_plan: >-
      {{ egress_matrix | baremetal.sonic.egress_plan(profile='strict', mode='airgapped', namespaces=egress_namespaces, policed=[],
         guarded=['default'], readers=[], targets=[], selectors=egress_labels, peers=egress_peers, hosts=egress_hosts, allowlist=[],
         ranges=egress_ranges, offset=20) }}
"""

RETURN = r"""
_value:
  description:
    - C(policies), the NetworkPolicies; C(listeners) of the gateway; and C(aliases), hostAliases of each component's pods.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils import egress
from ansible_collections.baremetal.sonic.plugins.plugin_utils.egress_policies import Platform


def egress_plan(
    matrix: Mapping[str, Any],
    *,
    profile: str,
    mode: str,
    namespaces: Mapping[str, str],
    policed: Sequence[str],
    guarded: Sequence[str],
    readers: Sequence[Mapping[str, Any]],
    targets: Sequence[Mapping[str, Any]],
    selectors: Mapping[str, Any],
    peers: Mapping[str, Any],
    hosts: Mapping[str, Sequence[str]],
    allowlist: Sequence[Mapping[str, Any]],
    ranges: Mapping[str, str],
    offset: int,
) -> dict[str, Any]:
    """See DOCUMENTATION."""
    everybody = dict(peers)
    for name, addresses in hosts.items():
        everybody[name] = [*egress.host_peers(addresses), *peers.get(name, [])]
    return egress.plan(
        matrix,
        profile,
        mode,
        Platform(namespaces, policed, guarded, list(map(dict, readers)), list(map(dict, targets))),
        selectors,
        everybody,
        allowlist,
        ranges,
        int(offset),
    )


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"egress_plan": egress_plan}
