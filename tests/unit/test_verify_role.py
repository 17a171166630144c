# SPDX-License-Identifier: Apache-2.0
"""The role verify's check of join tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from tests.unit.rendering import ROOT, templated


def secret(name: str, minutes: int) -> dict[str, Any]:
    made = datetime.now(UTC) - timedelta(minutes=minutes)
    created = made.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"metadata": {"name": f"bootstrap-token-{name}", "creationTimestamp": created}}


def test_only_join_tokens_older_than_an_hour_are_named() -> None:
    tasks = yaml.safe_load((ROOT / "roles/verify/tasks/tokens.yml").read_text(encoding="utf-8"))
    [check] = [task for task in tasks if "verify_old_tokens" in task.get("vars", {})]
    secrets = {"resources": [secret("old", 90), secret("young", 30), secret("day", 1440)]}
    wanted = check["vars"]["verify_old_tokens"]
    assert templated(wanted, {"verify_tokens": secrets}) == [
        "bootstrap-token-old",
        "bootstrap-token-day",
    ]
    assert templated(wanted, {"verify_tokens": {"resources": []}}) == []
