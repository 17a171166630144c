# SPDX-License-Identifier: Apache-2.0
"""Every kind of change to an audit log is found."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._license.audit import (
    NOTHING,
    AuditError,
    AuditLog,
    read_tar,
    verify,
)

Lines = list[bytes]


def chain(count: int, text: str = "") -> AuditLog:
    """A log as docs/license.md describes it, written without the service's code."""
    lines: Lines = []
    head = NOTHING
    for number in range(1, count + 1):
        record = {"sequence": number, "previous": head, "event": "usage", "details": {"n": text}}
        lines.append(json.dumps(record).encode())
        head = hashlib.sha256(lines[-1]).hexdigest()
    return AuditLog(tuple(lines), {"installation": "i", "records": count, "head": head})


def packed(parts: dict[str, bytes]) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    made.seek(0)
    return made


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_a_log_as_it_was_written_is_in_order(count: int) -> None:
    assert verify(chain(count)) == []


def change(lines: Lines) -> None:
    lines[4] = lines[4].replace(b'"usage"', b'"USAGE"')


def change_last(lines: Lines) -> None:
    lines[-1] = lines[-1].replace(b'"usage"', b'"USAGE"')


def change_space(lines: Lines) -> None:
    lines[4] += b" "


def remove(lines: Lines) -> None:
    del lines[4]


def remove_first(lines: Lines) -> None:
    del lines[0]


def remove_last(lines: Lines) -> None:
    del lines[-1]


def swap(lines: Lines) -> None:
    lines[4], lines[5] = lines[5], lines[4]


def renumber(lines: Lines) -> None:
    """Remove one and make the numbers fit again."""
    del lines[4]
    for place in range(4, len(lines)):
        record = json.loads(lines[place]) | {"sequence": place + 1}
        lines[place] = json.dumps(record).encode()


def insert(lines: Lines) -> None:
    lines.insert(4, lines[4])


def garble(lines: Lines) -> None:
    lines[4] = b"\xff"


def empty(lines: Lines) -> None:
    lines[4] = b""


def other_kind(lines: Lines) -> None:
    lines[4] = b"[1, 2]"


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (change, "record 6 does not follow"),
        (change_last, "the last record was changed"),
        (change_space, "record 6 does not follow"),
        (remove, "record 5 says that it is number 6"),
        (remove_first, "record 1 says that it is number 2"),
        (remove_last, "the manifest says 10 records, the log has 9"),
        (swap, "record 5 says that it is number 6"),
        (renumber, "record 5 does not follow"),
        (insert, "record 6 says that it is number 5"),
        (garble, "record 5 cannot be read"),
        (empty, "record 5 cannot be read"),
        (other_kind, "record 5 cannot be read"),
    ],
)
def test_tampering_shows(tamper: Callable[[Lines], None], message: str) -> None:
    log = chain(10)
    lines = list(log.lines)
    tamper(lines)
    assert message in "; ".join(verify(replace(log, lines=tuple(lines))))


def test_a_log_that_was_written_anew_shows_by_an_earlier_one() -> None:
    earlier, anew = chain(5), chain(8, "less")
    assert verify(anew) == []
    assert verify(anew, earlier) == ["the log does not begin with the 5 records of the earlier one"]
    assert verify(chain(8), earlier) == []
    assert verify(chain(5), earlier) == []
    assert verify(chain(4), earlier) != []


def test_another_installations_log_does_not_continue_this_one() -> None:
    other = replace(chain(5), manifest=dict(chain(5).manifest) | {"installation": "j"})
    assert verify(chain(5), other) == ["the earlier log is another installation's"]


def test_an_archive_is_read() -> None:
    log = chain(3)
    content = {
        "audit.jsonl": b"".join(line + b"\n" for line in log.lines),
        "manifest.json": json.dumps(log.manifest).encode(),
    }
    assert read_tar(packed(content)) == log
    cut = content | {"audit.jsonl": content["audit.jsonl"][:-5]}
    assert verify(read_tar(packed(cut))) == [
        "record 3 cannot be read: it was changed",
        "the last record was changed: its hash is not the manifest's",
    ]


@pytest.mark.parametrize(
    "file",
    [
        io.BytesIO(b""),
        io.BytesIO(b"not a tar" * 1000),
        packed({"audit.jsonl": b""}),
        packed({"audit.jsonl": b"", "manifest.json": b"{"}),
        packed({"audit.jsonl": b"", "manifest.json": b"[]"}),
    ],
)
def test_what_is_no_archive(file: io.BytesIO) -> None:
    with pytest.raises(AuditError):
        read_tar(file)


def test_a_gap_that_the_proxy_recorded_is_reported() -> None:
    log = chain(2)
    record = {
        "sequence": 3, "previous": log.manifest["head"], "event": "gap",
        "details": {"problem": "the log was cut"},
    }  # fmt: skip
    line = json.dumps(record).encode()
    head = hashlib.sha256(line).hexdigest()
    gap = AuditLog((*log.lines, line), {"installation": "i", "records": 3, "head": head})
    assert verify(gap) == ["record 3: the license proxy found that the log was cut"]


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"sequence": 5, "previous": "' + b"0" * 64 + b'", "mark": 7}',
        b'{"sequence": 5, "previous": "", "event": "gap"}',
    ],
)
def test_a_record_that_no_proxy_wrote_is_named_and_ends_nothing(line: bytes) -> None:
    log = chain(10)
    lines = (*log.lines[:4], line, *log.lines[5:])
    assert "record 5 cannot be read: it was changed" in verify(replace(log, lines=lines))


def test_an_archive_that_is_larger_inside_is_refused() -> None:
    """Sparse files: a few hundred bytes that say they are gigabytes."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("audit.jsonl", "manifest.json"):
            member = tarfile.TarInfo(name)
            member.pax_headers = {
                "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": name,
                "GNU.sparse.size": str(2**29), "GNU.sparse.map": f"{2**29},0",
            }  # fmt: skip
            archive.addfile(member)
    made.seek(0)
    with pytest.raises(AuditError, match="not a plain file"):
        read_tar(made)
    with pytest.raises(AuditError, match=r"manifest\.json in the archive is longer than"):
        read_tar(packed({"audit.jsonl": b"", "manifest.json": b" " * 100_000}))
    with pytest.raises(AuditError, match="nested too deep"):
        read_tar(packed({"audit.jsonl": b"", "manifest.json": b"[" * 60_000}))
