# SPDX-License-Identifier: Apache-2.0
"""Publishers' apt repositories: apt installs only packages that a pinned key signed."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lab.bundle import publishers
from lab.bundle.apt import Repository
from lab.bundle.publishers import NotTakenError
from lab.config import LabError
from lab.standins import content


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the key of `signer` is."""
    return tmp_path_factory.mktemp("signer") / "gnupg"


@pytest.fixture(scope="module")
def signer(keyring: Path) -> Iterator[tuple[str, bytes]]:
    """A key's fingerprint, and the key as its publisher hands it out."""
    home = keyring
    fingerprint = content.make_key(home)
    exported = subprocess.run(
        [*content.GPG, home, "--armor", "--export"], check=True, capture_output=True
    ).stdout
    yield fingerprint, exported
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


def check_key(pinned: str, text: bytes, folder: Path) -> None:
    key = folder / "key.asc"
    key.write_bytes(text)
    spec = {"key_url": "https://example.com/key", "fingerprints": [pinned], "uri": "u"}
    Repository("r", spec, folder)._check_key("deb:tool", key)


def test_key_of_a_repository_is_the_pinned_one(signer: tuple[str, bytes], tmp_path: Path) -> None:
    check_key(*signer, tmp_path)
    with pytest.raises(LabError, match=f"{signer[0]}.*pins {'0' * 40}.*nothing was taken") as error:
        check_key("0" * 40, signer[1], tmp_path)
    assert not isinstance(error.value, NotTakenError)


@pytest.mark.parametrize("text", [b"", b"<html>Please sign in</html>", b"\x00\xff" * 40])
def test_page_in_place_of_a_key_is_no_answer(
    text: bytes, signer: tuple[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(NotTakenError, match="is no key"):
        check_key(signer[0], text, tmp_path)


def test_repository_that_is_down_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(_http: httpx.Client, part: str, _method: str, url: str) -> httpx.Response:
        asked.append(url)
        raise NotTakenError(part, "no route")

    monkeypatch.setattr(publishers, "ask", ask)
    spec = {"key_url": "https://example.com/key", "fingerprints": [], "uri": "u"}
    repository = Repository("r", spec, tmp_path)
    for package in ("one", "two"):
        with pytest.raises(NotTakenError, match=f"deb:{package} .*no route"):
            repository.digest(f"deb:{package}", package, "1")
    assert asked == ["https://example.com/key"]


@dataclasses.dataclass
class Shop:
    """A signed apt repository in a folder, and apt's client for it."""

    folder: Path
    repository: Repository

    @property
    def deb(self) -> Path:
        return next((self.folder / "pool").rglob("tool_*.deb"))


@pytest.fixture
def shop(
    signer: tuple[str, bytes], keyring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shop:
    (tmp_path / "built/pool").mkdir(parents=True)
    content._empty_package("tool", "1.2-1", tmp_path / "built/pool")
    base = {"uri": "https://deb.test/x/", "suite": "/", "components": ""}
    spec = base | {"key_url": "https://deb.test/key", "fingerprints": [signer[0]]}
    known = {"repositories": {"r": spec}, "packages": {"tool": {"repository": "r"}}}
    content.lay_packages(known, tmp_path / "built", tmp_path / "site", keyring)
    folder = tmp_path / "site/deb.test/x"
    monkeypatch.setattr(publishers, "ask", lambda *_: httpx.Response(200, content=signer[1]))
    served = spec | {"uri": f"copy:{folder}/"}
    return Shop(folder, Repository("r", served, tmp_path / "apt"))


def test_package_is_taken_by_the_digest_of_the_signed_index(shop: Shop, tmp_path: Path) -> None:
    digest = shop.repository.digest("deb:tool", "tool", "1.2-1")
    assert digest == f"sha256:{hashlib.sha256(shop.deb.read_bytes()).hexdigest()}"
    out = tmp_path / "out"
    out.mkdir()
    shop.repository.fetch("deb:tool", "tool", "1.2-1", digest, out)
    assert [path.read_bytes() for path in out.iterdir()] == [shop.deb.read_bytes()]
    with pytest.raises(NotTakenError, match=r"has no tool 1\.3-1"):
        shop.repository.digest("deb:tool", "tool", "1.3-1")
    with pytest.raises(NotTakenError, match="has no other"):
        shop.repository.digest("deb:tool", "other", "1.2-1")


def test_package_that_is_not_the_indexs_is_not_taken(shop: Shop, tmp_path: Path) -> None:
    digest = shop.repository.digest("deb:tool", "tool", "1.2-1")
    content_ = bytearray(shop.deb.read_bytes())
    content_[-1] ^= 1
    shop.deb.unlink()
    (shop.folder / "pool/r/tool_1.2-1_amd64.deb").write_bytes(content_)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(LabError, match="deb:tool"):
        shop.repository.fetch("deb:tool", "tool", "1.2-1", digest, out)


@pytest.mark.parametrize("change", ["unsigned", "edited"])
def test_index_that_the_pinned_key_did_not_sign_is_not_used(shop: Shop, change: str) -> None:
    path = shop.folder / "InRelease"
    text = path.read_text()
    if change == "unsigned":
        text = (shop.folder / "Release").read_text()
    else:
        text = text.replace("Architectures: amd64", "Architectures: amd64 i386")
    path.write_text(text)
    with pytest.raises(NotTakenError):
        shop.repository.digest("deb:tool", "tool", "1.2-1")
