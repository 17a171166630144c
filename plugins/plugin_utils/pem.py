# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Read certificates and private keys from PEM text that people paste or save."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
    UNREADABLE: tuple[type[Exception], ...] = (ValueError,)
else:
    IMPORT_ERROR = None
    # Exceptions of cryptography for a certificate that breaks the rules of its format, at once or
    # when a field is read.
    UNREADABLE = (
        ValueError,
        TypeError,
        KeyError,
        OverflowError,
        UnsupportedAlgorithm,
        x509.AttributeNotFound,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    )

# Bytes. A chain takes a few KiB; Debian's file of all roots takes 220 KiB.
MAX_TEXT = 256 * 1024
MAX_FILE = 8 * 1024 * 1024
# Certificates of one text. Chains that CAs sell have five at most.
MAX_CERTIFICATES = 64

_BYTE_ORDER_MARK = "\ufeff"
# Characters without width that editors and web pages insert.
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060"))
# A body holds no five dashes, so a search in a text of many BEGIN lines takes linear time.
_BODY = r"(?P<body>[^-]*(?:-{1,4}[^-]+)*)"
_BLOCK = re.compile(rf"-----BEGIN (?P<kind>[A-Z0-9 ]{{1,40}})-----{_BODY}-----END (?P=kind)-----")
# OpenSSL and Go's encoding/pem, which the ingress controller and NATS use, find a block only at
# the beginning of a line.
_PLAIN_BLOCK = re.compile(
    rf"(?:\A|(?<=\n))-----BEGIN (?P<kind>[A-Z0-9 ]{{1,40}})-----[ \t\r]*\n{_BODY}(?<=\n)"
    r"-----END (?P=kind)-----"
)
_CERTIFICATE_KINDS = ("CERTIFICATE", "X509 CERTIFICATE")
_CONVERSIONS = {
    "TRUSTED CERTIFICATE": "a certificate with OpenSSL's trust settings: convert it with"
    " openssl x509 -in FILE -out PLAIN",
    "PKCS7": "a PKCS #7 bundle: convert it with openssl pkcs7 -in FILE -print_certs -out CHAIN",
    "CMS": "a CMS bundle: convert it with openssl pkcs7 -in FILE -print_certs -out CHAIN",
    "CERTIFICATE REQUEST": "a certificate request: give the certificate that the CA answered with",
    "NEW CERTIFICATE REQUEST": "a certificate request: give the certificate that the CA answered"
    " with",
}


class PemError(ValueError):
    """A text holds no usable certificate or key; the message completes `VARIABLE ...`."""


@dataclass(frozen=True)
class Key:
    """A private key, and its text as PKCS #8 alone."""

    private: PrivateKeyTypes
    text: str


def certificates(text: str) -> list[x509.Certificate]:
    """Return the certificates of a text, in its order.

    It ignores byte order marks, indentation, line ends of any system, keys, and other text between
    the certificates.

    Raises:
        PemError: the text has no certificate, one cannot be read, or the text is longer than
            MAX_TEXT.
    """
    _check_size(text, MAX_TEXT)
    read: list[x509.Certificate] = []
    if _has_escapes(text):
        raise PemError(f"is not PEM text of a certificate{_hint(text)}")
    for block in _BLOCK.finditer(text):
        kind = block["kind"]
        if kind in _CONVERSIONS:
            raise PemError(f"has {_CONVERSIONS[kind]}")
        if kind in _CERTIFICATE_KINDS:
            read.append(_certificate(block["body"], len(read) + 1))
    if not read:
        raise PemError(f"is not PEM text of a certificate{_hint(text)}")
    if len(read) > MAX_CERTIFICATES:
        raise PemError(f"has {len(read)} certificates: give the chain only, a few of them")
    return read


def private_keys(text: str) -> list[Key]:
    """Return the private keys of a text, in its order.

    Raises:
        PemError: the text has no key, one cannot be read or is protected by a passphrase, or the
            text is longer than MAX_TEXT.
    """
    _check_size(text, MAX_TEXT)
    blocks = [block for block in _PLAIN_BLOCK.finditer(text) if _is_key(block)]
    if not blocks:
        raise PemError(f"is not PEM text of a private key{_layout_hint(text) or _hint(text)}")
    return [_key(block) for block in blocks]


