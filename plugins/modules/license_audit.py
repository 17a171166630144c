#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify an audit log that the license proxy exported."""

from __future__ import annotations

DOCUMENTATION = r"""
module: license_audit
short_description: Verify an audit log that the license proxy exported
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Fails when a record was changed, removed, added or moved, and names the record.
  - Needs the file only, not the cluster.
  - Reads only.
extends_documentation_fragment:
  - baremetal.sonic.attributes.reads
options:
  path:
    description: The archive to verify.
    type: path
    required: true
  earlier:
    description:
      - An older archive of the same site, which this one must continue. A person who can write to the proxy's volume can replace the
        whole log; only a comparison with an older archive from another place finds this.
    type: path
seealso:
  - module: baremetal.sonic.license
"""

EXAMPLES = r"""
- name: Verify an export, and that it continues the last one
  baremetal.sonic.license_audit:
    path: /srv/audit/2026-11.tar
    earlier: /srv/audit/2026-10.tar
  delegate_to: localhost
"""

RETURN = r"""
problems:
  description: Evidence that the log was changed.
  type: list
  elements: str
  returned: always
records:
  description: Number of its records.
  type: int
  returned: when the archive could be read
installation:
  description: The installation that it is of.
  type: str
  returned: when the archive could be read
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._license.audit import (
    AuditError,
    AuditLog,
    read_tar,
    verify,
)


def read(path: str) -> AuditLog:
    """Raises AuditError for a file that is no archive, OSError for none."""
    with open(path, "rb") as file:
        return read_tar(file)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "earlier": {"type": "path"},
        },
        supports_check_mode=True,
    )
    path, earlier = module.params["path"], module.params["earlier"]
    try:
        log = read(path)
        problems = verify(log, read(earlier) if earlier else None)
    except (AuditError, OSError) as error:
        module.fail_json(msg=f"{path} cannot be verified: {error}", problems=[str(error)])
        raise
    facts = {"records": len(log.lines), "installation": log.manifest.get("installation")}
    if problems:
        listed = "; ".join(problems)
        module.fail_json(
            msg=f"{path} is not as it was written: {listed}", problems=problems, **facts
        )
    module.exit_json(changed=False, problems=[], **facts)


if __name__ == "__main__":
    main()
