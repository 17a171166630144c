# SPDX-License-Identifier: Apache-2.0
"""Official parts in place of built ones: digests that are kept, limits, and what is missing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from lab.__main__ import create
from lab.bundle import build, images, publishers, table, upstream
from lab.bundle.apt import Repository
from lab.bundle.lock import Lock
from lab.bundle.publishers import NotTakenError
from lab.bundle.steps import Runner, Step, closure
from lab.config import REPOSITORY, Lab, LabError
from lab.standins import authority, content
from lab.standins.server import Content, Publishers
from tests.unit.lab.conftest import Programs

ONE = "sha256:" + "1" * 64
TWO = "sha256:" + "2" * 64
ITEM = "image:example.com/tool=1"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.delenv(upstream.SETTING, raising=False)


@pytest.mark.parametrize("value", ["", "upstream", "build"])
def test_setting_that_there_is(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(upstream.SETTING, value)
    assert upstream.setting() == value


@pytest.mark.parametrize("value", ["Upstream", " build", "yes", "up stream", "none"])
def test_setting_that_there_is_not(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(upstream.SETTING, value)
    with pytest.raises(LabError, match=r"LAB_SOURCES=.*neither 'upstream'.*nor 'build'"):
        upstream.setting()


def test_bad_setting_stops_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(upstream.SETTING, "both")
    with pytest.raises(LabError, match="LAB_SOURCES='both'"):
        build.build(print)
    lab = Lab("lab")
    with pytest.raises(LabError, match="LAB_SOURCES='both'"):
        create(lab)
    assert not (tmp_path / "caches").exists()
    assert not lab.directory.exists()


def test_digest_is_recorded_at_first_use_and_another_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    Lock(path).record({ITEM: ONE}, "https://example.com/v2/tool")
    entry = json.loads(path.read_text())[ITEM]
    assert entry["digest"] == ONE
    assert entry["version"] == "1"
    assert entry["source"] == "https://example.com/v2/tool"
    assert len(entry["first_use"]) == len("2026-01-31")
    before = path.read_text()
    with pytest.raises(LabError) as caught:
        Lock(path).record({ITEM: TWO, "image:example.com/other=1": ONE}, "https://example.com")
    for word in (ONE, TWO, ITEM, str(path), "delete the entry"):
        assert word in str(caught.value)
    assert path.read_text() == before
    path.write_text("{}")
    with pytest.raises(LabError, match="not a lock file"):
        Lock(path)


def test_deleted_entry_accepts_another_digest_and_a_version_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    Lock(path).record({ITEM: ONE, "image:example.com/tool=2": TWO}, "https://example.com")
    entries = json.loads(path.read_text())
    del entries[ITEM]
    path.write_text(json.dumps(entries))
    Lock(path).record({ITEM: TWO}, "https://example.com")
    assert Lock(path).digests((ITEM, "image:example.com/tool=2")) == {
        ITEM: TWO,
        "image:example.com/tool=2": TWO,
    }
    assert Lock(path).digests((ITEM, "image:example.com/tool=3")) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '"text"'])
def test_lock_file_that_is_none_is_an_error_and_is_kept(text: str, tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.write_text(text)
    with pytest.raises(LabError, match="not a lock file"):
        Lock(path)
    assert path.read_text() == text


@pytest.mark.parametrize("entry", [{}, [], "sha256:1", None])
def test_entry_without_a_digest_is_an_error(entry: object, tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.write_text(json.dumps({ITEM: entry}))
    with pytest.raises(LabError, match="has no digest: delete that entry"):
        Lock(path).digests((ITEM,))


Answers = Callable[[httpx.Request], httpx.Response]


def ask(answers: Answers, pauses: list[float] | None = None) -> httpx.Response:
    with httpx.Client(transport=httpx.MockTransport(answers)) as http:
        waited = [] if pauses is None else pauses
        return publishers.ask(
            http, "image:tool", "GET", "https://registry.test/x", pause=waited.append
        )


def test_rate_limit_is_waited_for_as_long_as_it_says() -> None:
    headers = [{"Retry-After": "7"}, {}]

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers=headers.pop(0)) if headers else httpx.Response(200)

    waited: list[float] = []
    assert ask(answer, waited).status_code == 200
    assert waited == [7.0, 5.0]


@pytest.mark.parametrize("after", ["61", "86400", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "soon"])
def test_long_rate_limit_is_not_waited_for(after: str) -> None:
    waited: list[float] = []
    with pytest.raises(NotTakenError, match="rate limit"):
        ask(lambda _request: httpx.Response(429, headers={"Retry-After": after}), waited)
    assert waited == []


def test_endless_rate_limit_ends() -> None:
    waited: list[float] = []
    with pytest.raises(NotTakenError, match="rate limit"):
        ask(lambda _request: httpx.Response(429, headers={"Retry-After": "0"}), waited)
    assert sum(waited) == publishers.PATIENCE_S


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 503])
def test_part_that_is_refused_is_named_with_the_answer(status: int) -> None:
    with pytest.raises(NotTakenError, match=f"image:tool .*: {status} ") as caught:
        ask(lambda _request: httpx.Response(status))
    assert caught.value.part == "image:tool"


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer realm="http://plain.test/token",service="x"',
        'Bearer service="x"',
        "Basic realm=x",
        "Bearer",
        'Bearer realm="https://',
    ],
)
def test_token_is_asked_for_over_tls_only(challenge: str) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(401, headers={"WWW-Authenticate": challenge})

    with pytest.raises(NotTakenError):
        ask(answer)
    assert all(url.startswith("https://registry.test/") for url in asked)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"no json", b'{"token": ""}'])
def test_endpoint_that_gives_no_token(body: bytes) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(200, content=body)
        realm = 'Bearer realm="https://registry.test/token"'
        return httpx.Response(401, headers={"WWW-Authenticate": realm})

    with pytest.raises(NotTakenError, match="gives no token"):
        ask(answer)


def test_rate_limit_of_the_endpoint_of_tokens_is_waited_for() -> None:
    limits = [429]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(limits.pop() if limits else 200, json={"access_token": "t"})
        if request.headers.get("Authorization") == "Bearer t":
            return httpx.Response(200, text="manifest")
        realm = 'Bearer realm="https://registry.test/token"'
        return httpx.Response(401, headers={"WWW-Authenticate": realm})

    waited: list[float] = []
    assert ask(answer, waited).text == "manifest"
    assert waited == [5.0]


@dataclasses.dataclass
class Registry:
    """A stand-in of a registry with one image, on this machine."""

    served: Content
    name: str


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    content.add_image(tmp_path / "store", "example.com/tool", "1", program, "/bin/tool")
    trusted, pair = authority.issue(["localhost"], tmp_path)
    served = Content([tmp_path / "store"], tmp_path / "site", {"localhost": "example.com"})
    monkeypatch.setattr(publishers, "AUTHORITIES", str(trusted))
    with Publishers(served, ("127.0.0.1", 0), pair) as standin:
        yield Registry(served, f"localhost:{standin.server.server_port}")


def test_digest_of_a_tag_from_a_registry_with_tokens_and_limits(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    found = registry.served.manifest("example.com/tool", "1")
    assert found is not None
    digest, body = found
    assert digest == f"sha256:{hashlib.sha256(body).hexdigest()}"
    with publishers.client() as http:
        got = publishers.image_digest(http, "image:tool", f"{registry.name}/tool", "1")
    assert got == digest
    methods = [words.split()[0] for words in registry.served.asked]
    # Without a token, for the token, and with it: the last one twice, for its first is limited.
    assert methods == ["HEAD", "GET", "HEAD", "HEAD", "GET", "HEAD"]


def test_tag_that_a_registry_does_not_have(registry: Registry) -> None:
    registry.served.limited = 0
    with publishers.client() as http, pytest.raises(NotTakenError, match="404"):
        publishers.image_digest(http, "image:tool", f"{registry.name}/tool", "2")


def test_registry_that_gives_no_digest_is_asked_for_the_manifest() -> None:
    body = b'{"schemaVersion": 2}'
    http = httpx.Client(transport=httpx.MockTransport(lambda _r: httpx.Response(200, content=body)))
    found = publishers.image_digest(http, "image:tool", "example.com/tool", "1")
    assert found == f"sha256:{hashlib.sha256(body).hexdigest()}"


def test_hosts_that_answer_are_found_within_the_time(registry: Registry) -> None:
    assert publishers.answering({registry.name, "localhost:1"}, seconds=30) == {registry.name}
    assert publishers.answering(set()) == set()


def test_certificate_of_another_authority_is_no_answer(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    other, _pair = authority.issue(["localhost"], tmp_path / "other")
    monkeypatch.setattr(publishers, "AUTHORITIES", str(other))
    assert publishers.answering({registry.name}, seconds=30) == set()


@dataclasses.dataclass
class Part:
    """A publisher's part that is no network's."""

    name: str
    found: str | None = ONE
    fetched: str | None = ONE
    url: str = "https://example.com/v2"

    @property
    def items(self) -> tuple[str, ...]:
        return (f"{self.name}=1",)

    def resolve(self) -> dict[str, str]:
        if self.found is None:
            raise NotTakenError(self.name, "404")
        return {self.items[0]: self.found}

    def fetch(self, digests: dict[str, str], out: Path) -> None:
        if self.fetched is None:
            raise NotTakenError(self.name, "429")
        (out / "digest").write_text(digests[self.items[0]])


class Publisher:
    """Two parts, and what would build them."""

    def __init__(self, cache: Path, patch: pytest.MonkeyPatch) -> None:
        self.cache = cache
        self.said: list[str] = []
        self.parts = {name: Part(name) for name in ("image:a", "deb:b")}
        self.built = {name: self._step(name) for name in self.parts}
        self.looked = 0
        self.answers = {"example.com"}
        patch.setattr(publishers, "answering", self._answering)

    def _answering(self, hosts: set[str]) -> set[str]:
        self.looked += 1
        return hosts & self.answers

    def _step(self, name: str) -> Step:
        return Step(name, "built", 1, lambda out: (out / "built").touch())

    def taking(self, wanted: str = "") -> upstream.Taking:
        known: dict[str, upstream.Source] = dict(self.parts)
        return upstream.Taking(known, self.cache, self.said.append, wanted)

    def choose(self, wanted: str = "") -> dict[str, Step]:
        return self.taking(wanted).choose(self.built)

    def take(self, wanted: str = "") -> dict[str, Step]:
        steps = self.choose(wanted)
        Runner(self.cache, print).run(steps.values())
        return steps


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    return Publisher(tmp_path / "bundle", monkeypatch)


def test_parts_are_taken_by_their_digests_and_then_need_no_network(publisher: Publisher) -> None:
    steps = publisher.take()
    assert {(s.output(publisher.cache) / "digest").read_text() for s in steps.values()} == {ONE}
    assert set(Lock(upstream.lock_path()).digests(("image:a=1", "deb:b=1")) or {}) == {
        "image:a=1",
        "deb:b=1",
    }
    assert any(str(upstream.lock_path()) in line for line in publisher.said)
    publisher.answers = set()
    for wanted in ("", "upstream"):
        again = publisher.choose(wanted)
        assert {name: step.key for name, step in again.items()} == {
            name: step.key for name, step in steps.items()
        }
    assert publisher.looked == 1


def test_another_digest_is_refused_when_it_is_taken_again(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.take()
    publisher.cache = tmp_path / "emptied"
    publisher.parts["image:a"].found = TWO
    for wanted in ("", "upstream"):
        with pytest.raises(LabError, match=f"image:a=1.*{TWO}.*{ONE}") as caught:
            publisher.choose(wanted)
        assert not isinstance(caught.value, NotTakenError)


def test_what_was_built_stays_and_nobody_is_asked(publisher: Publisher) -> None:
    Runner(publisher.cache, print).run(publisher.built.values())
    assert publisher.choose() == {}
    assert publisher.choose("build") == {}
    assert publisher.looked == 0
    assert set(publisher.choose("upstream")) == {"image:a", "deb:b"}


def test_only_what_was_not_built_is_taken(publisher: Publisher) -> None:
    Runner(publisher.cache, print).run([publisher.built["deb:b"]])
    assert set(publisher.choose()) == {"image:a"}


def test_build_asks_no_publisher(publisher: Publisher) -> None:
    assert publisher.choose("build") == {}
    assert publisher.looked == 0


def test_no_answer_builds_all_unless_upstream_is_demanded(publisher: Publisher) -> None:
    publisher.answers = set()
    assert publisher.choose() == {}
    assert publisher.said == [
        "none of the publishers' registries and repositories answers: building"
    ]
    with pytest.raises(LabError, match=r"LAB_SOURCES=upstream.*example\.com.*LAB_SOURCES=build"):
        publisher.choose("upstream")


def test_silent_host_is_named_and_its_parts_are_built(publisher: Publisher) -> None:
    publisher.parts["deb:b"].url = "https://silent.example.com/deb"
    assert set(publisher.choose()) == {"image:a"}
    assert "no answer from silent.example.com" in publisher.said[0]


def test_missing_part_is_built_unless_upstream_is_demanded(publisher: Publisher) -> None:
    publisher.parts["image:a"].found = None
    assert set(publisher.choose()) == {"deb:b"}
    assert any("image:a" in line and "building it" in line for line in publisher.said)
    publisher.parts["deb:b"].found = None
    with pytest.raises(LabError, match=r"image:a cannot be taken.*deb:b cannot.*Without LAB_S"):
        publisher.choose("upstream")


def test_part_that_is_refused_half_way_is_built(publisher: Publisher) -> None:
    publisher.parts["image:a"].fetched = None
    taking = publisher.taking()
    with pytest.raises(NotTakenError) as caught:
        Runner(publisher.cache, print).run(taking.choose(publisher.built).values())
    taking.refuse(caught.value)
    assert set(taking.choose(publisher.built)) == {"deb:b"}
    demanded = publisher.taking("upstream")
    with pytest.raises(NotTakenError, match="image:a"):
        demanded.refuse(caught.value)


def test_every_part_has_a_publisher_but_the_labs_own(tmp_path: Path) -> None:
    spec = table.artifacts()
    known = upstream.sources(spec, images.ImageStore(tmp_path), tmp_path)
    wanted = {f"deb:{name}" for name in spec["packages"]} | {f"image:{n}" for n in spec["images"]}
    assert set(known) == wanted | {"manifests", build.REGISTRY, build.STORAGE}
    assert "{" not in json.dumps([*(s.items for s in known.values()), table.upstream()])[1:5]
    assert all(source.url.startswith("https://") for source in known.values())
    assert known["deb:kubelet"].items == (f"deb:kubelet={spec['packages']['kubelet']['version']}",)


def test_kubeadm_depends_on_nothing_as_its_publishers_package_does() -> None:
    """A dependency of the lab's own package would hide that a role leaves a package out."""
    assert "depends" not in table.artifacts()["packages"]["kubeadm"]
    tasks = yaml.safe_load((REPOSITORY / "roles/kubeadm/tasks/main.yml").read_text())
    (install,) = [task for task in tasks if "baremetal.sonic.apt_packages" in task]
    names = {p.partition("=")[0] for p in install["baremetal.sonic.apt_packages"]["packages"]}
    assert names == {"kubeadm", "kubelet", "kubectl", "cri-tools"}


