#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until servers serve the given certificates."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificates_served
short_description: Wait until servers serve the given certificates
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Connects to each address as a TLS client, once for each name, and compares the served certificate with the wanted one.
  - Fails after O(timeout), and names the certificates that are served instead.
extends_documentation_fragment: baremetal.sonic.attributes.reads
options:
  addresses:
    description: Addresses of the servers.
    type: list
    elements: str
    required: true
  port:
    description: Port of the servers.
    type: int
    default: 443
  certificates:
    description: Certificates that each server must serve, as P(baremetal.sonic.served_certificates#filter) returns them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Host name of the request (SNI). Empty for a client that sends none.
        type: str
        required: true
      sha256:
        description: SHA-256 of the certificate (DER), in hexadecimal digits.
        type: str
        required: true
  timeout:
    description: Seconds to wait at most.
    type: int
    default: 60
seealso:
  - plugin: baremetal.sonic.served_certificates
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Wait until both hosts serve the new certificate
  baremetal.sonic.certificates_served:
    addresses: [192.0.2.11, 192.0.2.12]
    certificates: "{{ ingress_certificates | baremetal.sonic.served_certificates(ingress_hosts) }}"
"""

RETURN = r"""
differences:
  description: Certificates that are served instead, one line for each address and name.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._http.certificates import Wanted, wait


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "addresses": {"type": "list", "elements": "str", "required": True},
            "port": {"type": "int", "default": 443},
            "certificates": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "sha256": {"type": "str", "required": True},
                },
            },
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    params = module.params
    wanted = [
        Wanted(address, params["port"], item["name"], item["sha256"])
        for address in params["addresses"]
        for item in params["certificates"]
    ]
    differences = wait(wanted, params["timeout"])
    if differences:
        listed = "\n".join(f"  {line}" for line in differences)
        module.fail_json(
            msg=f"After {params['timeout']} s clients do not get the certificates that were"
            f" applied:\n{listed}",
            differences=differences,
        )
    module.exit_json(changed=False, differences=[])


if __name__ == "__main__":
    main()
