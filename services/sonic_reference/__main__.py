# SPDX-License-Identifier: Apache-2.0
"""Run the service that SONIC_SERVICE names; each image sets it."""

from __future__ import annotations

import os
import runpy
import sys

SERVICES = ("api", "artifact_sync", "license_proxy", "worker")

if __name__ == "__main__":
    name = os.environ.get("SONIC_SERVICE", "")
    if name not in SERVICES:
        sys.exit(f"SONIC_SERVICE={name!r} is none of {', '.join(SERVICES)}")
    runpy.run_module(f"sonic_reference.{name}", run_name="__main__", alter_sys=True)
