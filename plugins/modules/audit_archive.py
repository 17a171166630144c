#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the audit logs of a site, verify that each continues the last one, and sum up its usage."""

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_archive
short_description: Keep a site's audit log, and verify that it continues the last one
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Verifies an exported audit log by itself and against the newest one of the same site in the folder.
  - Keeps it in the folder if it has more records than the newest one.
  - Keeps a log that was changed as evidence, with C(rejected) in its name, and fails.
  - Writes the usage of all sites by month and operation to C(usage.json) in the folder.
attributes:
  check_mode:
    description: Can run in check mode.
    support: full
  diff_mode:
    description: Shows what changed in diff mode.
    support: none
options:
  path:
    description: The export, a tar archive.
    type: path
    required: true
  folder:
    description: Folder of all sites' logs. Each site has its own folder in it. Made if it is missing, for its owner only.
    type: path
    required: true
  site:
    description: Name of the site.
    type: str
    required: true
seealso:
  - module: baremetal.sonic.license_audit
"""

EXAMPLES = r"""
- name: Keep the audit log
  baremetal.sonic.audit_archive:
    path: /tmp/export.tar
    folder: /srv/audit
    site: rack1
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The newest verified log of the site.
  type: str
  returned: success, not in check mode
records:
  description: Number of its records.
  type: int
  returned: when the export could be read
new_records:
  description: How many of them the log before it did not have.
  type: int
  returned: when the export could be read
usage:
  description: Usage by month and operation.
  type: list
  elements: dict
  returned: when the export could be read
  contains:
    month:
      description: Month in UTC, as C(2026-11).
      type: str
    operation:
      description: C(tts) or C(stt).
      type: str
    requests:
      description: Requests that a worker took.
      type: int
    characters:
      description: Characters that were spoken.
      type: int
    seconds:
      description: Seconds of audio that were transcribed.
      type: float
table:
  description: The result in lines for people.
  type: list
  elements: str
  returned: success, not in check mode
gaps:
  description: Where usage is not known.
  type: list
  elements: str
  returned: when the export could be read
problems:
  description: Evidence that the log was changed.
  type: list
  elements: str
  returned: on failure
"""

import fcntl
import json
import os
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._host.files import write_file
from ansible_collections.baremetal.sonic.plugins.module_utils._license.audit import (
    AuditError,
    AuditLog,
    read_tar,
    verify,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._license.usage import months

# Names sort by time.
NAME = re.compile(r"\d{8}T\d{6}Z\.tar")
SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
USAGE = "usage.json"


def read(path: Path) -> AuditLog:
    """Raises AuditError and OSError."""
    with path.open("rb") as file:
        return read_tar(file)


def newest(folder: Path) -> Path | None:
    """Return the newest verified log of a site; None without one. Raises OSError."""
    if not folder.is_dir():
        return None
    names = sorted(entry.name for entry in folder.iterdir() if NAME.fullmatch(entry.name))
    return folder / names[-1] if names else None


def keep(content: bytes, path: Path) -> None:
    """Write a file for its owner only, whole or not at all. Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def record_usage(module: AnsibleModule, folder: Path, site: str, entry: dict[str, Any]) -> None:
    """Replace a site's entry in the table of all sites. Raises OSError."""
    path = folder / USAGE
    with (folder / ".lock").open("a") as lock:
        # Several sites may be fetched at the same time.
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            sites = json.loads(path.read_text(encoding="utf-8"))["sites"]
        except FileNotFoundError:
            sites = {}
        except (ValueError, KeyError, TypeError) as error:
            raise OSError(f"{path} is not this module's: move it away ({error})") from error
        text = json.dumps({"schema": 1, "sites": {**sites, site: entry}}, indent=2, sort_keys=True)
        write_file(module, path, text + "\n", 0o600)


def table(site: str, result: dict[str, Any]) -> list[str]:
    """Return the result in lines for people."""
    kept = f"{result['records']} records, {result['new_records']} of them new, in {result['path']}"
    rows = [
        f"{row['month']} {row['operation']}: {row['requests']} requests, {row['characters']}"
        f" characters, {row['seconds']:g} s of audio"
        for row in result["usage"]
    ]
    return [f"{site}: {kept}", *rows, *result["gaps"]]


def archive(module: AnsibleModule) -> dict[str, Any]:
    """Verify and keep the export; returns the result. Raises AuditError and OSError."""
    source, folder = Path(module.params["path"]), Path(module.params["folder"])
    site: str = module.params["site"]
    own = folder / site
    log = read(source)
    before = newest(own)
    earlier = read(before) if before else None
    problems = verify(log, earlier)
    usage, gaps = months(log.lines)
    known = len(earlier.lines) if earlier else 0
    result: dict[str, Any] = {
        "records": len(log.lines),
        "new_records": max(0, len(log.lines) - known),
        "usage": usage,
        "gaps": gaps,
        "changed": bool(problems) or len(log.lines) > known,
    }
    now = datetime.now(timezone.utc)
    ending = ".rejected.tar" if problems else ".tar"
    path = own / f"{now:%Y%m%dT%H%M%SZ}{ending}"
    if not module.check_mode:
        for each in (folder, own):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        if result["changed"]:
            keep(source.read_bytes(), path)
        if not problems:
            entry = {key: result[key] for key in ("records", "usage", "gaps")}
            entry |= {"at": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
            entry |= {"installation": log.manifest.get("installation")}
            record_usage(module, folder, site, entry)
        result["path"] = str(path if result["changed"] else before)
        result["table"] = table(site, result)
    if problems:
        result.pop("table", None)
        against = f", compared with {before}" if before else ""
        result["msg"] = f"site {site}: the audit log was changed{against}: {'; '.join(problems)}"
        result["problems"] = problems
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "folder": {"type": "path", "required": True},
            "site": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    if not SITE.fullmatch(module.params["site"]):
        module.fail_json(msg=f"site {module.params['site']!r} cannot be the name of a folder")
    try:
        result = archive(module)
    except (AuditError, OSError) as error:
        module.fail_json(msg=f"{module.params['path']} cannot be kept: {error}")
        raise
    if result.get("problems"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
