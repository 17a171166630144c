# SPDX-License-Identifier: Apache-2.0
"""Speech and the licence, with every service as a process and the endpoint's stand-in over TLS."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab.bus import free_port
from lab.processes import KEY, Stack, until
from tests.unit.plugins.plugin_utils.authority import Authority

ROOT = Path(__file__).resolve().parents[3]
SPEECH = {
    "model_id": "sonic-reference",
    "transcript": "A secret sentence.",
    "voice": {"mode": "id", "id": "en-us"},
    "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000},
}


class Endpoint:
    """The stand-in for the vendor's license endpoint, as a process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.port = free_port()
        authority = Authority()
        server = authority.server(["localhost"])
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_text(authority.certificate)
        (folder / "certificate.pem").write_text(server["certificate"])
        (folder / "key.pem").write_text(server["key"])
        self._process: subprocess.Popen[bytes] | None = None
        self.say()

    @property
    def settings(self) -> dict[str, str]:
        """What points a license proxy here."""
        return {
            "SONIC_LICENSE_MODE": "connected",
            "SONIC_LICENSE_ENDPOINT": f"https://localhost:{self.port}/self-hosted/license",
            "SONIC_LICENSE_CA_FILE": str(self.ca_file),
            "SONIC_LICENSE_CHECK_INTERVAL": "1",
            "SONIC_LICENSE_GRACE": "20",
        }

    def say(self, **fields: Any) -> None:
        """Set what it answers."""
        new = self._folder / "account.new"
        new.write_text(json.dumps({"api_key": KEY} | fields))
        new.replace(self._folder / "account.json")

    def start(self) -> None:
        """Start it, and return when it listens."""
        script = ROOT / "lab/license_endpoint.py"
        self._process = subprocess.Popen(
            [sys.executable, script, self._folder, str(self.port)], stderr=subprocess.DEVNULL
        )
        url = f"https://localhost:{self.port}/"
        trusted = ssl.create_default_context(cafile=self.ca_file)

        def listens() -> bool:
            try:
                httpx.get(url, verify=trusted, trust_env=False)
            except httpx.ConnectError:
                return False
            return True

        until(listens, "the license endpoint listens")

    def stop(self) -> None:
        """Be gone."""
        if self._process:
            self._process.kill()
            self._process.wait()

    @property
    def received(self) -> list[dict[str, Any]]:
        """Return the reports that it received, in order."""
        path = self._folder / "received.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    made = Endpoint(tmp_path / "endpoint")
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def client(bare_stack: Stack) -> Iterator[httpx.Client]:
    headers = {"X-API-Key": KEY, "Cartesia-Version": "2026-03-01"}
    with httpx.Client(
        base_url=bare_stack.url, headers=headers, timeout=20, trust_env=False
    ) as made:
        yield made


def begin(stack: Stack, **proxy: str) -> None:
    stack.start_nats()
    stack.start_proxy(**proxy)
    stack.start_api(SONIC_AUTHORIZATION_TTL="0.2")
    stack.start_worker()
    stack.wait_api()
    stack.wait_worker()


def state(stack: Stack) -> str:
    try:
        items = httpx.get(f"{stack.proxy_url}/status", trust_env=False).json()
    except httpx.TransportError:
        return "away"
    return str(items["state"])


def test_the_endpoint_goes_away_and_comes_back(
    bare_stack: Stack, endpoint: Endpoint, client: httpx.Client
) -> None:
    begin(bare_stack, **endpoint.settings)
    assert state(bare_stack) == "connected"
    assert client.post("/tts/bytes", json=SPEECH).status_code == 200
    endpoint.stop()
    until(lambda: state(bare_stack) == "grace", "grace")
    assert client.post("/tts/bytes", json=SPEECH).status_code == 200
    until(lambda: state(bare_stack) == "expired", "the end of the grace period")

    def refused() -> bool:
        return client.post("/tts/bytes", json=SPEECH).status_code == 402

    until(refused, "the API refuses")
    actual = client.post("/tts/bytes", json=SPEECH).json()
    assert actual["error_code"] == "license_expired"
    assert actual.keys() == {"error_code", "title", "message", "request_id"}
    assert client.get("/voices").status_code == 402
    endpoint.start()
    until(lambda: client.post("/tts/bytes", json=SPEECH).status_code == 200, "speech is back")
    assert state(bare_stack) == "connected"
    log = bare_stack.log("license_proxy")
    for line in ("unknown -> connected", "connected -> grace", "grace -> expired"):
        assert line in log
    until(lambda: "expired -> connected" in bare_stack.log("license_proxy"), "the log says so")
    assert KEY not in log