def file_certificates(name: str) -> list[x509.Certificate]:
    """Return the readable certificates of a file; ignore all others.

    A store of roots may hold certificates that no client can read.

    Raises:
        OSError: the file cannot be read.
        PemError: it has no certificate, has damaged PEM text, or is larger than MAX_FILE.
    """
    with Path(name).open("rb") as file:
        data = file.read(MAX_FILE + 1)
    text = data.decode("utf-8", "replace")
    _check_size(text, MAX_FILE)
    readable = list(_readable(text))
    if not readable:
        raise PemError(f"has no PEM text of a certificate{_hint(text)}")
    return readable


def encode(chain: Sequence[x509.Certificate]) -> str:
    """Return certificates as PEM text."""
    return "".join(item.public_bytes(Encoding.PEM).decode() for item in chain)


def _readable(text: str) -> Iterator[x509.Certificate]:
    for number, block in enumerate(_BLOCK.finditer(text), start=1):
        if block["kind"] not in _CERTIFICATE_KINDS:
            continue
        data = _decoded(block["body"], f"has certificate {number}")
        try:
            yield _checked(data)
        except UNREADABLE:
            continue


def _check_size(text: str, limit: int) -> None:
    if len(text) > limit:
        raise PemError(f"is longer than {limit // 1024} KiB: give the chain or the key only")


def _decoded(body: str, what: str) -> bytes:
    try:
        return base64.b64decode("".join(body.translate(_INVISIBLE).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PemError(f"{what}, which is damaged ({error}): copy it again, whole") from error


def _certificate(body: str, number: int) -> x509.Certificate:
    data = _decoded(body, f"has certificate {number}")
    try:
        return _checked(data)
    except UNREADABLE as error:
        raise PemError(
            f"has certificate {number}, which clients cannot read: {_first_line(error)}. Ask for a"
            " new one"
        ) from error


def _checked(data: bytes) -> x509.Certificate:
    """Return a certificate after reading every field that is used here."""
    made = x509.load_der_x509_certificate(data)
    _fields = (
        made.version,
        made.extensions,
        made.public_key(),
        made.subject.rfc4514_string(),
        made.issuer.rfc4514_string(),
        made.not_valid_before_utc,
        made.not_valid_after_utc,
        made.signature_algorithm_oid,
    )
    return made


def _is_key(block: re.Match[str]) -> bool:
    return block["kind"] == "PRIVATE KEY" or block["kind"].endswith(" PRIVATE KEY")


def _key(block: re.Match[str]) -> Key:
    if block["kind"] == "ENCRYPTED PRIVATE KEY" or "ENCRYPTED" in block["body"]:
        raise PemError(
            "is protected by a passphrase, which a server cannot ask for: take it off (openssl pkey"
            " -in KEY -out PLAIN) and keep the result in a vault"
        )
    try:
        private = load_pem_private_key(block[0].strip().encode(), password=None)
        text = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    except UNREADABLE as error:
        raise PemError(
            f"is a private key that servers cannot use: {_first_line(error)}. Make a new one"
            " (openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256)"
        ) from None
    return Key(private, text.decode())


def _first_line(error: Exception) -> str:
    """Return the first line of a library's message, without its link to a manual."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line.split(" See https:")[0][:200].rstrip(". ")


def _layout_hint(text: str) -> str:
    """Explain why a key in the text is not found; empty for a text without a key."""
    if not re.search(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----", text):
        return ""
    if text.startswith(_BYTE_ORDER_MARK):
        return (
            ", since a byte order mark comes before it: save the file as UTF-8 without one (sed -i"
            " '1s/^\\xEF\\xBB\\xBF//' KEY)"
        )
    if _has_escapes(text):
        return _hint(text)
    if "\n" not in text.strip():
        return ", since it has no line ends: copy it again, line by line"
    if re.search(r"(?m)^\s+-----(?:BEGIN|END) ", text):
        return ", since its lines are indented: let each begin in the first column"
    return ", since it is not whole: copy it again from its BEGIN line to its END line"


def _has_escapes(text: str) -> bool:
    return bool(re.search(r"-----BEGIN [A-Z0-9 ]+-----\\[nr]", text))


def _hint(text: str) -> str:
    """Say what a text without PEM is instead; empty if it is unknown."""
    if _has_escapes(text):
        return r": it has \n as two characters where lines end; replace them with line ends"
    if kinds := sorted({block["kind"] for block in _BLOCK.finditer(text)}):
        return f": it has {', '.join(kinds)} only"
    if "-----BEGIN" in text:
        return ": no BEGIN line has its END line; copy it again, whole"
    try:
        inner = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return ""
    if inner.startswith(b"-----BEGIN"):
        return ": it is encoded once more; decode it first (base64 -d)"
    return ": it has neither BEGIN nor END line" if inner[:1] == b"\x30" else ""