def test_plan_compiles_nothing_when_all_is_taken(tmp_path: Path, programs: Programs) -> None:
    programs.put("go", "echo go version go1.26")
    store = images.ImageStore(tmp_path)
    plan = build.Plan(tmp_path, store, "1")
    assert any(step.group == "go" for step in plan.steps)
    known = upstream.sources(table.artifacts(), store, tmp_path)
    taken = {name: Step(name, "taken", 1, lambda out: None) for name in known}
    repository = plan.repository.key
    plan.replace(taken)
    assert [step.name for step in plan.steps if step.name.startswith("go:")] == [
        build.REGISTRY,
        build.STORAGE,
    ]
    assert {step.key for step in plan.steps if step.name in known} == {"taken"}
    assert plan.repository.key != repository
    plan.replace({})
    assert plan.repository.key == repository


def test_closure_has_needs_first_and_names_what_is_not_there() -> None:
    def step(name: str, *needs: str) -> Step:
        return Step(name, "k", 1, lambda out: None, needs)

    steps = {s.name: s for s in (step("a", "b"), step("b", "c"), step("c"), step("unused"))}
    assert [s.name for s in closure(["a", "c"], steps)] == ["c", "b", "a"]
    with pytest.raises(LabError, match="x needs y"):
        closure(["x"], {"x": step("x", "y")})


def test_pulled_image_is_pushed_by_its_id(
    tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images._Registry, "__enter__", lambda _self: "127.0.0.1:5999")
    monkeypatch.setattr(images._Registry, "__exit__", lambda *_: None)
    programs.put("podman", 'case "$*" in *pull*) echo abc123;; esac')
    store = images.ImageStore(tmp_path)
    part = upstream.Image("image:example.com/tool", "example.com/tool", "1", store)
    step = upstream._step(part, {ITEM: ONE})
    Runner(tmp_path, print).run([step])
    assert any(f"example.com/tool@{ONE}" in line for line in programs.ran)
    store.seed(Path("/registry"), {step.name: step}, print)
    assert programs.ran[-1].endswith("abc123 docker://127.0.0.1:5999/example.com/tool:1")


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, bytes]]:
    """A key's fingerprint, and the key as its publisher hands it out."""
    home = tmp_path_factory.mktemp("signer") / "gnupg"
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
