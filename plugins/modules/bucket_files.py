#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upload files to a bucket of Google Cloud Storage and remove files."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bucket_files
short_description: Upload files to a bucket of Google Cloud Storage and remove files
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Uploads the files whose checksum differs from the bucket's, and removes the files in O(absent).
  - Does not change other objects.
extends_documentation_fragment:
  - baremetal.sonic.attributes
options:
  bucket:
    description: The bucket, which must exist.
    type: str
    required: true
  prefix:
    description: Prefix of the objects' names, without a slash at its end.
    type: str
    default: ""
  endpoint:
    description: Address of the storage's API.
    type: str
    default: https://storage.googleapis.com
  service_account:
    description: The key of a service account that may write to the bucket, as JSON.
    type: str
    required: true
  ca_file:
    description: Certificate authority of a private endpoint, in PEM. Not needed for public ones.
    type: path
  files:
    description: For each file's name in the bucket, the path of its content on the host that runs the module.
    type: dict
    default: {}
  absent:
    description: Names of files that must not be in the bucket.
    type: list
    elements: str
    default: []
requirements:
  - google-cloud-storage 3 (Python package) on the host that runs the module
seealso:
  - module: baremetal.sonic.artifacts_served
"""

EXAMPLES = r"""
- name: Upload a voice
  baremetal.sonic.bucket_files:
    bucket: rack1-artifacts
    service_account: "{{ artifacts_service_account }}"
    files:
      voices/night-desk.json: files/night-desk.json
  delegate_to: localhost
"""

RETURN = r"""
uploaded:
  description: Names of the files that were uploaded (or would be, in check mode).
  type: list
  elements: str
  returned: success
removed:
  description: Names of the files that were removed (or would be, in check mode).
  type: list
  elements: str
  returned: success
versions:
  description: For each name of O(files) and O(absent), the object's generation in the bucket, empty where there is none.
  type: dict
  returned: success
"""

import base64
import hashlib
import json
import os
import traceback
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.baremetal.sonic.plugins.module_utils._http.headers import strip_secret

GOOGLE_IMPORT_ERROR: str | None = None
try:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import storage
    from google.cloud.storage.retry import DEFAULT_RETRY
    from google.oauth2 import service_account
    from requests.exceptions import RequestException

    RETRY = DEFAULT_RETRY.with_timeout(60)
except ImportError:
    GOOGLE_IMPORT_ERROR = traceback.format_exc()

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
TIMEOUT_S = 30


def open_bucket(params: dict[str, Any]) -> Any:
    """Return the bucket, by a client that signs its requests itself. Raises ValueError."""
    account = json.loads(strip_secret(params["service_account"]))
    if not isinstance(account, dict):
        raise ValueError("service_account is JSON, but not the key of a service account")
    credentials = service_account.Credentials.from_service_account_info(account, scopes=[SCOPE])
    client = storage.Client(
        project=str(account.get("project_id") or "none"),
        credentials=credentials.with_always_use_jwt_access(True),
        client_options={"api_endpoint": params["endpoint"]},
    )
    return client.bucket(params["bucket"])


def read(files: dict[str, Any]) -> dict[str, bytes]:
    """Return the files' contents. Raises ValueError with all that cannot be read."""
    contents: dict[str, bytes] = {}
    problems = []
    for name, path in files.items():
        try:
            contents[name] = Path(str(path)).read_bytes()
        except OSError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ValueError("; ".join(problems))
    return contents


def synchronize(module: AnsibleModule, bucket: Any, contents: dict[str, bytes]) -> dict[str, Any]:
    """Upload and remove; returns the module's result."""
    prefix = module.params["prefix"].strip("/")
    uploaded, removed, versions = [], [], {}
    for name in [*contents, *module.params["absent"]]:
        path = f"{prefix}/{name}" if prefix else name
        blob = bucket.get_blob(path, timeout=TIMEOUT_S, retry=RETRY)
        content = contents.get(name)
        if content is not None:
            digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
            if blob is None or blob.md5_hash != digest:
                uploaded.append(name)
                if not module.check_mode:
                    blob = bucket.blob(path)
                    kind = "application/json" if name.endswith(".json") else None
                    # The storage refuses content whose sum is another one.
                    blob.upload_from_string(
                        content, content_type=kind, checksum="crc32c", timeout=TIMEOUT_S,
                        retry=RETRY,
                    )  # fmt: skip
        elif blob is not None:
            removed.append(name)
            if not module.check_mode:
                blob.delete(timeout=TIMEOUT_S, retry=RETRY)
                blob = None
        versions[name] = str(blob.generation) if blob is not None else ""
    return {
        "changed": bool(uploaded or removed),
        "uploaded": uploaded,
        "removed": removed,
        "versions": versions,
        "diff": {
            "before": "".join(f"{name}\n" for name in removed),
            "after": "".join(f"{name}\n" for name in uploaded),
        },
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "bucket": {"type": "str", "required": True},
            "prefix": {"type": "str", "default": ""},
            "endpoint": {"type": "str", "default": "https://storage.googleapis.com"},
            "service_account": {"type": "str", "required": True, "no_log": True},
            "ca_file": {"type": "path"},
            "files": {"type": "dict", "default": {}},
            "absent": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    if GOOGLE_IMPORT_ERROR:
        module.fail_json(
            msg=missing_required_lib("google-cloud-storage"), exception=GOOGLE_IMPORT_ERROR
        )
    if module.params["ca_file"]:
        # The official client's HTTP library reads it, and nothing else of this process does.
        os.environ["REQUESTS_CA_BUNDLE"] = module.params["ca_file"]
    try:
        contents = read(module.params["files"])
        module.exit_json(**synchronize(module, open_bucket(module.params), contents))
    except ValueError as error:
        module.fail_json(msg=f"files or service_account cannot be used: {error}")
    except (GoogleAPIError, GoogleAuthError, RequestException) as error:
        module.fail_json(
            msg=f"the bucket {module.params['bucket']} at {module.params['endpoint']}: {error}"
        )


if __name__ == "__main__":
    main()
