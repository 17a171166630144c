# SPDX-License-Identifier: Apache-2.0
"""The artifact sync and a real storage: Google's own client against an emulator of its API."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage as google
from sonic_reference.artifact_sync.sources import Bucket, SourceError, crc32c, open_bucket
from sonic_reference.artifacts.generations import MismatchError

from lab.processes import Stack, until
from tests.unit.services.test_artifacts import FILES, NIGHT
from tests.unit.storage import BUCKET, Storage, account_file, service_account


def upload(storage: Storage, name: str, content: bytes) -> int:
    """Put an object there as an operator does; returns its generation."""
    client = google.Client(
        project="test",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": storage.url},
    )
    blob = client.bucket(BUCKET).blob(name)
    blob.upload_from_string(content)
    return int(blob.generation)


def source_of(storage: Storage, prefix: str = "site") -> Bucket:
    return open_bucket(BUCKET, prefix, storage.url, service_account())


def test_objects_below_the_prefix_are_listed_and_fetched(storage: Storage, tmp_path: Path) -> None:
    source = source_of(storage)
    assert source.list() == {}
    first = upload(storage, "site/voices/night.json", b"night")
    upload(storage, "other/voices/night.json", b"not ours")
    listed = source.list()
    assert list(listed) == ["voices/night.json"]
    assert listed["voices/night.json"].version == str(first)
    target = tmp_path / "file"
    source.fetch(listed["voices/night.json"], target)
    assert target.read_bytes() == b"night"
    assert crc32c(target) == listed["voices/night.json"].crc32c
    assert upload(storage, "site/voices/night.json", b"later") != first
    assert source.list() != listed
    # The generation that was listed no longer exists.
    with pytest.raises((SourceError, MismatchError)):
        source.fetch(listed["voices/night.json"], target)


def test_content_that_is_not_what_is_listed_is_a_mismatch(storage: Storage, tmp_path: Path) -> None:
    upload(storage, "site/voices/night.json", b"night and day")
    storage.spoil("site/voices/night.json")
    source = source_of(storage)
    [listed] = source.list().values()
    with pytest.raises(MismatchError, match=r"voices/night\.json"):
        source.fetch(listed, tmp_path / "file")


def test_a_storage_that_is_away_or_has_no_such_bucket(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="NotFound"):
        open_bucket("theirs", "", storage.url, service_account()).list()
    upload(storage, "site/voices/night.json", b"night")
    [listed] = source_of(storage).list().values()
    storage.stop()
    with pytest.raises(SourceError):
        source_of(storage).list()
    with pytest.raises(SourceError, match=r"voices/night\.json"):
        source_of(storage).fetch(listed, tmp_path / "file")
    with pytest.raises(SourceError, match="service account"):
        open_bucket(BUCKET, "", storage.url, {"type": "service_account"})


def test_the_sync_keeps_what_it_has_through_all_of_that(storage: Storage, tmp_path: Path) -> None:
    stack = Stack(tmp_path, "")
    url = f"http://127.0.0.1:{stack.artifacts_port}"

    def report() -> dict[str, str]:
        return dict(httpx.get(f"{url}/followers", trust_env=False).json())

    def failures(reason: str) -> float:
        text = httpx.get(f"{url}/metrics", trust_env=False).text
        lines = [one for one in text.splitlines() if f'_total{{reason="{reason}"}}' in one]
        return float(lines[0].rsplit(" ", 1)[1]) if lines else 0

    try:
        stack.start_artifacts(
            SONIC_ARTIFACTS_BUCKET=BUCKET,
            SONIC_ARTIFACTS_ENDPOINT=storage.url,
            SONIC_ARTIFACTS_LONGEST_PAUSE="0.5",
            GOOGLE_APPLICATION_CREDENTIALS=str(account_file(tmp_path)),
        )
        until(lambda: stack.status(f"{url}/ready") == 200, "an empty bucket is a generation")
        for name in ("loras/calm.json", "voices/night.json"):
            upload(storage, name, FILES[name])
        until(lambda: len(report()["files"]) == 2, "two files are there")
        before = report()

        upload(storage, "voices/other.json", json.dumps(NIGHT | {"id": "other"}).encode())
        storage.spoil("voices/other.json")
        until(
            lambda: (
                failures("mismatch") > 1 or report() != before | {"failure": report()["failure"]}
            ),
            "the spoilt file is seen",
        )
        upload(storage, "voices/other.json", b"{")
        until(lambda: "voices/other.json" in report()["refused"], "the bad file is refused")
        assert report()["generation"] == before["generation"]
        storage.stop()
        until(lambda: failures("source") > 1, "the storage is away")
        assert report()["generation"] == before["generation"]
        storage.start()
        upload(storage, "voices/other.json", json.dumps(NIGHT | {"id": "other"}).encode())
        until(lambda: "voices/other.json" in report()["files"], "all is well again")
        assert report()["failure"] == ""
    finally:
        stack.stop()
