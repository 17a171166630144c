# SPDX-License-Identifier: Apache-2.0
"""Canaries in every form: none is in the redacted text, and what is no secret stays."""

from __future__ import annotations

import base64
import json
import random
from urllib.parse import quote, quote_plus

import pytest

from plugins.module_utils._support.forms import forms, is_secret, known_forms
from plugins.module_utils._support.redaction import MARK, Redactor

KEY = 'ca"nary&<key>/+=\\ü 1234567890'
SHORT = "hunter"
PEM = (
    "-----BEGIN PRIVATE KEY-----\n"
    + base64.encodebytes(random.Random(1).randbytes(120)).decode()
    + "-----END PRIVATE KEY-----\n"
)
ACCOUNT = json.dumps({"type": "service_account", "client_email": "a@b", "private_key": PEM})
go_json = (
    json.dumps(KEY)
    .replace("&", "\\u0026")
    .replace("<", "\\u003c")
    .replace(">", "\\u003e")
)  # fmt: skip


def redacted(text: str, *secrets: str) -> str:
    return Redactor([secret.encode() for secret in secrets]).text(text)


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        json.dumps(KEY),
        json.dumps(KEY, ensure_ascii=False),
        go_json,
        json.dumps(KEY).replace("/", "\\/"),
        json.dumps(json.dumps(KEY)),
        quote(KEY),
        quote(KEY, safe=""),
        quote_plus(KEY),
        quote(KEY, safe="").lower(),
        KEY.encode().hex(),
        base64.b64encode(KEY.encode()).decode(),
        base64.urlsafe_b64encode(KEY.encode()).decode(),
        base64.b64encode(f"user:{KEY}".encode()).decode(),
        base64.b64encode(f"ab{KEY} and more".encode()).decode(),
        base64.b64encode(f"abc{KEY}xy".encode()).decode(),
    ],
)
def test_secret_is_removed_by_value_in_each_form(form: str) -> None:
    text = redacted(f"before {form} after", KEY)
    # All that can be left is what base64 has of the characters around it.
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert MARK in text
    assert len(text) <= len(f"before {MARK} after") + 20, text
    assert not any(known in text for known in forms(KEY.encode()))


@pytest.mark.parametrize("before", range(20))
def test_place_of_a_secret_does_not_matter(before: int) -> None:
    assert redacted("." * before + KEY + ".", KEY) == "." * before + MARK + "."


def test_short_secret_is_removed_and_shorter_ones_are_counted() -> None:
    redactor = Redactor([SHORT.encode(), b"abc", b" \n", b""])
    assert redactor.text(f"as {SHORT} abc") == f"as {MARK} abc"
    assert (redactor.removed, redactor.short) == (1, 1)
    assert known_forms([b"abcde"]) == (set(), 1)


def test_secret_inside_another_leaves_nothing() -> None:
    assert redacted("x 1234567890abcdef y", "1234567890", "1234567890abcdef") == f"x {MARK} y"


def test_binary_secret_is_removed_in_base64() -> None:
    secret = random.Random(2).randbytes(90)
    text = Redactor([secret]).text("=" + base64.b64encode(b"?" + secret).decode())
    assert len(text) < 20


