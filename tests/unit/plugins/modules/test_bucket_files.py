# SPDX-License-Identifier: Apache-2.0
"""bucket_files against an emulator of Google Cloud Storage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.modules import bucket_files

from tests.unit.plugins.modules.running import Modules
from tests.unit.storage import BUCKET, Storage, service_account


def test_files_are_uploaded_once_and_removed(
    storage: Storage, modules: Modules, tmp_path: Path
) -> None:
    file = tmp_path / "night.json"
    file.write_text("night")
    account = json.dumps(service_account())

    def call(check: bool = False, **options: Any) -> dict[str, Any]:
        return modules.call(
            bucket_files.main, check=check, bucket=BUCKET, prefix="site/", endpoint=storage.url,
            # As a file brings it that an editor of another system wrote.
            service_account=f"\ufeff{account}\r\n", **options,
        )  # fmt: skip

    wanted: dict[str, Any] = {"files": {"voices/night.json": str(file)}}
    would = call(check=True, **wanted)
    assert (would["changed"], would["uploaded"]) == (True, ["voices/night.json"])
    assert would["versions"] == {"voices/night.json": ""}
    made = call(**wanted)
    assert made["changed"]
    assert made["diff"] == {"before": "", "after": "voices/night.json\n"}
    again = call(**wanted)
    assert not again["changed"]
    assert again["versions"] == made["versions"]
    assert made["versions"]["voices/night.json"]
    file.write_text("later")
    changed = call(**wanted)
    assert changed["uploaded"] == ["voices/night.json"]
    assert changed["versions"] != made["versions"]

    gone: dict[str, Any] = {"absent": ["voices/night.json", "voices/never.json"]}
    assert call(check=True, **gone)["removed"] == ["voices/night.json"]
    assert call(**gone)["removed"] == ["voices/night.json"]
    after = call(**gone)
    assert not after["changed"]
    assert after["versions"] == {"voices/night.json": "", "voices/never.json": ""}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"files": {"voices/a.json": "/none/a.json"}}, "voices/a.json: [Errno 2]"),
        ({"service_account": "{"}, "files or service_account cannot be used"),
        ({"service_account": "{}"}, "files or service_account cannot be used"),
        ({"service_account": "[]"}, "service_account is JSON, but not the key of"),
        ({"endpoint": "http://127.0.0.1:9"}, f"the bucket {BUCKET} at http://127.0.0.1:9: "),
    ],
)
def test_unusable_values_are_reported(
    modules: Modules,
    options: dict[str, Any],
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bucket_files, "RETRY", None)
    given = {"bucket": BUCKET, "service_account": json.dumps(service_account()), "absent": ["a"]}
    result = modules.call(bucket_files.main, **(given | options))
    assert result["failed"]
    assert problem in result["msg"]
