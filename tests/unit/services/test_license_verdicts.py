# SPDX-License-Identifier: Apache-2.0
"""The same bytes get the same verdict: as a file, by POST, in preflight and in check mode."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._license import (
    licence_text as plugins_reader,
)
from ansible_collections.baremetal.sonic.plugins.modules import license as license_module
from ansible_collections.baremetal.sonic.plugins.plugin_utils import licensing
from sonic_reference.license_proxy import licence_text as services_reader
from sonic_reference.license_proxy import offline
from sonic_reference.license_proxy.app import create_app
from sonic_reference.license_proxy.licence_text import LicenceError
from sonic_reference.license_proxy.offline import AirGapped
from sonic_reference.license_proxy.store import Store

from lab.licences import Vendor
from tests.unit.services.proxies import Clock, proxy_of

VENDOR = Vendor()
KEY = offline.public_key(VENDOR.public_key)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TERMS = {
    "type": "sonic-license/1", "id": "L-1", "customer": "Example Ltd",
    "issued_at": "2026-11-20T12:00:00Z", "expires_at": "2026-12-20T12:00:00Z",
}  # fmt: skip
GOOD = VENDOR.sign(json.dumps(TERMS).encode()).encode()


def with_terms(**changes: Any) -> bytes:
    return VENDOR.sign(json.dumps(TERMS | changes).encode()).encode()


def signed(text: str) -> bytes:
    return VENDOR.sign(text.encode()).encode()


def doubled() -> bytes:
    """A licence in which the signed terms come first, and others under the same name later."""
    fields = json.loads(GOOD)
    other = base64.b64encode(json.dumps(TERMS | {"id": "L-9"}).encode()).decode()
    parts = [("license", other), *fields.items()]
    return ("{" + ", ".join(f'"{name}": "{value}"' for name, value in parts) + "}").encode()


def inner(name: str, value: str) -> bytes:
    """A licence whose terms have one field twice."""
    return signed(json.dumps(TERMS)[:-1] + f', "{name}": {value}}}')


def cut_lines(text: bytes) -> bytes:
    """A licence as a program that pretty-prints and ends lines as Windows does writes it."""
    return json.dumps(json.loads(text), indent=2).replace("\n", "\r\n").encode()


CASES: dict[str, tuple[bytes, str]] = {
    "plain": (GOOD, ""),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, ""),
    "byte order mark, line ends": (b"\xef\xbb\xbf" + cut_lines(GOOD) + b"\r\n\r\n", ""),
    "white space": (b" \t\r\n\n" + GOOD + b"\n \t", ""),
    "two byte order marks": (b"\xef\xbb\xbf" * 2 + GOOD, "license_unreadable"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "license_unreadable"),
    "UTF-16 without a mark": (GOOD.decode().encode("utf-16-le"), "license_unreadable"),
    "Latin-1": (b"\xff" + GOOD, "license_unreadable"),
    "no-break space": ("\u00a0".encode() + GOOD, "license_unreadable"),
    "zeros after it": (GOOD + b"\0\0", "license_unreadable"),
    "two licences": (GOOD + GOOD, "license_unreadable"),
    "empty": (b"", "license_unreadable"),
    "nothing but space": (b" \n", "license_unreadable"),
    "nested deeply": (b"[" * 30_000 + b"]" * 30_000, "license_unreadable"),
    "nested objects": (b'{"a":' * 12_000 + b"1" + b"}" * 12_000, "license_unreadable"),
    "terms nested deeply": (signed("[" * 20_000), "license_unreadable"),
    "long number": (b'{"a": ' + b"9" * 20_000 + b"}", "license_unreadable"),
    "huge": (GOOD[:-1] + b" " * 70_000 + b"}", "license_unreadable"),
    "NaN": (b'{"license": NaN}', "license_unreadable"),
    "a name twice": (doubled(), "license_unreadable"),
    "a term twice": (inner("expires_at", '"2099-01-01T00:00:00Z"'), "license_unreadable"),
    "wrapped base64": (GOOD.replace(b"ey", b"e\\ny", 1), "license_unreadable"),
    "numbers for times": (with_terms(expires_at=1893456000), "license_unreadable"),
    "no zone": (with_terms(expires_at="2027-01-01T00:00:00"), "license_unreadable"),
    "a day only": (with_terms(expires_at="2027-01-01"), "license_unreadable"),
    "no such day": (with_terms(expires_at="2027-02-30T00:00:00Z"), "license_unreadable"),
    "year 9999": (with_terms(expires_at="9999-12-31T23:59:59Z"), "license_unreadable"),
    "year 1": (with_terms(issued_at="0001-01-01T00:00:00Z"), "license_unreadable"),
    "ends before it begins": (with_terms(expires_at="2026-11-01T00:00:00Z"), "license_unreadable"),
    "for nothing": (with_terms(operations=[]), "license_unreadable"),
    "half a character": (with_terms(customer="\ud800"), "license_unreadable"),
    "another vendor's": (Vendor().licence(issued=NOW).encode(), "license_signature"),
    "other zone": (with_terms(expires_at="2026-12-20T14:00:00.5+02:00"), ""),
    "issued in four minutes": (with_terms(issued_at="2026-11-21T12:04:00Z"), ""),
    "issued in six minutes": (with_terms(issued_at="2026-11-21T12:06:00Z"), "license_not_yet"),
    "issued in 2030": (
        with_terms(issued_at="2030-01-01T00:00:00Z", expires_at="2031-01-01T00:00:00Z"),
        "license_not_yet",
    ),
    "ended": (
        with_terms(issued_at="2026-10-01T00:00:00Z", expires_at="2026-11-21T12:00:00Z"),
        "license_expired",
    ),
}


def by_post(folder: Path, given: bytes) -> str:
    async def ask() -> str:
        clock, store = Clock(NOW.timestamp()), Store(folder)
        known = AirGapped(KEY, store, grace_s=0, clock=clock)
        transport = httpx.ASGITransport(create_app(proxy_of(["good"], known, store, clock)))
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
            answer = await client.post("/license", content=given)
            assert (await client.get("/status")).status_code == 200
            assert (await client.get("/metrics")).status_code == 200
        store.close()
        return "" if answer.status_code == 200 else str(answer.json()["error_code"])

    return asyncio.run(ask())


def by_file(folder: Path, given: bytes) -> tuple[bool, str]:
    """Whether the license proxy takes a file, and what it logs."""
    store = Store(folder / "state")
    known = AirGapped(KEY, store, grace_s=0, clock=NOW.timestamp)
    path = folder / "license.json"
    path.write_bytes(given)
    taken = known.seed(path) is not None
    assert (known.verdict(NOW.timestamp()).state == "airgapped") == taken
    store.close()
    return taken, known.reported


def reader_says(given: bytes) -> str:
    """The message of a refusal."""
    try:
        services_reader.check_time(offline.read(given, KEY), NOW.timestamp())
    except LicenceError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", CASES)
def test_one_verdict(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    given, code = CASES[name]
    # The wire is bounded before the reader is asked.
    posted = by_post(tmp_path / "post", given).replace("request_too_large", "license_unreadable")
    assert posted == code
    actual = reader_says(given)
    taken, reported = by_file(tmp_path, given)
    assert taken == (not code)
    assert actual in reported or name == "huge"
    try:
        text = given.decode()
    except UnicodeDecodeError:
        return  # no variable of Ansible's can hold it
    [*problems] = licensing.problems(variables(text), EGRESS, ["cp1"], NOW)
    assert bool(problems) == bool(code), problems
    if code in ("license_unreadable", "license_not_yet"):
        assert actual.removesuffix("set the clock") in problems[0]
    assert in_check_mode(text) == ("" if code == "license_signature" else code)


EGRESS = {"egress_profile": "off", "egress_mode": "airgapped", "egress_allowlist": []}


def variables(text: str) -> dict[str, Any]:
    return {
        "license_proxy_ca": "", "license_proxy_check_interval": 300, "license_proxy_endpoint": "",
        "license_proxy_grace": 0, "license_proxy_mode": "airgapped",
        "license_proxy_persistence": {"enabled": True, "hostPath": "/srv/license"},
        "license_proxy_public_key": VENDOR.public_key, "license_proxy_license": text or " ",
    }  # fmt: skip


def in_check_mode(text: str) -> str:
    """What the module license says in check mode, where nothing is in force."""
    try:
        license_module.would_take(license_module.read(text), None, NOW.timestamp())
    except plugins_reader.LicenceError as error:
        return error.code
    return ""


def test_services_and_collection_have_one_reader() -> None:
    files = [Path(str(one.__file__)).resolve() for one in (plugins_reader, services_reader)]
    assert files[0] == files[1]


def test_a_file_that_was_too_early_counts_when_the_clock_is_right(tmp_path: Path) -> None:
    clock = Clock((NOW - timedelta(days=400)).timestamp())
    known = AirGapped(KEY, Store(tmp_path / "state"), grace_s=0, clock=clock)
    path = tmp_path / "license.json"
    path.write_bytes(GOOD)
    assert known.seed(path) is None
    clock.now = NOW.timestamp()
    assert known.seed(path)


def test_a_lost_volume_does_not_end_the_grace_period(tmp_path: Path) -> None:
    path = tmp_path / "license.json"
    path.write_bytes(CASES["ended"][0])
    known = AirGapped(KEY, Store(tmp_path / "state"), grace_s=3600, clock=NOW.timestamp)
    assert known.seed(path) is None
    assert known.verdict(NOW.timestamp() + 60).state == "grace"
    assert known.verdict(NOW.timestamp() + 3700).state == "expired"
    assert known.verdict(NOW.timestamp() + 60).state == "expired"


def test_a_file_without_end_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "license.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    known = AirGapped(KEY, Store(tmp_path / "state"), grace_s=0, clock=NOW.timestamp)
    assert known.seed(path) is None
    assert "longer than" in known.reported