def test_each_line_of_a_key_is_removed_alone() -> None:
    whole = [line for line in PEM.splitlines()[1:-1] if len(line) >= 16]
    assert len(whole) == 2
    for line in whole:
        assert redacted(f"line {line}.", PEM) == f"line {MARK}."
        # Also of the key inside a service account, as its file has it, or decoded.
        assert redacted(f"line {line}.", ACCOUNT) == f"line {MARK}."
    assert redacted("service_account of a@b", ACCOUNT) == "service_account of a@b"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"a {PEM} b", f"a {MARK}\n b"),
        (json.dumps({"a": PEM}), f'{{"a": "{MARK}\\n"}}'),
        # The log ends inside the key, or begins there. Each line has its time.
        (PEM[:80], MARK),
        (f"10:01 {PEM.splitlines()[1]}\n10:02 -----END RSA PRIVATE KEY----- b",
         f"10:01 {MARK}\n10:02 {MARK} b"),
        ("GET /?api_key=canary1&x=1", f"GET /?api_key={MARK}&x=1"),
        ("GET /?access_token=canary1 b", f"GET /?access_token={MARK} b"),
        ("X-API-Key: canary1", f"X-API-Key: {MARK}"),
        ("(b'x-api-key', b'canary1')", f"(b'x-api-key', b{MARK})"),
        ('{"X-Api-Key":["canary1"]}', f'{{"X-Api-Key":[{MARK}]}}'),
        ("CARTESIA_API_KEY=canary1", f"CARTESIA_API_KEY={MARK}"),
        ('"password": "can ary1", "a"', f'"password": {MARK}, "a"'),
        (r'"{\"password\":\"canary1\"}"', rf'"{{\"password\":\"{MARK}\"}}"'),
        ("Authorization: Basic Y2FuYXJ5", f"Authorization: Basic {MARK}"),
        ("authorization: Bearer canary.1-x", f"authorization: Bearer {MARK}"),
        ("token eyJhbGciOi.eyJleHAiOjE3.c2lnbmF0 b", f"token {MARK} b"),
        ("https://s/b?X-Goog-Signature=canary&x", f"https://s/b?X-Goog-Signature={MARK}&x"),
        (r"https://s/b?a\u0026X-Amz-Credential=canary b",
         rf"https://s/b?a\u0026X-Amz-Credential={MARK} b"),
        ("proxy http://me:canary@proxy:3128/", f"proxy http://{MARK}@proxy:3128/"),
        ("key sk_car_canary12345", f"key {MARK}"),
        ("GET /voices/canary?x", f"GET /voices/{MARK}?x"),
        (r'"path":"\/voices\/canary","a"', rf'"path":"\/voices\/{MARK}","a"'),
        ("pronunciation-dicts/canary.json: bad", f"pronunciation-dicts/{MARK}: bad"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_removed(text: str, left: str) -> None:
    assert redacted(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "request 12 done: 48000 bytes in 0.123 s",
        "pod tts-worker-869c6d9456-k2km6, container worker restarted",
        "-----BEGIN CERTIFICATE-----",
        "tokens per second: 12",
        "the text of the message: words",
        '{"level":"info","msg":"starting","key":"registry"}',
        "see https://kubernetes.io/docs/concepts/ for more",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text, KEY, PEM) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('{"transcript": "a canary \\"sings\\\\", "n": 1}', f'{{"transcript": "{MARK}", "n": 1}}'),
        ('{"text":"canary"}', f'{{"text":"{MARK}"}}'),
        ('{"words": [{"word": "can]ary"}, ["x"]], "n": 1}', f'{{"words": "{MARK}", "n": 1}}'),
        ('{"words": {"words": ["canary"]}, "n": 1}', f'{{"words": "{MARK}", "n": 1}}'),
        # JSON inside JSON, and that inside JSON again.
        (json.dumps(json.dumps({"text": 'a "canary" \\', "n": 1})),
         json.dumps(json.dumps({"text": MARK, "n": 1}))),
        (json.dumps(json.dumps(json.dumps({"text": 'a "canary"', "n": 1}))),
         json.dumps(json.dumps(json.dumps({"text": MARK, "n": 1})))),
        ("{'transcript': 'it\\'s a canary', 'n': 1}", f"{{'transcript': '{MARK}', 'n': 1}}"),
        # A line that was cut.
        ('{"text": "a canary that \nnext', f'{{"text": "{MARK}"\nnext'),
        ('{"words": ["canary", "that\nnext', f'{{"words": "{MARK}"\nnext'),
        ("transcript='a canary' n=1", f"transcript={MARK} n=1"),
        ("transcript=a canary sings\nnext", f"transcript={MARK}\nnext"),
        ("input_value='a canary, sings', input_type=str", f"input_value={MARK}, input_type=str"),
        ('{"text": 12, "n": null}', '{"text": 12, "n": null}'),
        ('context="a" n=1', 'context="a" n=1'),
    ],
)  # fmt: skip
def test_transcripts_are_removed(text: str, left: str) -> None:
    assert redacted(text) == left


def test_data_keeps_its_form() -> None:
    redactor = Redactor([KEY.encode()])
    data = {"a": [f"x {KEY}", 1, None], "text": ["canary"], "token": "t", "secretName": "n"}
    assert redactor.data(data) == {
        "a": [f"x {MARK}", 1, None], "text": MARK, "token": "t", "secretName": "n",
    }  # fmt: skip
    assert redactor.data({"nats_key": {"a": "b"}, "key": ""}, names=True) == {
        "nats_key": MARK, "key": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("license_proxy_api_key", True),
        ("password", True),
        ("pem", True),
        ("auth", True),
        ("ssh_private_key_file", False),
        ("license_proxy_public_key", False),
        ("site_pull_secret", False),
        ("author", False),
    ],
)
def test_names_of_secrets(name: str, secret: bool) -> None:
    assert is_secret(name) == secret
