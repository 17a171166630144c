# SPDX-License-Identifier: Apache-2.0
"""Offline licences: which are taken, which count, and what outlives a restart."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sonic_reference.license_proxy import offline
from sonic_reference.license_proxy.offline import AirGapped, LicenceError
from sonic_reference.license_proxy.store import Store

from lab.licences import Vendor

VENDOR = Vendor()
KEY = offline.public_key(VENDOR.public_key)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def licence(name: str = "L-1", days: float = 0) -> str:
    """A licence that was issued so many days from now."""
    return VENDOR.licence(name, issued=NOW + timedelta(days=days))


def licensing(folder: Path) -> AirGapped:
    return AirGapped(KEY, Store(folder), grace_s=60, clock=NOW.timestamp)


def in_force(known: AirGapped) -> str:
    assert known.terms
    return known.terms.id


def kept(folder: Path) -> str:
    return offline.read((folder / "license.json").read_text(), KEY).id


def changed(text: str, name: str, change: Callable[[bytes], bytes]) -> str:
    """A licence with one of its two parts changed."""
    fields = json.loads(text)
    fields[name] = base64.b64encode(change(base64.b64decode(fields[name]))).decode()
    return json.dumps(fields)


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("", 400, "license_unreadable"),
        ("{}", 400, "license_unreadable"),
        ("[1]", 400, "license_unreadable"),
        ("[" * 100_000, 400, "license_unreadable"),
        ('{"license": 1, "signature": 2}', 400, "license_unreadable"),
        ('{"license": "e30=", "signature": "not base64"}', 400, "license_unreadable"),
        ('{"license": "e30=", "signature": ""}', 403, "license_signature"),
        (VENDOR.sign(b"{}"), 400, "license_unreadable"),
        (VENDOR.sign(b"\xff"), 400, "license_unreadable"),
        (VENDOR.licence(type="something-else/1"), 400, "license_unreadable"),
        (VENDOR.licence(expires_at="2027-01-01T00:00:00"), 400, "license_unreadable"),
        (VENDOR.licence(operations=["video"]), 400, "license_unreadable"),
        (VENDOR.licence("L-1\nstate expired"), 400, "license_unreadable"),
        (Vendor().licence(), 403, "license_signature"),
        (changed(licence(), "license", lambda b: b.replace(b"2026", b"2036")), 403,
         "license_signature"),
        (changed(licence(), "license", lambda b: b + b" "), 403, "license_signature"),
        (changed(licence(), "signature", lambda b: b[:-1] + bytes([b[-1] ^ 1])), 403,
         "license_signature"),
        (licence(days=-30), 422, "license_expired"),
        (licence(days=1), 422, "license_not_yet"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, text: str, status: int, code: str) -> None:
    known = licensing(tmp_path)
    with pytest.raises(LicenceError) as refused:
        known.accept(text, NOW.timestamp())
    assert (refused.value.status, refused.value.code) == (status, code)
    assert known.terms is None
    assert not (tmp_path / "license.json").exists()


def test_the_latest_one_counts_and_no_other(tmp_path: Path) -> None:
    known = licensing(tmp_path)
    assert known.accept(licence("L-2", -2), NOW.timestamp())
    assert known.accept(licence("L-2", -2), NOW.timestamp()) is None
    for other in (licence("L-1", -3), licence("L-2b", -2)):
        with pytest.raises(LicenceError, match="not newer than L-2") as refused:
            known.accept(other, NOW.timestamp())
        assert refused.value.status == 409
    assert in_force(known) == "L-2"
    assert known.accept(licence("L-3", -1), NOW.timestamp())
    assert in_force(known) == "L-3"


def test_a_clock_that_is_a_little_behind_is_forgiven(tmp_path: Path) -> None:
    issued = NOW + timedelta(minutes=4)
    assert licensing(tmp_path).accept(VENDOR.licence(issued=issued), NOW.timestamp())


def test_a_restart_keeps_the_licence_and_which_is_newer(tmp_path: Path) -> None:
    licensing(tmp_path).accept(licence("L-2", -1), NOW.timestamp())
    again = licensing(tmp_path)
    assert in_force(again) == "L-2"
    with pytest.raises(LicenceError, match="not newer"):
        again.accept(licence("L-1", -2), NOW.timestamp())


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{", licence()[:-20].encode()])
def test_a_kept_licence_that_was_changed_is_not_used(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "license.json").write_bytes(content)
    assert licensing(tmp_path).terms is None


def test_a_kept_licence_of_other_keys_is_not_used(tmp_path: Path) -> None:
    licensing(tmp_path).accept(licence(), NOW.timestamp())
    other = AirGapped(offline.public_key(Vendor().public_key), Store(tmp_path), grace_s=60)
    assert other.terms is None


def test_one_that_cannot_be_kept_is_not_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = licensing(tmp_path)
    known.accept(licence("L-1", -2), NOW.timestamp())

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        known.accept(licence("L-2", -1), NOW.timestamp())
    assert in_force(known) == kept(tmp_path) == "L-1"


def test_a_file_counts_when_it_is_newer_and_again_when_it_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "seed.json"
    known = licensing(tmp_path / "state")
    assert known.seed(file) is None
    file.write_text(licence("L-1", -3))
    assert known.seed(file)
    assert known.seed(file) is None
    known.accept(licence("L-3", -1), NOW.timestamp())
    file.write_text(licence("L-2", -2))
    assert known.seed(file) is None
    file.write_text("not a licence")
    assert known.seed(file) is None
    assert in_force(known) == "L-3"
    file.write_text(licence("L-4"))
    assert known.seed(file)
    assert in_force(known) == kept(tmp_path / "state") == "L-4"


def test_a_bad_file_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    known = licensing(tmp_path / "state")
    for content in (None, changed(licence(), "license", lambda b: b + b" ")):
        if content:
            (tmp_path / "seed.json").write_text(content)
        caplog.clear()
        for _unused in range(3):
            known.seed(tmp_path / "seed.json")
        assert len(caplog.records) == 1


def test_only_one_process_uses_a_folder(tmp_path: Path) -> None:
    first = Store(tmp_path)
    with pytest.raises(OSError, match="another license proxy uses"):
        Store(tmp_path)
    first.close()
    Store(tmp_path)


def test_only_ed25519_keys_will_do() -> None:
    other = generate_private_key(SECP256R1()).public_key()
    text = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for wrong in (text, "", "-----BEGIN PUBLIC KEY-----", VENDOR.public_key[:60]):
        with pytest.raises(ValueError):  # noqa: PT011
            offline.public_key(wrong)
