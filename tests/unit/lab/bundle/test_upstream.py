# SPDX-License-Identifier: Apache-2.0
"""Official parts in place of built ones: digests that are kept, limits, and what is missing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from lab.__main__ import create
from lab.bundle import build, images, publishers, table, upstream
from lab.bundle.lock import Lock
from lab.bundle.publishers import NotTakenError
from lab.bundle.steps import Runner, Step, closure
from lab.config import REPOSITORY, Lab, LabError
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


def test_folder_in_place_of_the_lock_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot be read: Is a directory"):
        Lock(tmp_path)


@pytest.mark.parametrize("entry", [{}, [], "sha256:1", None])
def test_entry_without_a_digest_is_an_error(entry: object, tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.write_text(json.dumps({ITEM: entry}))
    with pytest.raises(LabError, match="has no digest: delete that entry"):
        Lock(path).digests((ITEM,))


@dataclasses.dataclass
class Part:
    """A publisher's part that is no network's."""

    name: str
    digest: str | None = ONE
    fetched: str | None = ONE
    url: str = "https://example.com/v2"

    @property
    def items(self) -> tuple[str, ...]:
        return (f"{self.name}=1",)

    def resolve(self) -> dict[str, str]:
        if self.digest is None:
            raise NotTakenError(self.name, "404")
        return {self.items[0]: self.digest}

    def fetch(self, digests: dict[str, str], out: Path) -> None:
        if self.fetched is None:
            raise NotTakenError(self.name, "429")
        (out / "digest").write_text(digests[self.items[0]])


class Publisher:
    """Two parts, and what would build them."""

    def __init__(self, cache: Path, patch: pytest.MonkeyPatch) -> None:
        self.cache = cache
        self.printed: list[str] = []
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
        return upstream.Taking(known, self.cache, self.printed.append, wanted)

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
    assert any(str(upstream.lock_path()) in line for line in publisher.printed)
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
    publisher.parts["image:a"].digest = TWO
    for wanted in ("", "upstream"):
        with pytest.raises(LabError, match=f"image:a=1.*{TWO}.*{ONE}") as caught:
            publisher.choose(wanted)
        assert not isinstance(caught.value, NotTakenError)


def test_built_parts_stay_and_no_publisher_is_asked(publisher: Publisher) -> None:
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
    assert publisher.printed == [
        "none of the publishers' registries and repositories answers: building"
    ]
    with pytest.raises(LabError, match=r"LAB_SOURCES=upstream.*example\.com.*LAB_SOURCES=build"):
        publisher.choose("upstream")


def test_silent_host_is_named_and_its_parts_are_built(publisher: Publisher) -> None:
    publisher.parts["deb:b"].url = "https://silent.example.com/deb"
    assert set(publisher.choose()) == {"image:a"}
    assert "no answer from silent.example.com" in publisher.printed[0]


def test_missing_part_is_built_unless_upstream_is_demanded(publisher: Publisher) -> None:
    publisher.parts["image:a"].digest = None
    assert set(publisher.choose()) == {"deb:b"}
    assert any("image:a" in line and "building it" in line for line in publisher.printed)
    publisher.parts["deb:b"].digest = None
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
