# SPDX-License-Identifier: Apache-2.0
"""audit.yml on the lab: fetch twice, then find a log that does not continue the last one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.playbooks import on_lab, tried_on_lab
from tests.testinfra.speaking import speech


def test_audit_logs_are_kept_and_compared(info: dict[str, Any], tmp_path: Path) -> None:
    speech(info, "This is recorded.")
    for _twice in range(2):
        output = on_lab("audit.yml", audit_folder=str(tmp_path))
        assert "lab: " in output
    logs = sorted((tmp_path / "lab").iterdir())
    assert 1 <= len(logs) <= 2
    usage = json.loads((tmp_path / "usage.json").read_text("utf-8"))["sites"]["lab"]
    [tts] = [row for row in usage["usage"] if row["operation"] == "tts"]
    assert tts["requests"] > 0
    assert tts["characters"] > 0
    # The newest log here is now another one than the site's.
    content = logs[-1].read_bytes()
    logs[-1].write_bytes(content.replace(b'"event": "usage"', b'"event": "ubage"', 1))
    done = tried_on_lab("audit.yml", audit_folder=str(tmp_path))
    assert done.returncode != 0
    assert "site lab: the audit log was changed" in done.stdout
    assert [path.name for path in (tmp_path / "lab").iterdir() if "rejected" in path.name]
