# SPDX-License-Identifier: Apache-2.0
"""Audit logs that are kept one after the other."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import tarfile
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.modules import audit_archive

from tests.unit.plugins.modules.running import Modules


def export(path: Path, count: int, text: str = "", installation: str = "i") -> Path:
    """Write an archive as the license proxy exports it; text differs in every record."""
    lines, head = [], "0" * 64
    for number in range(1, count + 1):
        totals = {"tts": {"requests": number, "characters": 10 * number, "seconds": 0.0}}
        record = {
            "sequence": number, "previous": head, "event": "usage", "by": text,
            "time": f"2026-11-{number:02d}T00:00:00Z", "details": {"totals": totals},
        }  # fmt: skip
        lines.append(json.dumps(record))
        head = hashlib.sha256(lines[-1].encode()).hexdigest()
    manifest = {"installation": installation, "records": count, "head": head}
    parts = {
        "audit.jsonl": "".join(f"{line}\n" for line in lines),
        "manifest.json": json.dumps(manifest),
    }
    with tarfile.open(path, "w") as archive:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    return path


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call is a second later, so that no two logs have one name."""
    seconds = iter(range(60))

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime(2026, 11, 29, 0, 0, next(seconds), tzinfo=tz)

    monkeypatch.setattr(audit_archive, "datetime", Clock)


@pytest.mark.usefixtures("clock")
class TestFolder:
    """One folder for all sites."""

    def kept(self, folder: Path) -> list[str]:
        return sorted(path.name for path in folder.iterdir())

    def test_logs_that_continue(self, modules: Modules, tmp_path: Path) -> None:
        def call(count: int, site: str = "rack1") -> dict[str, Any]:
            path = str(export(tmp_path / "x.tar", count))
            return modules.call(
                audit_archive.main, path=path, folder=str(tmp_path / "audit"), site=site
            )

        first = call(2)
        assert (first["changed"], first["records"], first["new_records"]) == (True, 2, 2)
        again = call(2)
        assert (again["changed"], again["path"]) == (False, first["path"])
        more = call(3)
        assert (more["changed"], more["new_records"]) == (True, 1)
        assert more["table"][1] == "2026-11 tts: 3 requests, 30 characters, 0 s of audio"
        call(5, "rack2")
        folder = tmp_path / "audit"
        assert self.kept(folder / "rack1") == ["20261129T000000Z.tar", "20261129T000002Z.tar"]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "usage.json").stat().st_mode) == 0o600
        sites = json.loads((folder / "usage.json").read_text())["sites"]
        assert {name: site["records"] for name, site in sites.items()} == {"rack1": 3, "rack2": 5}
        assert sites["rack2"]["usage"][0]["requests"] == 5

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"count": 3, "text": "rewritten"}, "does not begin with the 4 records"),
            ({"count": 3}, "does not begin with the 4 records"),
            ({"count": 9, "installation": "j"}, "another installation's"),
        ],
    )
    def test_a_log_that_was_changed_is_kept_as_evidence(
        self, modules: Modules, tmp_path: Path, change: dict[str, Any], problem: str
    ) -> None:
        given: dict[str, Any] = {"folder": str(tmp_path / "audit"), "site": "rack1"}
        path = tmp_path / "x.tar"
        good = modules.call(audit_archive.main, path=str(export(path, 4)), **given)
        bad = modules.call(audit_archive.main, path=str(export(path, **change)), **given)
        assert bad["failed"]
        assert problem in bad["msg"]
        assert good["path"] in bad["msg"]
        kept = self.kept(tmp_path / "audit/rack1")
        assert kept == ["20261129T000000Z.tar", "20261129T000001Z.rejected.tar"]
        usage = json.loads((tmp_path / "audit/usage.json").read_text())
        assert usage["sites"]["rack1"]["records"] == 4
        # The rejected log is no measure for the next one.
        assert not modules.call(audit_archive.main, path=str(export(path, 5)), **given).get(
            "failed"
        )

    def test_check_mode_writes_nothing(self, modules: Modules, tmp_path: Path) -> None:
        path = export(tmp_path / "x.tar", 2)
        result = modules.call(
            audit_archive.main, check=True, path=str(path), folder=str(tmp_path / "no"), site="a"
        )
        assert result["changed"]
        assert not (tmp_path / "no").exists()

    @pytest.mark.parametrize("site", ["", "..", "a/b", ".hidden"])
    def test_a_site_that_is_no_folder(self, modules: Modules, tmp_path: Path, site: str) -> None:
        result = modules.call(audit_archive.main, path="x", folder=str(tmp_path), site=site)
        assert "cannot be the name of a folder" in result["msg"]

    def test_a_file_that_is_no_log(self, modules: Modules, tmp_path: Path) -> None:
        (tmp_path / "x.tar").write_text("hello")
        result = modules.call(
            audit_archive.main, path=str(tmp_path / "x.tar"), folder=str(tmp_path / "a"), site="a"
        )
        assert "is not an audit archive" in result["msg"]
        assert not (tmp_path / "a").exists()

    def test_a_usage_file_of_something_else_is_not_replaced(
        self, modules: Modules, tmp_path: Path
    ) -> None:
        (tmp_path / "usage.json").write_text("[]")
        result = modules.call(
            audit_archive.main, path=str(export(tmp_path / "x", 1)), folder=str(tmp_path), site="a"
        )
        assert "move it away" in result["msg"]
        assert (tmp_path / "usage.json").read_text() == "[]"
