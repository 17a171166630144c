# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Convert host names to the form that Kubernetes, certificates and HAProxy compare."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

# RFC 1035, 2.3.4, without the final dot and the length bytes.
MAX_NAME = 253
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
# IDNA 2003 (Python) and IDNA 2008 (browsers) encode these differently.
_AMBIGUOUS = "\u00df\u1e9e\u03c2\u200c\u200d"


class HostNameError(ValueError):
    """A text cannot be a host of an Ingress; the message completes `NAME ...`."""


def canonical(name: str) -> str:
    """Return a host name in lower case, without a final dot, in ASCII (xn--).

    A first label ``*`` stands for any one label, as in an Ingress (networking.k8s.io/v1,
    IngressRule.host).

    Raises:
        HostNameError: the text is no such name.
    """
    text = name.strip()
    if re.search(r"[/:@\s]", text):
        raise HostNameError("has more than a name: leave out scheme, port, path and spaces")
    text = _ascii(text).lower().removesuffix(".")
    if not text:
        raise HostNameError("is empty: give a name like speech.example.com")
    try:
        ipaddress.ip_address(text)
    except ValueError:
        pass
    else:
        raise HostNameError("is an address: an Ingress has names only; give one in your DNS")
    labels = text.removeprefix("*.").split(".")
    if "*" in "".join(labels) or (text.startswith("*.") and len(labels) < 2):
        raise HostNameError(
            "has a wildcard that an Ingress does not have: * may be the whole first label only, as"
            " in *.example.com"
        )
    wrong = next((label for label in labels if not _LABEL.match(label)), None)
    if wrong is not None or len(text) > MAX_NAME:
        reason = "it is too long" if wrong is None else f"the part {wrong!r} is wrong"
        raise HostNameError(
            f"is no host name, since {reason}: give parts of 1 to 63 letters, digits and inner"
            " hyphens, with dots between"
        )
    return text


def canonical_names(names: Sequence[str]) -> list[str]:
    """Return host names in canonical form, each once, in their order.

    Raises:
        HostNameError: a name is no host name; the message begins with it.
    """
    unique: dict[str, None] = {}
    for name in names:
        try:
            unique[canonical(str(name))] = None
        except HostNameError as error:
            raise HostNameError(f"{name} {error}") from error
    return list(unique)


def problems(names: Sequence[str]) -> list[str]:
    """Return what is wrong with the variable ingress_hosts, one message for each name."""
    messages = [] if names else ["ingress_hosts is empty: name the host that clients use"]
    for name in names:
        try:
            canonical(str(name))
        except HostNameError as error:
            messages.append(f"ingress_hosts: {str(name)!r} {error}")
    return messages


def usable(names: Sequence[str]) -> list[str]:
    """Return the valid names in canonical form, each once."""
    unique: dict[str, None] = {}
    for name in names:
        try:
            unique[canonical(str(name))] = None
        except HostNameError:
            continue
    return list(unique)


def concrete(name: str) -> str:
    """Return a name that a client can ask for; for a wildcard, a name that it covers."""
    return f"speech.{name[2:]}" if name.startswith("*.") else name


def matches(pattern: str, host: str) -> bool:
    """Whether a certificate's name covers a host. A wildcard stands for the first label."""
    pattern, host = pattern.lower().removesuffix("."), host.lower().removesuffix(".")
    if pattern.startswith("*."):
        _first, dot, rest = host.partition(".")
        return bool(dot) and rest == pattern[2:]
    return pattern == host


def _ascii(text: str) -> str:
    if text.isascii():
        return text
    if any(letter in _AMBIGUOUS for letter in text):
        raise HostNameError(
            "has a letter that clients encode in two ways: write the name in ASCII (xn--)"
        )
    star, rest = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    try:
        return star + rest.encode("idna").decode()
    except UnicodeError as error:
        raise HostNameError(
            "has letters that cannot be encoded: write the name in ASCII (xn--)"
        ) from error
