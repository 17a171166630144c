# SPDX-License-Identifier: Apache-2.0
"""What the role nats makes, keeps and renews."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import certificates, nats_secrets
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store

from tests.unit.plugins.plugin_utils.authority import Authority

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
NAMES = ["nats", "nats.cartesia.svc", "*.nats-headless"]
NONE: dict[str, Any] = {"users": {}, "certificate": "", "key": "", "ca": ""}


def secret(name: str, entries: dict[str, str]) -> dict[str, Any]:
    """A Secret as the API returns it."""
    data = {key: base64.b64encode(text.encode()).decode() for key, text in entries.items()}
    return {"kind": "Secret", "metadata": {"name": name, "labels": {}}, "data": data}


def stored(secrets: dict[str, Any]) -> list[dict[str, Any]]:
    """The Secrets that the role applies for a result."""
    users = secrets["users"] | {"offerings": secrets["offerings"]}
    pair = {"tls.crt": secrets["certificate"], "tls.key": secrets["key"]}
    made = [secret("nats-users", users), secret("nats-tls", pair)]
    return made + ([secret("nats-authority", secrets["authority"])] if secrets["authority"] else [])


def complete(before: list[dict[str, Any]], days: float = 0, **given: Any) -> dict[str, Any]:
    """The result, so many days after NOW."""
    return nats_secrets.complete(before, NONE | given, NAMES, NOW + datetime.timedelta(days=days))


def test_the_first_run_makes_everything() -> None:
    secrets = complete([])
    assert set(secrets["users"]) == {"api", "stt", "tts"}
    passwords = [*secrets["users"].values(), secrets["offerings"]]
    assert len(set(passwords)) == 4
    assert all(nats_secrets.PASSWORD.fullmatch(one) for one in secrets["users"].values())
    assert len(secrets["offerings"]) == 64
    tls = (secrets["certificate"], secrets["key"], secrets["ca"])
    assert certificates.nats_problems(*tls, servers=3, now=NOW) == []
    other = complete([])
    assert {*other["users"].values()}.isdisjoint(passwords)
    assert other["ca"] != secrets["ca"]


def test_clients_that_are_strict_accept_the_certificate() -> None:
    secrets = complete([])
    [root] = x509.load_pem_x509_certificates(secrets["ca"].encode())
    [leaf] = x509.load_pem_x509_certificates(secrets["certificate"].encode())
    for name in ("nats", "nats-2.nats-headless"):
        verifier = PolicyBuilder().store(Store([root])).time(NOW)
        assert verifier.build_server_verifier(x509.DNSName(name)).verify(leaf, []) == [leaf, root]


def test_the_second_run_changes_nothing() -> None:
    secrets = complete([])
    for days in (0, 1, 500):
        assert complete(stored(secrets), days) == secrets


@pytest.mark.parametrize("missing", ["nats-users", "nats-tls", "nats-authority"])
def test_an_interrupted_run_is_finished(missing: str) -> None:
    secrets = complete([])
    left = [item for item in stored(secrets) if item["metadata"]["name"] != missing]
    again = complete(left)
    assert (again["users"] == secrets["users"]) == (missing != "nats-users")
    assert (again["ca"] == secrets["ca"]) == (missing != "nats-authority")
    assert again["certificate"] != secrets["certificate"] or missing == "nats-users"
    tls = (again["certificate"], again["key"], again["ca"])
    assert certificates.nats_problems(*tls, servers=3, now=NOW) == []
    assert complete(stored(again)) == again


def test_one_password_is_replaced_by_taking_it_away() -> None:
    secrets = complete([])
    before = stored(secrets)
    del before[0]["data"]["tts"]
    again = complete(before)
    assert again["users"]["tts"] != secrets["users"]["tts"]
    assert again | {"users": secrets["users"]} == secrets
    assert again["users"]["api"] == secrets["users"]["api"]


@pytest.mark.parametrize("text", ["", "short", "12345678901234567890", "with space 1234567"])
def test_a_stored_password_that_nats_cannot_read_is_replaced(text: str) -> None:
    secrets = complete([])
    before = stored(secrets)
    before[0]["data"]["api"] = base64.b64encode(text.encode()).decode()
    assert nats_secrets.PASSWORD.fullmatch(complete(before)["users"]["api"])


@pytest.mark.parametrize("broken", ["%%%", base64.b64encode(b"\xff\xfe").decode(), "Y29ycnVwdA=="])
@pytest.mark.parametrize("name", ["nats-users", "nats-tls", "nats-authority"])
def test_unreadable_secrets_are_made_again(name: str, broken: str) -> None:
    before = stored(complete([]))
    for item in before:
        if item["metadata"]["name"] == name:
            item["data"] = dict.fromkeys(item["data"], broken)
    again = complete(before)
    tls = (again["certificate"], again["key"], again["ca"])
    assert certificates.nats_problems(*tls, servers=3, now=NOW) == []
    assert all(nats_secrets.PASSWORD.fullmatch(one) for one in again["users"].values())


def test_the_certificate_is_renewed_before_it_ends_and_the_authority_stays() -> None:
    secrets = complete([])
    assert complete(stored(secrets), 549) == secrets
    later = complete(stored(secrets), 551)
    assert later["certificate"] != secrets["certificate"]
    assert later["authority"] == secrets["authority"]
    assert complete(stored(later), 552) == later


def test_other_names_need_another_certificate() -> None:
    secrets = complete([])
    more = nats_secrets.complete(stored(secrets), NONE, [*NAMES, "bus"], NOW)
    assert more["certificate"] != secrets["certificate"]
    assert more["ca"] == secrets["ca"]


def test_a_new_authority_is_trusted_beside_the_one_before() -> None:
    secrets = complete([])
    later = complete(stored(secrets), 2600)
    new, old = x509.load_pem_x509_certificates(later["ca"].encode())
    assert old.public_bytes(Encoding.PEM).decode() == secrets["ca"]
    [leaf] = x509.load_pem_x509_certificates(later["certificate"].encode())
    leaf.verify_directly_issued_by(new)
    # The one before stays in the bundle: what it is made of would change without a reason else.
    assert complete(stored(later), 2700) == later
    third = complete(stored(later), 5200)
    assert len(x509.load_pem_x509_certificates(third["ca"].encode())) == 2


def test_what_the_operator_gives_goes_first_and_comes_back_out() -> None:
    made = complete([])
    authority = Authority(now=NOW)
    server = authority.server(["nats", "*.nats-headless"])
    own: dict[str, Any] = server | {"ca": authority.certificate, "users": {"api": "a" * 16}}
    given = complete(stored(made), 0, **own)
    assert given["users"] == made["users"] | {"api": "a" * 16}
    assert (given["certificate"], given["key"]) == (server["certificate"], server["key"])
    assert given["ca"] == authority.certificate
    assert given["authority"] == {}
    # Without it again: the role's authority is still there, and the certificate is another's.
    kept = [*stored(given), secret("nats-authority", made["authority"])]
    back = complete(kept)
    assert back["ca"] == made["ca"]
    assert back["certificate"] != server["certificate"]
    assert back["users"]["tts"] == made["users"]["tts"]
