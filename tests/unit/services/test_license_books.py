# SPDX-License-Identifier: Apache-2.0
"""What was used, and the audit log; the collection's own verifier reads what the service wrote."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._license.audit import read_tar, verify
from pydantic import ValidationError
from sonic_reference.license_proxy.audit import AuditLog
from sonic_reference.license_proxy.books import Books, Report
from sonic_reference.license_proxy.store import Store

NOW = 1_790_000_000.0


def books(folder: Path) -> tuple[Books, AuditLog]:
    store = Store(folder)
    audit = AuditLog(store)
    return Books(store, audit, NOW), audit


def report(reporter: str, **usage: Any) -> Report:
    return Report.model_validate({"reporter": reporter, "usage": usage})


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]


def test_totals_of_all_pods_and_of_all_their_lives(tmp_path: Path) -> None:
    kept, _audit = books(tmp_path)
    kept.report(report("a/1", tts={"requests": 2, "characters": 30}))
    kept.report(report("b/1", tts={"requests": 1, "characters": 5}, stt={"seconds": 1.5}))
    # The same once more, then what came since; a pod that restarts counts from nothing.
    kept.report(report("a/1", tts={"requests": 2, "characters": 30}))
    kept.report(report("a/1", tts={"requests": 3, "characters": 40}))
    kept.report(report("a/2", tts={"requests": 1, "characters": 1}))
    totals = kept.usage()["totals"]
    assert totals["tts"] == {"requests": 5, "characters": 46, "seconds": 0.0}
    assert totals["stt"]["seconds"] == 1.5


def test_a_restart_counts_nothing_twice(tmp_path: Path) -> None:
    kept, _audit = books(tmp_path)
    kept.report(report("a/1", tts={"requests": 2}))
    kept.close(NOW)
    identity = kept.installation
    kept.report(report("a/1", tts={"requests": 5}))
    del kept, _audit
    again, _audit = books(tmp_path)
    assert again.installation == identity
    # What was not written down is in the pod's next totals.
    again.report(report("a/1", tts={"requests": 6}))
    assert again.totals["tts"].requests == 6


@pytest.mark.parametrize("content", ["", "{", "[]", '{"installation": 7}'])
def test_totals_that_cannot_be_read_begin_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "usage.json").write_text(content)
    kept, _audit = books(tmp_path)
    assert kept.totals == {}
    assert json.loads((tmp_path / "usage.json").read_text())["installation"] == kept.installation


def test_usage_is_written_down_when_there_was_some(tmp_path: Path) -> None:
    kept, _audit = books(tmp_path)
    kept.close(NOW)
    kept.report(report("a", tts={"requests": 1, "characters": 9}))
    kept.close(NOW + 1)
    kept.close(NOW + 2)
    [record] = records(tmp_path)
    assert record["event"] == "usage"
    assert record["details"]["totals"]["tts"]["characters"] == 9


def test_reporters_do_not_pile_up(tmp_path: Path) -> None:
    kept, _audit = books(tmp_path)
    for number in range(1000):
        kept.report(report(f"pod/{number}", tts={"requests": 1}))
    kept.close(NOW)
    assert kept.totals["tts"].requests == 1000
    assert len(json.loads((tmp_path / "usage.json").read_text())["reporters"]) == 256


def test_the_log_verifies_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    for life in range(3):
        _books, audit = books(tmp_path)
        audit.add(NOW + life, "start", {"life": life, "text": "\u00fc\u2028\n"})
        audit.add(NOW + life, "state", {"to": "grace"})
        packed = audit.tar(NOW, "installation")
        del _books, audit
        log = read_tar(io.BytesIO(packed))
        assert verify(log) == []
        assert (len(log.lines), log.manifest["records"]) == (2 * life + 2, 2 * life + 2)


def test_a_record_that_was_not_written_whole_is_dropped(tmp_path: Path) -> None:
    _books, audit = books(tmp_path)
    audit.add(NOW, "start", {})
    del _books, audit
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(b'{"sequence": 2, "ti')
    _books, audit = books(tmp_path)
    audit.add(NOW, "start", {})
    assert [record["sequence"] for record in records(tmp_path)] == [1, 2]
    assert verify(read_tar(io.BytesIO(audit.tar(NOW, "i")))) == []


def test_a_full_disk_costs_a_record_and_not_the_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _books, audit = books(tmp_path)
    audit.add(NOW, "start", {})

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        audit.add(NOW, "state", {"to": "grace"})
    assert "the audit record state of" in caplog.text
    # What is packed meanwhile holds whole records only.
    assert verify(read_tar(io.BytesIO(audit.tar(NOW, "i")))) == []
    audit.add(NOW, "state", {"to": "expired"})
    assert [record["details"].get("to") for record in records(tmp_path)] == [None, "expired"]
    assert verify(read_tar(io.BytesIO(audit.tar(NOW, "i")))) == []


def test_the_archive_holds_the_log_and_its_manifest_only(tmp_path: Path) -> None:
    _books, audit = books(tmp_path)
    audit.add(NOW, "start", {})
    with tarfile.open(fileobj=io.BytesIO(audit.tar(NOW, "i"))) as archive:
        assert archive.getnames() == ["audit.jsonl", "manifest.json"]


@pytest.mark.parametrize(
    "usage",
    [
        {"characters": 10**400},
        {"characters": 2**53 + 1},
        {"requests": 10**30},
        {"seconds": 1e300},
    ],
)
def test_a_report_beyond_all_measure_is_none(usage: dict[str, Any]) -> None:
    """If it were kept, no metric could show it."""
    with pytest.raises(ValidationError):
        report("a", tts=usage)


def test_totals_stop_where_they_would_be_wrong(tmp_path: Path) -> None:
    kept, _audit = books(tmp_path)
    for pod in "abc":
        kept.report(report(pod, tts={"requests": 2**53, "characters": 2**53, "seconds": 2.0**53}))
    assert kept.totals["tts"].characters == 2**53
    kept.close(NOW)
    del kept, _audit
    assert books(tmp_path)[0].totals["tts"].requests == 2**53


def test_an_export_comes_in_small_pieces(tmp_path: Path) -> None:
    _books, audit = books(tmp_path)
    with (tmp_path / "audit.jsonl").open("wb") as file:
        head = "0" * 64
        for number in range(1, 20_001):
            record = {"sequence": number, "previous": head, "event": "usage", "details": {}}
            line = json.dumps(record).encode()
            file.write(line + b"\n")
            head = hashlib.sha256(line).hexdigest()
    del _books, audit
    _books, audit = books(tmp_path)
    pieces = list(audit.stream(NOW, "i"))
    assert len(pieces) > 20
    assert max(map(len, pieces)) <= 65536
    assert verify(read_tar(io.BytesIO(b"".join(pieces)))) == []
