# SPDX-License-Identifier: Apache-2.0
"""Certificates and keys as people paste and save them."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import pem
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7

from tests.unit.plugins.plugin_utils.authority import Authority
from tests.unit.plugins.plugin_utils.authority import pem as text_of

AUTHORITY = Authority()
KEY = text_of(ec.generate_private_key(ec.SECP256R1()))
[CERTIFICATE] = pem.certificates(AUTHORITY.certificate)
TEXT = AUTHORITY.certificate


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "\ufeff" + TEXT,
        "\u200b" + TEXT.replace("\n", "\u00a0\n"),
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\r"),
        TEXT.replace("\n", " "),
        "".join(f"\t  {line} \n" for line in TEXT.splitlines()),
        "Certificate:\n    Version: 3 (0x2)\n" + TEXT,
        f'"{TEXT}"',
        TEXT.replace("CERTIFICATE", "X509 CERTIFICATE"),
        KEY + TEXT + text_of(AUTHORITY.key, "passphrase"),
    ],
)
def test_certificate_in_any_layout(text: str) -> None:
    assert pem.certificates(text) == [CERTIFICATE]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not PEM text of a certificate"),
        (TEXT[:-30], "no BEGIN line has its END line"),
        (TEXT.replace("\n", "\\n"), r"has \n as two characters"),
        (TEXT.replace("\n", "\\r\\n"), r"has \n as two characters"),
        (base64.b64encode(TEXT.encode()).decode(), "decode it first"),
        (KEY, "it has PRIVATE KEY only"),
        (TEXT.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), "openssl x509 -in FILE"),
        (
            pkcs7.serialize_certificates([CERTIFICATE], serialization.Encoding.PEM).decode(),
            "openssl pkcs7 -in FILE -print_certs",
        ),
        (TEXT.replace("CERTIFICATE", "CERTIFICATE REQUEST"), "a certificate request"),
        (TEXT.replace("\nM", "\nM*", 1), "certificate 1, which is damaged"),
        (TEXT.replace("\nM", "\nN", 1), "certificate 1, which clients cannot read"),
        (TEXT * 65, "has 65 certificates"),
        ("x" * (pem.MAX_TEXT + 1), "is longer than 256 KiB"),
    ],
)
def test_text_that_holds_no_usable_certificate(text: str, message: str) -> None:
    with pytest.raises(pem.PemError) as refused:
        pem.certificates(text)
    assert message in str(refused.value)


def test_certificate_with_an_extension_twice() -> None:
    other = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"\x30\x00")
    made = AUTHORITY.issue("leaf", AUTHORITY.key, [], extensions=[(other, False)])
    der = pem.certificates(made)[0].public_bytes(serialization.Encoding.DER)
    # The signature is wrong now, which comes after reading it.
    twice = der.replace(bytes.fromhex("0603551d63"), bytes.fromhex("0603551d13"))
    body = base64.encodebytes(twice).decode()
    text = f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"
    with pytest.raises(pem.PemError, match="cannot read: Duplicate"):
        pem.certificates(text)


@pytest.mark.parametrize(
    "text",
    [KEY, KEY.replace("\n", "\r\n"), KEY.replace("\n", "  \n"), TEXT + KEY, "key:\n" + KEY + TEXT],
)
def test_key_that_servers_find(text: str) -> None:
    assert [key.text for key in pem.private_keys(text)] == [KEY]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not PEM text of a private key"),
        ("\ufeff" + KEY, "a byte order mark comes before it"),
        ("".join(f"    {line}\n" for line in KEY.splitlines()), "its lines are indented"),
        ("".join(f"\t{line}\n" for line in KEY.splitlines()), "its lines are indented"),
        (KEY.replace("\n", "\\n"), r"has \n as two characters"),
        (KEY.replace("\n", " "), "it has no line ends"),
        (KEY.replace("\n", "\r"), "it has no line ends"),
        (f'"{KEY}"', "it is not whole"),
        (KEY[:-30], "it is not whole"),
        (base64.b64encode(KEY.encode()).decode(), "decode it first"),
        (TEXT, "it has CERTIFICATE only"),
        (KEY.replace("\nM", "\nN", 1), "a private key that servers cannot use"),
        (text_of(AUTHORITY.key, "passphrase"), "is protected by a passphrase"),
        ("x" * (pem.MAX_TEXT + 1), "is longer than 256 KiB"),
    ],
)
def test_text_that_holds_no_usable_key(text: str, message: str) -> None:
    with pytest.raises(pem.PemError) as refused:
        pem.private_keys(text)
    assert message in str(refused.value)
    # Nothing of the key itself is shown.
    assert KEY.splitlines()[1][:20] not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN CERTIFICATE-----\n" * 9000,
        "-----BEGIN CERTIFICATE-----\n" + "-a" * 120000,
        "----" * 60000,
        "-----BEGIN A" + " A" * 120000,
    ],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    began = time.process_time()
    with pytest.raises(pem.PemError):
        pem.certificates(text)
    with pytest.raises(pem.PemError):
        pem.private_keys(text)
    assert time.process_time() - began < 5


def test_store_of_roots_passes_over_what_cannot_be_read(tmp_path: Path) -> None:
    store = tmp_path / "roots.pem"
    broken = TEXT.replace("\nM", "\nN", 1)
    store.write_text(broken + TEXT, encoding="utf-8")
    assert pem.file_certificates(str(store)) == [CERTIFICATE]
    store.write_text(broken, encoding="utf-8")
    with pytest.raises(pem.PemError, match="has no PEM text of a certificate"):
        pem.file_certificates(str(store))
    with pytest.raises(pem.PemError, match="is longer than 8192 KiB"):
        pem.file_certificates("/dev/zero")
