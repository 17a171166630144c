#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Give Ansible the lab that LAB_STATE names: lab_state, its folder, and lab, its lab.json.

A lookup would read the file again wherever a variable of the lab is used.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

variables: dict[str, Any] = {}
if state := os.environ.get("LAB_STATE"):
    lab = json.loads((Path(state) / "lab.json").read_text(encoding="utf-8"))
    variables = {"lab_state": state, "lab": lab}
print(json.dumps({"_meta": {"hostvars": {}}, "all": {"vars": variables}}))