def test_a_report_holds_totals_and_nothing_else(
    bare_stack: Stack, endpoint: Endpoint, client: httpx.Client
) -> None:
    begin(bare_stack, **endpoint.settings)
    for _unused in range(2):
        assert client.post("/tts/bytes", json=SPEECH).status_code == 200
    # A pod reports its totals at its end, too.
    bare_stack.signal("api", signal.SIGTERM)
    assert bare_stack.ended("api") == 0
    until(lambda: bool(endpoint.received[-1]["usage"]["totals"]), "usage is reported")
    actual = endpoint.received[-1]
    assert actual.keys() == {"site", "installation", "sent_at", "usage", "audit"}
    assert actual["usage"]["totals"] == {
        "tts": {"requests": 2, "characters": 2 * len(SPEECH["transcript"]), "seconds": 0.0}
    }
    assert "secret" not in json.dumps(endpoint.received)
    assert KEY not in json.dumps(endpoint.received)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"valid": False, "reason": "contract ended"}, "refused: contract ended"),
        ({"status": 503}, "status 503"),
        ({"silent_s": 30}, "TimeoutError"),
    ],
)
def test_other_troubles_of_the_endpoint_are_grace_and_named_in_the_log(
    bare_stack: Stack, endpoint: Endpoint, fields: dict[str, Any], reason: str
) -> None:
    bare_stack.start_proxy(**endpoint.settings | {"SONIC_LICENSE_GRACE": "60"})
    until(lambda: state(bare_stack) == "connected", "connected")
    endpoint.say(**fields)
    until(lambda: state(bare_stack) == "grace", "grace")
    assert reason in bare_stack.log("license_proxy")
    endpoint.say()
    until(lambda: state(bare_stack) == "connected", "connected again")


def test_an_endpoint_of_another_authority_is_not_believed(
    bare_stack: Stack, endpoint: Endpoint, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    other.write_text(Authority("Another").certificate)
    bare_stack.start_proxy(**endpoint.settings | {"SONIC_LICENSE_CA_FILE": str(other)})
    until(lambda: state(bare_stack) == "grace", "grace")
    assert "CERTIFICATE_VERIFY_FAILED" in bare_stack.log("license_proxy")


def test_an_unknown_key_is_refused_at_once(bare_stack: Stack, endpoint: Endpoint) -> None:
    endpoint.say(api_key="another")
    bare_stack.start_proxy(**endpoint.settings)
    until(lambda: state(bare_stack) == "expired", "expired")


def test_air_gapped_survives_its_restart_and_a_kill(
    bare_stack: Stack, client: httpx.Client
) -> None:
    begin(bare_stack, SONIC_LICENSE_FILE="")
    assert client.post("/tts/bytes", json=SPEECH).status_code == 402
    issued = datetime.now(UTC)
    ends = issued + timedelta(days=1)
    text = bare_stack.vendor.licence(issued=issued, expires_at=ends.isoformat())
    url = f"{bare_stack.proxy_url}/license"
    assert httpx.post(url, content=text, trust_env=False).json()["state"] == "airgapped"
    until(lambda: client.post("/tts/bytes", json=SPEECH).status_code == 200, "speech")
    for number in (signal.SIGTERM, signal.SIGKILL):
        bare_stack.signal("license_proxy", number)
        bare_stack.ended("license_proxy")
        bare_stack.start_proxy(SONIC_LICENSE_FILE="")
        until(lambda: state(bare_stack) == "airgapped", "the licence is still there")
    assert client.post("/tts/bytes", json=SPEECH).status_code == 200


def test_what_a_licence_is_not_for_is_forbidden(bare_stack: Stack, client: httpx.Client) -> None:
    begin(bare_stack, SONIC_LICENSE_FILE="")
    text = bare_stack.vendor.licence(operations=["stt"])
    httpx.post(f"{bare_stack.proxy_url}/license", content=text, trust_env=False)
    until(lambda: client.get("/voices").status_code == 200, "licensed")
    answer = client.post("/tts/bytes", json=SPEECH)
    assert (answer.status_code, answer.json()["error_code"]) == (403, "forbidden")


def test_bad_settings_are_named_all_at_once(bare_stack: Stack) -> None:
    bare_stack.start_proxy(
        CARTESIA_API_KEY="", SONIC_LICENSE_PUBLIC_KEY="text", SONIC_LICENSE_GRACE="long"
    )
    assert bare_stack.ended("license_proxy") == 2
    log = bare_stack.log("license_proxy")
    for name in ("CARTESIA_API_KEY", "SONIC_LICENSE_PUBLIC_KEY", "SONIC_LICENSE_GRACE='long'"):
        assert name in log
    bare_stack.start_proxy(
        SONIC_LICENSE_MODE="connected", SONIC_LICENSE_ENDPOINT="http://x",
        SONIC_LICENSE_CA_FILE="/none",
    )  # fmt: skip
    assert bare_stack.ended("license_proxy") == 2
    log = bare_stack.log("license_proxy")
    assert "SONIC_LICENSE_ENDPOINT='http://x' does not start with https://" in log
    assert "SONIC_LICENSE_CA_FILE='/none' cannot be used" in log
