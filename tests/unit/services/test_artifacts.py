# SPDX-License-Identifier: Apache-2.0
"""Generations of artifacts: whole or not at all, on the way from the source to the pods."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from sonic_reference import voices
from sonic_reference.artifact_sync.app import create_app
from sonic_reference.artifact_sync.metrics import SyncMetrics
from sonic_reference.artifact_sync.sources import Folder, Listed, SourceError
from sonic_reference.artifact_sync.sync import Sync
from sonic_reference.artifacts import catalogue
from sonic_reference.artifacts.follower import Follower
from sonic_reference.artifacts.generations import (
    MAX_FILE_BYTES,
    Entry,
    Generations,
    MismatchError,
    digest,
)
from sonic_reference.artifacts.metrics import FollowerMetrics
from sonic_reference.service import Listener

from lab.bus import free_port
from lab.processes import KEY, Stack, until

NIGHT: dict[str, Any] = {
    "id": "night-desk", "name": "Night desk", "gender": "feminine", "variant": "f3", "lora": "calm",
}  # fmt: skip
CALM = {"engine": "espeak-ng", "pitch": 30, "pitch_range": 20, "speed": 0.5}
WORDS = {"id": "house", "name": "House", "items": [{"text": "NATO", "alias": "nay toe"}]}
FILES = {
    "voices/night.json": json.dumps(NIGHT).encode(),
    "loras/calm.json": json.dumps(CALM).encode(),
    "pronunciation-dicts/house.json": json.dumps(WORDS).encode(),
}


class Shelf:
    """A source in memory, whose files and failures a test sets."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.broken: dict[str, Exception] = {}
        self.fetched: list[str] = []
        self.before_end: Callable[[], None] = lambda: None

    def list(self) -> Mapping[str, Listed]:
        if error := self.broken.get(""):
            raise error
        return {name: Listed(name, str(hash(content))) for name, content in self.files.items()}

    def fetch(self, wanted: Listed, target: Path) -> None:
        self.fetched.append(wanted.name)
        content = self.files[wanted.name]
        target.write_bytes(content[: len(content) // 2])
        self.before_end()
        if error := self.broken.get(wanted.name):
            raise error
        target.write_bytes(content)


def sync_of(source: Any, folder: Path, **more: float) -> tuple[Sync, SyncMetrics]:
    metrics = SyncMetrics()
    settings: dict[str, Any] = {"interval_s": 0.05, "longest_pause_s": 0.2} | more
    return Sync(source, Generations(folder), metrics, **settings), metrics


def shown(folder: Path) -> dict[str, bytes]:
    """Return the files that a reader of the folder sees."""
    root = folder / "current/files"
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def value(metrics: SyncMetrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def test_a_new_generation_is_shown_whole_and_only_what_changed_is_fetched(tmp_path: Path) -> None:
    source = Shelf(FILES)
    sync, metrics = sync_of(source, tmp_path)
    assert asyncio.run(sync.once())
    assert shown(tmp_path) == FILES
    first = sync.current
    assert not asyncio.run(sync.once())
    assert sync.current is first

    source.fetched.clear()
    source.files["loras/calm.json"] = json.dumps(CALM | {"pitch": 31}).encode()
    del source.files["pronunciation-dicts/house.json"]
    seen = []
    source.before_end = lambda: seen.append(shown(tmp_path))
    assert asyncio.run(sync.once())
    # Until it was complete, each reader saw the one before.
    assert seen == [FILES]
    assert source.fetched == ["loras/calm.json"]
    assert shown(tmp_path) == source.files
    assert value(metrics, "artifact_sync_files", folder="pronunciation-dicts") == 0
    assert value(metrics, "artifact_sync_files", folder="voices") == 1


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ({"voices/night.json": SourceError("cut")}, SourceError),
        ({"voices/night.json": MismatchError("sum")}, MismatchError),
        ({"": SourceError("away")}, SourceError),
    ],
)
def test_what_fails_on_the_way_is_never_shown(
    tmp_path: Path, broken: dict[str, Exception], error: type[Exception]
) -> None:
    source = Shelf(FILES)
    sync, metrics = sync_of(source, tmp_path)
    asyncio.run(sync.once())
    looked = value(metrics, "artifact_sync_last_success_timestamp_seconds")
    source.files |= {"voices/night.json": json.dumps(NIGHT | {"name": "Other"}).encode()}
    source.broken = broken
    with pytest.raises(error):
        asyncio.run(sync.once())
    assert shown(tmp_path) == FILES
    assert not list(tmp_path.rglob(".new-*"))
    assert value(metrics, "artifact_sync_last_success_timestamp_seconds") == looked
    source.broken = {}
    assert asyncio.run(sync.once())
    assert shown(tmp_path) == source.files


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("voices/bad.json", b"\x00\xff not JSON", "voices/bad.json: file: Invalid JSON"),
        ("voices/bad.json", b'{"id": "x"}', "voices/bad.json: name: Field required"),
        ("voices/night2.json", FILES["voices/night.json"], "night.json has it too"),
        (
            "voices/bad.json",
            json.dumps(NIGHT | {"id": next(iter(voices.VOICES))}).encode(),
            "is the stack's own",
        ),
        (
            "voices/bad.json",
            json.dumps(NIGHT | {"id": "b", "lora": "none"}).encode(),
            "no file loras/none.json",
        ),
        ("loras/big.json", b" " * (MAX_FILE_BYTES + 1), "larger than"),
        ("loras/calm.bin", b"", "does not end in .json"),
        ("pronunciation-dicts/d.json", b'{"id": "d", "name": "D", "item": []}', "item: Extra"),
    ],
)
def test_files_that_cannot_be_used_refuse_the_generation(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    source = Shelf(FILES)
    sync, _metrics = sync_of(source, tmp_path)
    asyncio.run(sync.once())
    source.files[name] = content
    with pytest.raises(catalogue.InvalidArtifactsError, match=problem):
        asyncio.run(sync.once())
    assert shown(tmp_path) == FILES


def test_what_is_no_artifact_is_left_alone(tmp_path: Path) -> None:
    strange = ["migrations/v2/migrations/1.sql", "voices/a/../../b.json", "README", "voices/.x"]
    sync, metrics = sync_of(Shelf(FILES | dict.fromkeys([*strange, "voices/"], b"x")), tmp_path)
    asyncio.run(sync.once())
    assert shown(tmp_path) == FILES
    assert value(metrics, "artifact_sync_ignored_files") == len(strange)


def test_a_process_that_was_killed_leaves_the_last_whole_generation(tmp_path: Path) -> None:
    sync, _metrics = sync_of(Shelf(FILES), tmp_path)
    asyncio.run(sync.once())
    generations = Generations(tmp_path)
    with generations.stage() as staging:
        staging.path("voices/half.json").write_bytes(b"ha")
        # As after a kill: nothing has been tidied up.
        again = Generations(tmp_path)
    assert again.current
    assert again.current.manifest == generations.current.manifest  # type: ignore[union-attr]
    assert shown(tmp_path) == FILES
    # Not whole on disk: ignored, and fetched again.
    (tmp_path / "current/files/voices/night.json").write_bytes(b"torn")
    torn = Generations(tmp_path)
    assert torn.current is None
    sync, _metrics = sync_of(Shelf(FILES), tmp_path)
    assert asyncio.run(sync.once())
    assert shown(tmp_path) == FILES


def test_no_reader_ever_sees_a_mixture(tmp_path: Path) -> None:
    """One thread shows generations as fast as it can; this one reads what is shown."""
    generations = Generations(tmp_path)
    numbers = range(300)
    failures: list[BaseException] = []

    def show() -> None:
        try:
            for number in numbers:
                with generations.stage() as staging:
                    entries = []
                    for name in ("voices/a.json", "voices/b.json"):
                        path = staging.path(name)
                        path.write_text(str(number))
                        entries.append(
                            Entry(name=name, version=str(number), size=1, sha256=digest(path))
                        )
                    generations.publish(staging, entries)
        except BaseException as error:
            failures.append(error)
            raise

    thread = threading.Thread(target=show)
    thread.start()
    seen = set()
    while thread.is_alive():
        try:
            folder = (tmp_path / "current").resolve(strict=True)
            actual = {(folder / f"files/voices/{name}.json").read_text() for name in "ab"}
        except FileNotFoundError:
            continue  # two newer ones came between the two lines: it is gone, not half there
        assert len(actual) == 1
        seen |= actual
    thread.join()
    assert not failures
    assert len(seen) > 5
    assert {(tmp_path / f"current/files/voices/{name}.json").read_text() for name in "ab"} == {
        str(numbers[-1])
    }
    assert len(list((tmp_path / "generations").iterdir())) == 2


def test_a_folder_is_a_source(tmp_path: Path) -> None:
    root = tmp_path / "source"
    source = Folder(root)
    with pytest.raises(SourceError, match="no folder"):
        source.list()
    (root / "voices").mkdir(parents=True)
    path = root / "voices/night.json"
    path.write_bytes(FILES["voices/night.json"])
    (root / "voices/.half").write_bytes(b"being copied")
    listed = source.list()
    assert list(listed) == ["voices/night.json"]
    target = tmp_path / "copy"
    source.fetch(listed["voices/night.json"], target)
    assert target.read_bytes() == path.read_bytes()
    path.write_bytes(b"longer than it was, and a moment later")
    with pytest.raises(MismatchError, match="meanwhile"):
        source.fetch(listed["voices/night.json"], target)


def test_failures_make_the_sync_look_less_often(tmp_path: Path) -> None:
    source = Shelf({})
    source.broken[""] = SourceError("away")
    sync, metrics = sync_of(source, tmp_path, interval_s=0.01, longest_pause_s=0.2)

    async def body() -> None:
        task = asyncio.create_task(sync.run())
        await asyncio.sleep(0.6)
        # 0.02, 0.04, 0.08, 0.16, 0.2 ...: without backing off it would be about 60.
        assert 3 <= value(metrics, "artifact_sync_failures_total", reason="source") <= 9
        assert value(metrics, "artifact_sync_last_success_timestamp_seconds") == 0
        source.broken.clear()
        async with asyncio.timeout(5):
            while sync.current is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(body())


def test_followers_take_up_what_is_new_and_survive_what_is_broken(tmp_path: Path) -> None:
    source = Shelf(FILES)
    sync, metrics = sync_of(source, tmp_path / "sync")
    taken: list[catalogue.Catalogue] = []
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def follower(pod: str) -> Follower:
        return Follower(
            url, tmp_path / pod, pod, taken.append, FollowerMetrics(CollectorRegistry())
        )

    async def becomes(count: int) -> None:
        async with asyncio.timeout(20):
            while len(taken) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def body() -> None:
        listener = Listener(create_app(sync, metrics), "127.0.0.1", port)
        await listener.start()
        pod = follower("pod")
        # Nothing to be had: it starts without.
        await pod.start(0.1)
        assert taken == []
        await sync.once()
        await becomes(1)
        assert list(taken[0].voices) == ["night-desk"]
        assert taken[0].presets["calm"].pitch == 30
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            items = (await client.get("/followers")).json()
            assert (await client.get("/artifacts/files/none")).status_code == 404
            assert (await client.get("/artifacts", params={"wait": "x"})).status_code == 400
        assert sync.current
        newest = sync.current.manifest.generation
        assert items["generation"] == newest
        assert items["files"].keys() == FILES.keys()

        # The sync's disk gives other bytes than its manifest says: nothing of it is taken up.
        source.files["voices/night.json"] = json.dumps(NIGHT | {"name": "Late"}).encode()
        await sync.once()
        path = sync.current.files / "voices/night.json"
        await becomes(2)
        assert taken[1].voices["night-desk"].name == "Late"
        source.files["voices/night.json"] = json.dumps(NIGHT | {"name": "Later"}).encode()
        await pod.stop()
        await sync.once()
        path = sync.current.files / "voices/night.json"
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"Later", b"XXXXX"))
        pod = follower("pod")
        await pod.start(0.3)
        # What it had before its restart, and not what was changed on the way.
        assert [one.voices["night-desk"].name for one in taken[2:]] == ["Late"]
        path.write_bytes(whole)
        await becomes(4)
        assert taken[3].voices["night-desk"].name == "Later"
        await pod.stop()
        await listener.stop(1)

        # With the sync away a restarted pod has what it had.
        pod = follower("pod")
        await pod.start(0.1)
        assert taken[4].voices["night-desk"].name == "Later"
        await pod.stop()

    asyncio.run(body())


