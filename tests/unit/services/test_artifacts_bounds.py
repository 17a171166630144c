# SPDX-License-Identifier: Apache-2.0
"""A writer of the bucket, or a server in its place, fills neither memory nor disk."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import tracemalloc
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from prometheus_client import CollectorRegistry
from sonic_reference.artifact_sync.app import MAX_FOLLOWERS, Followers, create_app
from sonic_reference.artifact_sync.metrics import SyncMetrics
from sonic_reference.artifact_sync.sources import Folder, Listed, SourceError, open_bucket
from sonic_reference.artifact_sync.sync import Sync
from sonic_reference.artifacts import catalogue, generations
from sonic_reference.artifacts.catalogue import InvalidArtifactsError
from sonic_reference.artifacts.follower import FAILURES, Follower
from sonic_reference.artifacts.generations import Entry, Generations, Manifest
from sonic_reference.artifacts.metrics import FollowerMetrics
from sonic_reference.service import Listener

from lab.bus import free_port
from tests.unit.services.test_artifacts import FILES, Shelf, shown, sync_of
from tests.unit.storage import service_account

MEGABYTE = 1_000_000


class Sized(Shelf):
    """A source that lists sizes, true or not."""

    def __init__(self, files: Mapping[str, bytes], sizes: Mapping[str, int]) -> None:
        super().__init__(files)
        self.sizes = sizes

    def list(self) -> Mapping[str, Listed]:
        return {
            name: Listed(name, one.version, size=self.sizes.get(name, len(self.files[name])))
            for name, one in super().list().items()
        }


def test_what_the_listing_says_is_too_large_is_not_fetched(tmp_path: Path) -> None:
    source = Sized(FILES | {"loras/big.json": b"{}"}, {"loras/big.json": 2**40})
    sync, _metrics = sync_of(source, tmp_path)
    with pytest.raises(InvalidArtifactsError, match=r"loras/big\.json: larger than"):
        asyncio.run(sync.once())
    assert source.fetched == []


def test_all_files_together_are_bounded_by_the_listing_and_by_what_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sonic_reference.artifact_sync.sync.MAX_TOTAL_BYTES", 10_000)
    files = {f"loras/n{number}.json": b" " * 3000 for number in range(100)}
    honest = Sized(files, {})
    with pytest.raises(InvalidArtifactsError, match="all files: together larger than"):
        asyncio.run(sync_of(honest, tmp_path / "a")[0].once())
    assert honest.fetched == []
    liar = Sized(files, dict.fromkeys(files, 1))
    with pytest.raises(InvalidArtifactsError, match="all files: together larger than"):
        asyncio.run(sync_of(liar, tmp_path / "b")[0].once())
    assert len(liar.fetched) == 4
    assert not list(tmp_path.rglob("*.json"))


def test_too_many_files_are_none(tmp_path: Path) -> None:
    source = Shelf({f"loras/n{n}.json": b"{}" for n in range(generations.MAX_FILES + 1)})
    with pytest.raises(InvalidArtifactsError, match="all files: 2001, more than 2000"):
        asyncio.run(sync_of(source, tmp_path)[0].once())
    assert source.fetched == []


def test_problems_are_a_few_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    items = json.dumps({"id": "d", "name": "D", "items": [{"wrong": 1}] * 1000}).encode()
    source = Shelf({f"pronunciation-dicts/d{n}.json": items for n in range(50)})
    source.files |= {f"else/{n}": b"" for n in range(500)}
    with pytest.raises(InvalidArtifactsError) as refused:
        asyncio.run(sync_of(source, tmp_path)[0].once())
    lines = str(refused.value).splitlines()
    assert len(lines) == catalogue.MAX_LINES + 1
    assert lines[-1] == "and 130 more"
    assert len(caplog.records) == catalogue.MAX_LINES + 1


def test_a_folder_with_endless_files_is_read_no_further(tmp_path: Path) -> None:
    (tmp_path / "source/voices").mkdir(parents=True)
    with (tmp_path / "source/voices/big.json").open("wb") as file:
        file.truncate(2**40)
    source = Folder(tmp_path / "source")
    [listed] = source.list().values()
    assert listed.size == 2**40
    with pytest.raises(InvalidArtifactsError, match="larger than"):
        source.fetch(listed, tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_size <= generations.MAX_FILE_BYTES


class Endless(BaseHTTPRequestHandler):
    """A storage that lists a small object, and sends without end."""

    sent: ClassVar[list[int]] = []
    items: ClassVar[int] = 1

    def do_GET(self) -> None:
        if "alt=media" in self.path:
            self.send_response(200)
            self.end_headers()
            piece = b" " * 65536
            try:
                for number in range(4096):
                    self.wfile.write(piece)
                    self.sent.append(number)
            except OSError:
                pass
            return
        item = {"generation": "1", "crc32c": "AAAAAA==", "size": "10"}
        names = (f"voices/n{number}.json" for number in range(self.items))
        body = json.dumps({"items": [{"name": name} | item for name in names]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_unused: object) -> None:
        pass


@pytest.fixture
def endless() -> Iterator[str]:
    Endless.sent.clear()
    Endless.items = 1
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_storage_that_sends_without_end_is_cut(endless: str, tmp_path: Path) -> None:
    source = open_bucket("ours", "", endless, service_account())
    [listed] = source.list().values()
    assert listed.size == 10
    target = tmp_path / "file"
    with pytest.raises(InvalidArtifactsError, match=r"voices/n0\.json: larger than"):
        source.fetch(listed, target)
    assert target.stat().st_size <= generations.MAX_FILE_BYTES
    assert len(Endless.sent) < 4096


def test_a_storage_that_lists_without_end_is_cut(endless: str) -> None:
    Endless.items = 20_001
    with pytest.raises(SourceError, match="more than 20000 files"):
        open_bucket("ours", "", endless, None).list()


def entry(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "version": "1", "size": 1, "sha256": "0" * 64} | changes


def manifest(*entries: dict[str, Any], **changes: Any) -> bytes:
    made = Manifest.of([Entry.model_construct(**one) for one in entries[:2000]])
    return json.dumps(made.model_dump() | {"entries": entries} | changes).encode()


ONE = entry("loras/a.json")
MANY = [entry(f"loras/n{n}.json") for n in range(generations.MAX_FILES + 1)]
LARGE = [entry(f"loras/n{n}.json", size=generations.MAX_FILE_BYTES) for n in range(40)]


@pytest.mark.parametrize(
    "offer",
    [
        manifest(*MANY),
        manifest(*LARGE),
        manifest(entry("loras/a.json", size=2**40)),
        manifest(entry("loras/a.json", size=-1)),
        manifest(ONE, ONE),
        manifest(entry("loras/a.json", sha256="../../metrics")),
        manifest(ONE, generation="other"),
        manifest(ONE)[:-1] + b" " * 3_000_000 + b"}",
        gzip.compress(b" " * 50 * MEGABYTE),
        manifest(entry("loras/endless.json")),
    ],
    ids=[
        "files", "bytes", "size", "less than nothing", "twice", "no sum", "another name", "long",
        "compressed", "more than it listed",
    ],
)  # fmt: skip
def test_a_sync_that_offers_too_much_is_not_followed(tmp_path: Path, offer: bytes) -> None:
    taken: list[catalogue.Catalogue] = []
    asked: list[str] = []

    async def piece() -> Any:
        for _unused in range(5000):
            yield b" " * 65536

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path != "/artifacts":
            return httpx.Response(200, content=piece())
        assert request.headers["accept-encoding"] == "identity"
        packed = {"Content-Encoding": "gzip"} if offer[:2] == b"\x1f\x8b" else {}
        return httpx.Response(200, headers=packed, stream=httpx.ByteStream(offer))

    async def body() -> None:
        pod = Follower(
            "http://sync", tmp_path, "pod", taken.append, FollowerMetrics(CollectorRegistry())
        )
        await pod._client.aclose()
        pod._client = httpx.AsyncClient(
            transport=httpx.MockTransport(answer), base_url="http://sync",
            headers=pod._client.headers,
        )  # fmt: skip
        tracemalloc.start()
        with pytest.raises(Exception) as refused:  # noqa: PT011
            await pod._step()
        _now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert isinstance(refused.value, FAILURES)
        assert peak < 30 * MEGABYTE
        await pod.stop()

    asyncio.run(body())
    assert taken == []
    assert not list(tmp_path.rglob("*.json"))


def test_followers_do_not_pile_up_and_the_newest_are_known(tmp_path: Path) -> None:
    metrics = SyncMetrics()
    sync = Sync(Shelf({}), Generations(tmp_path), metrics, interval_s=1, longest_pause_s=1)
    followers = Followers(sync, metrics)
    for number in range(MAX_FOLLOWERS + 50):
        followers.note(f"pod/{number}", "x")
    followers.note("api/real", "y")
    assert len(followers.all()) == MAX_FOLLOWERS
    assert followers.all()["api/real"] == "y"


def test_a_path_with_a_line_feed_is_no_path_of_the_sync(tmp_path: Path) -> None:
    source = Shelf(FILES)
    sync, metrics = sync_of(source, tmp_path)

    async def body() -> None:
        await sync.once()
        port = free_port()
        listener = Listener(create_app(sync, metrics), "127.0.0.1", port)
        await listener.start()
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False
        ) as client:
            for path in ("artifacts", "followers", "metrics", "ready", "live"):
                assert (await client.get(f"/{path}")).status_code == 200, path
                assert (await client.get(f"/{path}%0A")).status_code == 404, path
        await listener.stop(1)

    asyncio.run(body())
    assert shown(tmp_path) == FILES
