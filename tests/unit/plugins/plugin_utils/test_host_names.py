# SPDX-License-Identifier: Apache-2.0
"""Host names as people write them, in the form that Kubernetes takes."""

from __future__ import annotations

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import host_names


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("speech.example.com", "speech.example.com"),
        (" Speech.EXAMPLE.com. ", "speech.example.com"),
        ("*.Example.com", "*.example.com"),
        ("b\u00fccher.example.com", "xn--bcher-kva.example.com"),
        ("*.B\u00dcCHER.example", "*.xn--bcher-kva.example"),
        ("\u97f3\u58f0\u3002example\u3002com", "xn--4qs597l.example.com"),
        ("xn--bcher-kva.example.com", "xn--bcher-kva.example.com"),
        ("3com.example", "3com.example"),
        ("localhost", "localhost"),
    ],
)
def test_name_in_one_form(name: str, made: str) -> None:
    assert host_names.canonical(name) == made


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "is empty"),
        (".", "is empty"),
        ("https://speech.example.com", "has more than a name"),
        ("speech.example.com:443", "has more than a name"),
        ("speech.example.com/tts", "has more than a name"),
        ("speech example.com", "has more than a name"),
        ("speech.example.com\nx", "has more than a name"),
        ("192.0.2.1", "is an address"),
        ("a_b.example.com", "the part 'a_b' is wrong"),
        ("-a.example.com", "the part '-a' is wrong"),
        ("a..example.com", "the part '' is wrong"),
        (".example.com", "the part '' is wrong"),
        ("a" * 64 + ".example.com", "is wrong"),
        ("a." * 126 + "ab", "too long"),
        ("*", "a wildcard that an Ingress does not have"),
        ("*.", "a wildcard that an Ingress does not have"),
        ("*.*.example.com", "a wildcard that an Ingress does not have"),
        ("a.*.example.com", "a wildcard that an Ingress does not have"),
        ("a*.example.com", "a wildcard that an Ingress does not have"),
        ("stra\u00dfe.example", "encode in two ways"),
        ("\ue000.example", "cannot be encoded"),
        ("a\u0000b.example", "is wrong"),
        ('a".example', "is wrong"),
    ],
)
def test_what_is_no_name(name: str, message: str) -> None:
    with pytest.raises(host_names.HostNameError) as refused:
        host_names.canonical(name)
    assert message in str(refused.value)
    [problem] = host_names.problems([name])
    assert problem.startswith(f"ingress_hosts: {name!r} ")
