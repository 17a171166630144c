# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of OpenPGP keys, against those that gpg printed for the same files."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._host import openpgp

KEYS = Path(__file__).resolve().parents[2] / "fixtures"
# As gpg --with-colons --show-keys printed them.
SITE = "27E215654B45AA335CF43162EA203887E6377761"
OTHER = "9947A3419AC0A1355B9578F5EDDEA7F3C9914F5E"


def text(name: str) -> str:
    return (KEYS / f"{name}.asc").read_text(encoding="utf-8")


def armoured(data: bytes) -> str:
    return f"{openpgp.BEGIN}\n\n{base64.b64encode(data).decode()}\n{openpgp.END}\n"


def packets(name: str) -> bytes:
    lines = text(name).splitlines()[2:-2]
    return base64.b64decode("".join(lines))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (text("site-key"), [SITE]),
        (text("other-key"), [OTHER]),
        (text("two-keys"), [SITE, OTHER]),
        (text("site-key") + "\n\n" + text("other-key"), [SITE, OTHER]),
        (text("site-key").replace("\n", "\r\n"), [SITE]),
        (text("site-key").replace("BLOCK-----\n\n", "BLOCK-----\nVersion: GnuPG v2\n\n"), [SITE]),
    ],
)
def test_fingerprints_are_those_that_gpg_prints(content: str, expected: list[str]) -> None:
    assert openpgp.fingerprints(content) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no public key"),
        ("<html>Moved</html>", "not an ASCII-armoured"),
        (text("site-key") + "and more", "not an ASCII-armoured"),
        ("and more\n" + text("site-key"), "not an ASCII-armoured"),
        (text("site-key").replace(openpgp.END, ""), "not an ASCII-armoured"),
        (text("site-key").replace("mDME", "mD*E"), "damaged"),
        (armoured(b""), "no public key"),
        (armoured(packets("site-key")[:40]), "cut off"),
        (armoured(b"not packets"), "does not consist of OpenPGP packets"),
        (armoured(b"\x98"), "cut off|version 0"),
        (armoured(b"\x9b" + packets("site-key")[1:]), "without a length"),
        # Version 3, whose fingerprints are MD5; a literal packet; a body in parts.
        (armoured(b"\x98\x02\x03\x00"), "keys of version 3"),
        (armoured(b"\xcb\x01\x00" + packets("site-key")), "tag 11"),
        (armoured(b"\xc6\xe1\x00\x00"), "in parts"),
    ],
)
def test_whatever_could_hide_a_key_is_refused(content: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        openpgp.fingerprints(content)


def test_new_packet_headers_are_read_like_old_ones() -> None:
    old = packets("other-key")
    assert old[0] == 0x99
    length = int.from_bytes(old[1:3], "big")
    body, rest = old[3 : 3 + length], old[3 + length :]
    two = bytes([0xC6, ((length - 192) >> 8) + 192, (length - 192) & 0xFF])
    five = b"\xc6\xff" + length.to_bytes(4, "big")
    for header in (two, five):
        assert openpgp.fingerprints(armoured(header + body + rest)) == [OTHER]
    short = packets("site-key")
    new = bytes([0xC6, short[1]]) + short[2:]
    assert openpgp.fingerprints(armoured(new)) == [SITE]


def test_a_version_6_key_has_a_long_fingerprint() -> None:
    """RFC 9580, appendix A.3: the primary key of its sample certificate."""
    body = bytes.fromhex(
        "0663877fe31b00000020f94da7bb48d60a61e567706a6587d0331999bb9d891a08242ead84543df895a3"
    )
    data = bytes([0xC6, len(body)]) + body
    assert openpgp.fingerprints(armoured(data)) == [
        "CB186C4F0609A697E4D52DFA6C722B0C1F1E27C18A56708F6525EC27BAD9ACC9"
    ]


def test_a_fingerprint_is_compared_without_spaces_and_case() -> None:
    assert openpgp.normalized(" 27e2 1565\t4B45 ") == "27E215654B45"
