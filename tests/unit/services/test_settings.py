# SPDX-License-Identifier: Apache-2.0
"""The settings of each service, as its environment has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sonic_reference.api.settings import ApiSettings
from sonic_reference.artifact_sync.settings import SyncSettings
from sonic_reference.license_proxy.settings import ProxySettings
from sonic_reference.settings import ServiceSettings, SettingsError
from sonic_reference.worker.settings import WorkerSettings

from lab.config import REPOSITORY
from lab.licences import Vendor

SERVICES: dict[str, type[ServiceSettings]] = {
    "API": ApiSettings,
    "proxy": ProxySettings,
    "worker": WorkerSettings,
    "sync": SyncSettings,
}
README = (REPOSITORY / "services" / "README.md").read_text(encoding="utf-8")
# Read by the TLS library.
OF_LIBRARIES = {"SSL_CERT_FILE"}


def problems(kind: type[ServiceSettings], variables: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        kind.read(variables)
    return str(caught.value).splitlines()


def documented(service: str) -> set[str]:
    """The variables that the README's table has for a service."""
    names = {"SONIC_LOG_LEVEL", "SONIC_HOST"}
    for line in README.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        services = cells[2].split(", ") if len(cells) == 6 else []
        if re.fullmatch(r"[A-Z_, ]+", cells[1] if len(cells) == 6 else "") and service in services:
            names |= set(cells[1].split(", "))
    return names - OF_LIBRARIES


@pytest.mark.parametrize("service", list(SERVICES))
def test_the_readme_documents_each_variable(service: str) -> None:
    variables = {variable for variable, _field in SERVICES[service].variables().values()}
    assert variables == documented(service)


def test_the_api_names_all_problems_and_shows_no_key() -> None:
    assert problems(
        ApiSettings,
        {
            "CARTESIA_API_KEY": "sk_sekr\u00e9t",
            "LICENSE_PROXY_URL": "license-proxy:8080",
            "SONIC_PORT": "0",
            "SONIC_LOG_LEVEL": "loud",
            "SONIC_TEXT_TIMEOUT": "16",
            "SONIC_ARTIFACTS_URL": "file:///x",
        },
    ) == [
        "SONIC_LOG_LEVEL='loud' is not a log level: DEBUG, INFO, WARNING, ERROR or CRITICAL",
        "SONIC_PORT='0' is not a whole number from 1 to 65535",
        "NATS_URL is not set",
        "LICENSE_PROXY_URL='license-proxy:8080' does not start with http or https://",
        "CARTESIA_API_KEY must be printable ASCII, at most 512 characters: write the key again",
        "SONIC_TEXT_TIMEOUT='16' is not a number from 0 to 15",
        "SONIC_ARTIFACTS_URL='file:///x' does not start with http or https://",
    ]


def test_no_key_is_in_the_text_of_settings() -> None:
    required = {"NATS_URL": "nats://u:pass@n", "LICENSE_PROXY_URL": "http://p"}
    api = ApiSettings.read(
        {**required, "CARTESIA_API_KEY": "sk_secret", "SONIC_OFFERINGS_KEY": "secret"}
    )
    worker = WorkerSettings.read(
        {**required, "SONIC_MODEL": "m", "SONIC_OFFERING_KEY": "secret", "SONIC_OPERATION": "stt"}
    )
    proxy = ProxySettings.read(
        {"CARTESIA_API_KEY": "secret", "SONIC_LICENSE_ENDPOINT": "https://vendor"}
    )
    assert api.site_key == "sk_secret"
    assert worker.operation == "stt"
    assert proxy.keys == ["secret"]
    for settings in (api, worker, proxy):
        assert "secret" not in repr(settings)
        assert "pass" not in repr(settings)


def test_a_worker_takes_as_many_streams_as_its_batch_unless_it_is_given_a_number() -> None:
    required = {"NATS_URL": "nats://n", "SONIC_MODEL": "m", "SONIC_BATCH_SIZE": "8"}
    assert WorkerSettings.read(required).capacity == 8
    assert WorkerSettings.read({**required, "SONIC_CAPACITY": "12"}).capacity == 12
    wrong = {**required, "SONIC_CAPACITY": "0", "SONIC_OPERATION": "video"}
    assert problems(WorkerSettings, wrong) == [
        "SONIC_OPERATION='video' is neither TTS nor STT",
        "SONIC_CAPACITY='0' is not a whole number from 1 to 1024",
    ]


