# SPDX-License-Identifier: Apache-2.0
"""With a key, only generations that its owner signed are served."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prometheus_client import CollectorRegistry
from sonic_reference.artifact_sync.metrics import SyncMetrics
from sonic_reference.artifact_sync.sources import Folder
from sonic_reference.artifact_sync.sync import Sync
from sonic_reference.artifacts import seal
from sonic_reference.artifacts.catalogue import InvalidArtifactsError
from sonic_reference.artifacts.follower import Follower
from sonic_reference.artifacts.generations import Entry, Generations, Manifest, MismatchError
from sonic_reference.artifacts.metrics import FollowerMetrics

from tests.unit.services.test_artifacts import CALM, FILES, Shelf, shown

OWNER = Ed25519PrivateKey.generate()
CALMER = json.dumps(CALM | {"pitch": 31}).encode()
NAME = "generation.json"


def signed(
    files: dict[str, bytes], number: int, key: Ed25519PrivateKey = OWNER
) -> dict[str, bytes]:
    """Files, and the signed list of them."""
    listed = {
        name: seal.Signed(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in files.items()
    }
    return files | {NAME: seal.sealed(listed, number, key)}


def sync_of(source: object, folder: Path) -> Sync:
    return Sync(
        source, Generations(folder), SyncMetrics(), interval_s=1, longest_pause_s=1,  # type: ignore[arg-type]
        key=OWNER.public_key(),
    )  # fmt: skip


Files = dict[str, bytes]


def tampered(files: Files) -> None:
    files["loras/calm.json"] = CALMER


def truncated(files: Files) -> None:
    files["loras/calm.json"] = files["loras/calm.json"][:-1]


def emptied(files: Files) -> None:
    files["loras/calm.json"] = b""


def added(files: Files) -> None:
    files["loras/more.json"] = CALMER


def missing(files: Files) -> None:
    del files["loras/calm.json"]


def swapped(files: Files) -> None:
    names = ("voices/night.json", "pronunciation-dicts/house.json")
    files[names[0]], files[names[1]] = files[names[1]], files[names[0]]


def unsigned(files: Files) -> None:
    del files[NAME]


def others(files: Files) -> None:
    del files[NAME]
    files |= signed(dict(files), 9, Ed25519PrivateKey.generate())


def list_changed(files: Files) -> None:
    fields = json.loads(files[NAME])
    listed = base64.b64decode(fields["generation"]).replace(b'"number":5', b'"number":6')
    files[NAME] = json.dumps(fields | {"generation": base64.b64encode(listed).decode()}).encode()


def list_cut(files: Files) -> None:
    files[NAME] = files[NAME][:-9]


def list_deep(files: Files) -> None:
    files[NAME] = b"[" * 100_000


def list_of_nothing(files: Files) -> None:
    text = base64.b64encode(b"{}").decode()
    signature = base64.b64encode(OWNER.sign(b"{}")).decode()
    files[NAME] = json.dumps({"generation": text, "signature": signature}).encode()


TAMPERINGS: list[tuple[Callable[[Files], None], str]] = [
    (tampered, "loras/calm.json: it is not what was signed"),
    (truncated, "loras/calm.json: it is not what was signed"),
    (emptied, "loras/calm.json: it is not what was signed"),
    (added, "loras/more.json: it is not in the signed list"),
    (missing, "loras/calm.json: it is signed, and not there"),
    (swapped, "it is not what was signed"),
    (unsigned, "generation.json: it is not there"),
    (others, "its signature is not of the owner"),
    (list_changed, "its signature is not of the owner"),
    (list_cut, "it is no signed list of files"),
    (list_deep, "it is no signed list of files"),
    (list_of_nothing, "it is no signed list of files"),
]


@pytest.mark.parametrize(
    ("tamper", "message"), TAMPERINGS, ids=[one[0].__name__ for one in TAMPERINGS]
)
def test_what_is_not_as_signed_is_never_served(
    tmp_path: Path, tamper: Callable[[Files], None], message: str
) -> None:
    for folder, before in (("first", False), ("later", True)):
        source = Shelf(signed(FILES, 5))
        sync = sync_of(source, tmp_path / folder)
        if before:
            assert asyncio.run(sync.once())
        tamper(source.files)
        with pytest.raises(InvalidArtifactsError, match=message):
            asyncio.run(sync.once())
        assert shown(tmp_path / folder) == (FILES if before else {})
        # A repaired list is taken up.
        source.files = signed(FILES, 5)
        asyncio.run(sync.once())
        assert shown(tmp_path / folder) == FILES


def test_newer_lists_are_taken_up_and_older_ones_are_replays(tmp_path: Path) -> None:
    source = Shelf(signed(FILES, 5))
    sync = sync_of(source, tmp_path)
    assert asyncio.run(sync.once())
    assert not asyncio.run(sync.once())
    newer = FILES | {"loras/calm.json": CALMER}
    source.files = signed(newer, 6)
    assert asyncio.run(sync.once())
    assert sync.current
    assert sync.current.manifest.number == 6
    assert sync.versions()[NAME] == source.list()[NAME].version
    for number in (5, 6):
        source.files = signed(FILES, number)
        with pytest.raises(InvalidArtifactsError, match="is not higher than 6, which is served"):
            asyncio.run(sync.once())
        assert shown(tmp_path) == newer
    # After a restart on its disk, too; a rollback is signed again.
    again = sync_of(source, tmp_path)
    with pytest.raises(InvalidArtifactsError, match="is not higher than 6"):
        asyncio.run(again.once())
    source.files = signed(FILES, 7)
    assert asyncio.run(again.once())
    assert shown(tmp_path) == FILES


def test_the_same_files_signed_again_are_a_generation_of_their_own(tmp_path: Path) -> None:
    source = Shelf(signed(FILES, 5))
    sync = sync_of(source, tmp_path)
    asyncio.run(sync.once())
    source.files = signed(FILES, 6)
    source.fetched.clear()
    assert asyncio.run(sync.once())
    assert source.fetched == [NAME]
    assert shown(tmp_path) == FILES


def test_what_was_there_before_the_key_is_not_served(tmp_path: Path) -> None:
    source = Shelf(FILES)
    plain = Sync(source, Generations(tmp_path), SyncMetrics(), interval_s=1, longest_pause_s=1)
    asyncio.run(plain.once())
    assert shown(tmp_path) == FILES
    assert sync_of(source, tmp_path).current is None
    assert shown(tmp_path) == {}


def test_without_a_key_a_signed_list_is_no_trouble(tmp_path: Path) -> None:
    source = Shelf(signed(FILES, 5))
    plain = Sync(source, Generations(tmp_path), SyncMetrics(), interval_s=1, longest_pause_s=1)
    assert asyncio.run(plain.once())
    assert shown(tmp_path) == FILES


def test_pods_that_have_a_newer_one_refuse_a_replay(tmp_path: Path) -> None:
    """An artifact sync that was recreated has no memory; the pods that follow it have."""
    made = Generations(tmp_path)
    with made.stage() as staging:
        made.publish(staging, [], 6)
    pod = Follower(
        "http://x", tmp_path, "p", lambda _new: None, FollowerMetrics(CollectorRegistry())
    )

    def offer(number: int, entries: list[Entry]) -> bytes:
        return Manifest.of(entries, number).model_dump_json().encode()

    with pytest.raises(MismatchError, match="an older one"):
        pod._acceptable(offer(5, []))
    assert pod._acceptable(offer(7, [])).number == 7
    # The key was taken away again.
    assert pod._acceptable(offer(0, [])).number == 0


def test_a_folder_is_signed_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, key = tmp_path / "source", tmp_path / "key.pem"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key.write_bytes(OWNER.private_bytes(*form))
    assert seal.main(["--key", str(key), str(root)]) == 0
    sync = sync_of(Folder(root), tmp_path / "sync")
    assert asyncio.run(sync.once())
    assert shown(tmp_path / "sync") == FILES
    # A file that no pod could use is not signed.
    (root / "voices/bad.json").write_text("{")
    assert seal.main(["--key", str(key), str(root)]) == 1
    assert "voices/bad.json" in capsys.readouterr().err
    key.write_bytes(rsa.generate_private_key(65537, 2048).private_bytes(*form))
    assert seal.main(["--key", str(key), str(root)]) == 2
    assert "no Ed25519 key" in capsys.readouterr().err