# Processes


@pytest.fixture
def site(bare_stack: Stack, tmp_path: Path) -> tuple[Stack, Path]:
    """A stack whose artifacts come from a folder."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    stack = bare_stack
    stack.start_nats()
    stack.start_proxy()
    stack.start_artifacts(SONIC_ARTIFACTS_SOURCE=str(folder))
    stack.start_api(SONIC_QUEUE_TIMEOUT="15", **stack.follows("api"))
    stack.start_worker(
        SONIC_BATCH_SIZE="8", SONIC_USE_LORA="true", SONIC_PACE="0.3", **stack.follows("worker")
    )
    stack.wait_api()
    stack.wait_worker()
    return stack, folder


def put(folder: Path, name: str, content: bytes) -> None:
    """Lay a file into the source in one step."""
    (folder / name).parent.mkdir(exist_ok=True)
    aside = folder / Path(name).parent / f".{Path(name).name}"
    aside.write_bytes(content)
    aside.replace(folder / name)


def spoken(client: httpx.Client, voice: str, text: str) -> float:
    """Seconds of audio."""
    answer = client.post(
        "/tts/bytes",
        json={
            "model_id": "sonic", "transcript": text, "voice": voice,
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 22050},
        },
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    return len(answer.content) / 2 / 22050


def test_artifacts_are_taken_up_while_streams_run(site: tuple[Stack, Path]) -> None:
    stack, folder = site
    text = "One two three four five six seven eight nine ten. " * 6
    with httpx.Client(
        base_url=stack.url, headers={"X-API-Key": KEY}, timeout=60, trust_env=False
    ) as client:
        usual = spoken(client, "night-desk", text)
        lengths: list[float] = []
        threads = [
            threading.Thread(target=lambda: lengths.append(spoken(client, "any-voice", text)))
            for _unused in range(6)
        ]
        for thread in threads:
            thread.start()
        until(lambda: stack.worker_metric("inferno_worker_load") == 6, "six streams run")
        for name, content in FILES.items():
            put(folder, name, content)

        def listed() -> list[str]:
            return [one["id"] for one in client.get("/voices").json()["data"]]

        until(lambda: "night-desk" in listed(), "the voice is listed")
        until(
            lambda: (
                stack.worker_metric("artifacts_generation_info") == 1
                and '"behind"} 0.0' in metrics_of(stack)
                and '"current"} 2.0' in metrics_of(stack)
            ),
            "API and worker have the newest generation",
        )
        # Half as fast, by its preset.
        assert spoken(client, "night-desk", text) == pytest.approx(usual * 2, rel=0.2)
        items = client.get("/pronunciation-dicts/house").json()
        assert items["items"] == WORDS["items"]
        assert client.delete("/pronunciation-dicts/house").status_code == 403
        for thread in threads:
            thread.join()
        # No stream was cut, and no stream's voice changed.
        assert len(lengths) == 6
        assert max(lengths) - min(lengths) < 0.05 * max(lengths)
        assert stack.worker_metric("inferno_worker_jobs_total") == 8

        put(folder, "voices/bad.json", b"{")
        until(lambda: '{reason="invalid"}' in metrics_of(stack), "the file is refused")
        assert listed()[0] == "night-desk"
        assert spoken(client, "night-desk", "Still here.") > 0.5
        (folder / "voices/bad.json").unlink()
        (folder / "voices/night.json").unlink()
        until(lambda: "night-desk" not in listed(), "the voice is gone")


def metrics_of(stack: Stack) -> str:
    url = f"http://127.0.0.1:{stack.artifacts_port}/metrics"
    return httpx.get(url, trust_env=False).text


def test_a_dictionary_made_at_one_pod_is_used_at_another_and_outlasts_both(stack: Stack) -> None:
    first_port, first_metrics = stack.api_port, stack.api_metrics_port
    with httpx.Client(headers={"X-API-Key": KEY}, timeout=20, trust_env=False) as client:
        made = client.post(f"{stack.url}/pronunciation-dicts", json={"name": "ours"}).json()
        stack.api_port, stack.api_metrics_port = free_port(), free_port()
        stack.start_api("second")
        stack.wait_api()
        assert client.get(f"{stack.url}/pronunciation-dicts/{made['id']}").status_code == 200
        client.patch(f"{stack.url}/pronunciation-dicts/{made['id']}", json={"name": "mine"})
        for name in ("api", "second"):
            stack.processes[name].kill()
            stack.ended(name)
        stack.api_port, stack.api_metrics_port = first_port, first_metrics
        stack.start_api()
        stack.wait_api()
        items = client.get(f"{stack.url}/pronunciation-dicts/{made['id']}").json()
        assert items["name"] == "mine"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "set one of SONIC_ARTIFACTS_BUCKET and SONIC_ARTIFACTS_SOURCE"),
        (
            {"SONIC_ARTIFACTS_BUCKET": "b", "SONIC_ARTIFACTS_SOURCE": "/"},
            "set one of SONIC_ARTIFACTS_BUCKET and SONIC_ARTIFACTS_SOURCE",
        ),
        (
            {"SONIC_ARTIFACTS_BUCKET": "b", "GOOGLE_APPLICATION_CREDENTIALS": "/none.json"},
            "GOOGLE_APPLICATION_CREDENTIALS='/none.json'",
        ),
    ],
)
def test_wrong_settings_are_reported(
    tmp_path: Path, settings: dict[str, str], problem: str
) -> None:
    stack = Stack(tmp_path, "")
    stack.start_artifacts(**settings)
    assert stack.ended("artifacts") == 2
    assert problem in stack.log("artifacts")