@pytest.mark.parametrize(
    ("variables", "lines"),
    [
        (
            {"SONIC_PORT": "x"},
            [
                "SONIC_PORT='x' is not a whole number from 1 to 65535",
                "neither CARTESIA_API_KEY nor CONTAINER_KEY is set: no request could be authorized",
                "SONIC_LICENSE_ENDPOINT is not set",
            ],
        ),
        (
            {"CONTAINER_KEY": "k", "SONIC_LICENSE_MODE": "open"},
            ["SONIC_LICENSE_MODE='open' is none of connected, airgapped"],
        ),
        (
            {"CONTAINER_KEY": "k", "SONIC_LICENSE_ENDPOINT": "http://vendor"},
            ["SONIC_LICENSE_ENDPOINT='http://vendor' does not start with https://"],
        ),
        (
            {"CONTAINER_KEY": "k", "SONIC_LICENSE_MODE": "airgapped"},
            ["SONIC_LICENSE_PUBLIC_KEY is not set"],
        ),
        (
            {
                "CONTAINER_KEY": "k",
                "SONIC_LICENSE_MODE": "airgapped",
                "SONIC_LICENSE_PUBLIC_KEY": "x",
            },
            ["SONIC_LICENSE_PUBLIC_KEY is no Ed25519 public key in PEM form"],
        ),
    ],
)
def test_the_license_proxy_names_what_its_mode_needs(
    variables: dict[str, str], lines: list[str]
) -> None:
    assert problems(ProxySettings, variables) == lines


def test_the_license_proxy_reads_files_of_authorities(tmp_path: Path) -> None:
    variables = {"CONTAINER_KEY": "k", "SONIC_LICENSE_ENDPOINT": "https://vendor/"}
    assert ProxySettings.read(variables).url == "https://vendor"
    missing = {**variables, "SONIC_LICENSE_CA_FILE": str(tmp_path / "none.pem")}
    [line] = problems(ProxySettings, missing)
    assert line.startswith(f"SONIC_LICENSE_CA_FILE='{tmp_path}/none.pem' cannot be used: ")
    # What the other mode needs is not read.
    offline = {
        "CONTAINER_KEY": "k",
        "SONIC_LICENSE_MODE": "airgapped",
        "SONIC_LICENSE_PUBLIC_KEY": Vendor().public_key,
        "SONIC_LICENSE_CA_FILE": str(tmp_path / "none.pem"),
    }
    assert ProxySettings.read(offline).trusted is None


def test_the_artifact_sync_has_one_source(tmp_path: Path) -> None:
    one = "set one of SONIC_ARTIFACTS_BUCKET and SONIC_ARTIFACTS_SOURCE"
    both: Any = {"SONIC_ARTIFACTS_BUCKET": "b", "SONIC_ARTIFACTS_SOURCE": str(tmp_path)}
    assert problems(SyncSettings, {}) == [one]
    assert problems(SyncSettings, both | {"SONIC_ARTIFACTS_INTERVAL": "0"}) == [
        "SONIC_ARTIFACTS_INTERVAL='0' is not a number from 0.1 to 86400",
        one,
    ]
    account = tmp_path / "account.json"
    account.write_text("{", encoding="utf-8")
    [line] = problems(
        SyncSettings,
        {"SONIC_ARTIFACTS_BUCKET": "b", "GOOGLE_APPLICATION_CREDENTIALS": str(account)},
    )
    assert line.startswith(f"GOOGLE_APPLICATION_CREDENTIALS='{account}': ")
    assert SyncSettings.read({"SONIC_ARTIFACTS_SOURCE": str(tmp_path)}).bucket is None
    assert SyncSettings.read({"SONIC_ARTIFACTS_BUCKET": "b"}).bucket is not None
