# SPDX-License-Identifier: Apache-2.0
"""The parts of the bundle: keys that depend on their inputs, and interrupted builds."""

from __future__ import annotations

import fcntl
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.bundle import build, golang, images, manifests, packages, table, trims, wheels
from lab.bundle.steps import Runner, Step
from lab.config import LabError
from tests.unit.lab.conftest import Programs

GO = "go:tool/tool"


def source(key: str = "1") -> Step:
    def write(out: Path) -> None:
        (out / "tool").write_text("#!/bin/sh\n")

    return Step(GO, key, 1, write)


def package(**more: Any) -> dict[str, Any]:
    return {
        "version": "1.2.3-1.1",
        "description": "a tool",
        "files": {"/usr/bin/tool": GO},
        "depends": ["libc6", "iptables"],
        "units": ["tool.service"],
        **more,
    }


def test_every_version_of_the_table_is_known() -> None:
    spec = table.artifacts()
    assert set(spec) >= {"binaries", "packages", "images"}
    assert "{" not in json.dumps([image["tag"] for image in spec["images"].values()])
    needed = {f for p in spec["packages"].values() for f in p["files"].values()}
    needed |= {f for i in spec["images"].values() for f in i["files"].values()}
    made = {f"go:{c}/{t}" for c, binary in spec["binaries"].items() for t in binary["tools"]}
    assert {name for name in needed if name.startswith("go:")} <= made


def test_key_of_a_package_follows_its_inputs(tmp_path: Path) -> None:
    def key(source_key: str, **more: Any) -> str:
        made = packages.steps({"tool": package(**more)}, {GO: source(source_key)}, tmp_path)
        return made["deb:tool"].key

    keys = [key("1"), key("2"), key("1", version="1.2.4-1.1"), key("1", depends=[])]
    keys += [key("1", files={"/usr/sbin/tool": GO})]
    assert len(set(keys)) == 5
    assert key("1") == keys[0]


def test_key_of_a_program_follows_version_flags_and_sums(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trimmed = "as it was"
    monkeypatch.setattr(golang, "MODULE", tmp_path)
    monkeypatch.setattr(trims, "inputs", lambda: trimmed)

    def key(version: str = "go1.26", sums: str = "", main: str = "", **more: Any) -> str:
        programs.put("go", f"echo go version {version}")
        (tmp_path / "mains/tool").mkdir(parents=True, exist_ok=True)
        (tmp_path / "mains/tool/main.go").write_text(main)
        (tmp_path / "go.mod").write_text("module tool\n")
        (tmp_path / "go.sum").write_text(sums)
        tools = {"tool": {"path": "cmd/tool", "seconds": 9}}
        table = {"tool": {"package": "example.com/tool", "tools": tools, **more}}
        return golang.steps(table, tmp_path)[GO].key

    keys = [key(), key("go1.27"), key(sums="h1:x"), key(cgo=True), key(stamp={"a.b": "1"})]
    keys += [key(tags=["small"]), key(main="package main")]
    trimmed = "with another part cut"
    keys.append(key())
    trimmed = "as it was"
    assert len(set(keys)) == 8
    assert key() == keys[0]


def test_build_tags_reach_the_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Programs
) -> None:
    monkeypatch.setattr(golang, "MODULE", tmp_path)
    (tmp_path / "go.mod").touch()
    (tmp_path / "go.sum").touch()
    programs.put("go", f'echo "$@" >> {tmp_path}/said')
    tools = {"tool": {"path": "", "seconds": 9}}
    table = {"tool": {"package": "tool", "tools": tools, "tags": ["a", "b"]}}
    made = golang.steps(table, tmp_path)
    made[golang.SOURCES].output(tmp_path).mkdir(parents=True)
    made[GO].build(tmp_path)
    assert " -tags=a,b " in (tmp_path / "said").read_text()


def test_manifests_are_served_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bundle.yaml").write_text("kind: Thing\n")
    monkeypatch.setattr(golang, "module_directory", lambda sources, module: tmp_path)
    spec = {"module": "example.com/tool", "path": "bundle.yaml", "name": "tool.yaml"}
    sources = Step(golang.SOURCES, "k", 1, lambda out: None)
    step = manifests.step({"tool": spec}, sources, source(), tmp_path)
    step.build(tmp_path)
    assert (tmp_path / "tool.yaml").read_text() == "kind: Thing\n"
    other = Step(golang.SOURCES, "another version", 1, lambda out: None)
    assert manifests.step({"tool": spec}, other, source(), tmp_path).key != step.key


def test_manifest_made_by_kustomize_is_upstreams_release(
    tmp_path: Path, programs: Programs
) -> None:
    # It prints what it is to make its output of.
    programs.put("kubectl", 'cd "$2/.." && for f in */*.yaml; do echo "--- # $f"; cat "$f"; done')
    for name, text in {
        "default/kustomization.yaml": "resources: [../manager]\ntransformers: [labels.yaml]",
        "default/labels.yaml": (
            "kind: LabelTransformer\nlabels: {app.kubernetes.io/version: main, part: tool}"
        ),
        "manager/kustomization.yaml": (
            "images: [{name: example.com/tool, newName: example.com/tool, newTag: main},"
            " {name: example.com/other, newTag: main}]"
        ),
        "manager/manager.yaml": "kind: Deployment\nversion: main",
    }.items():
        path = tmp_path / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    text = manifests.kustomize(
        Path("kubectl"), tmp_path / "config/default", {"example.com/tool": "1.2"}
    )
    default, labels, manager, deployment = yaml.safe_load_all(text)
    assert default == {"resources": ["../manager"], "transformers": ["labels.yaml"]}
    assert labels["labels"] == {"app.kubernetes.io/version": "1.2", "part": "tool"}
    assert [item["newTag"] for item in manager["images"]] == ["1.2", "main"]
    assert deployment == {"kind": "Deployment", "version": "main"}
    assert "newTag: main" in (tmp_path / "config/manager/kustomization.yaml").read_text()


def test_package_that_dpkg_reads(tmp_path: Path) -> None:
    steps = packages.steps({"tool": package()}, {GO: source()}, tmp_path)
    Runner(tmp_path, print).run([source(), *steps.values()])
    (deb,) = steps["deb:tool"].output(tmp_path).glob("*.deb")
    assert deb.name == "tool_1.2.3-1.1_amd64.deb"

    def dpkg(*words: str) -> str:
        return subprocess.run(
            ["dpkg-deb", *words, str(deb)], check=True, capture_output=True, text=True
        ).stdout

    assert "Depends: libc6, iptables" in dpkg("--field")
    assert "Conflicts" not in dpkg("--field")
    (line,) = [words for words in dpkg("--contents").splitlines() if words.endswith("bin/tool")]
    assert line.startswith("-rwxr-xr-x root/root")
    postinst = subprocess.run(
        ["dpkg-deb", "--info", deb, "postinst"], check=True, capture_output=True, text=True
    ).stdout
    assert "systemctl enable --now tool.service\n" in postinst


def gpg(home: Path, *words: str) -> str:
    command = ["gpg", "--batch", "--homedir", str(home), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_signing_key_whose_making_was_interrupted_is_made(tmp_path: Path) -> None:
    """gpg makes the folder's files before the key: they alone are no key."""
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    try:
        gpg(home, "--list-keys")
        assert (home / "pubring.kbx").exists()
        command = packages._gpg(tmp_path)
        keys = gpg(home, "--list-secret-keys", "--with-colons")
        assert keys.count("sec:") == 1
        (tmp_path / "Release").write_text("Origin: lab\n")
        subprocess.run(
            [*command, "--clearsign", tmp_path / "Release"], check=True, capture_output=True
        )
        assert packages._gpg(tmp_path) == command
        assert gpg(home, "--list-secret-keys", "--with-colons") == keys
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


class Seeding:
    """A store with one image, a podman that notes its words, and a registry that is no process."""

    def __init__(self, cache: Path, programs: Programs, patch: pytest.MonkeyPatch) -> None:
        self.cache = cache
        self.programs = programs
        programs.put("podman")
        patch.setattr(images._Registry, "__enter__", lambda _self: "127.0.0.1:5999")
        patch.setattr(images._Registry, "__exit__", lambda *_: None)
        self.steps = {name: self._image(name) for name in ("one", "two")}
        Runner(cache, print).run(self.steps.values())

    def _image(self, name: str) -> Step:
        def write(out: Path) -> None:
            (out / "reference.json").write_text(json.dumps(f"example.com/{name}:1"))

        return Step(name, "k", 1, write)

    def seed(self) -> int:
        """Seed; returns how many images were pushed."""
        before = len(self.programs.ran)
        images.ImageStore(self.cache).seed(Path("/registry"), self.steps, print)
        return len(self.programs.ran) - before


@pytest.fixture
def seeding(tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Seeding:
    return Seeding(tmp_path / "bundle", programs, monkeypatch)


def test_each_image_is_pushed_once(seeding: Seeding) -> None:
    assert seeding.seed() == 2
    assert seeding.seed() == 0


def test_failed_push_is_made_up_for(seeding: Seeding) -> None:
    seeding.programs.put("podman", 'case "$*" in *two*) exit 1;; esac')
    with pytest.raises(LabError, match="two"):
        seeding.seed()
    seeding.programs.put("podman")
    assert seeding.seed() == 1


@pytest.mark.parametrize("text", ["", '{\n "example.com/one:1": "k'])
def test_half_written_note_of_what_was_pushed(seeding: Seeding, text: str) -> None:
    seeding.seed()
    (seeding.cache / "registry/seeded.json").write_text(text)
    assert seeding.seed() == 2
    assert seeding.seed() == 0


def test_interrupted_note_of_what_was_pushed(
    seeding: Seeding, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeding.programs.put("podman", 'case "$*" in *two*) exit 1;; esac')
    with pytest.raises(LabError):
        seeding.seed()
    note = seeding.cache / "registry/seeded.json"
    before = note.read_text()

    def interrupted(path: Path, text: str, encoding: str) -> None:
        with path.open("w", encoding=encoding) as stream:
            stream.write(text[:5])
        raise KeyboardInterrupt

    seeding.programs.put("podman")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", interrupted)
        with pytest.raises(KeyboardInterrupt):
            seeding.seed()
    assert note.read_text() == before


def test_registry_that_does_not_start_is_an_error_and_is_ended(
    tmp_path: Path, programs: Programs
) -> None:
    programs.put("registry", "exit 1")
    registry = images._Registry(programs.folder / "registry", tmp_path)
    with pytest.raises(LabError, match="did not start"):
        registry.__enter__()
    assert registry.process.wait(5) != 0


def test_second_build_waits_for_the_first(tmp_path: Path) -> None:
    printed: list[str] = []
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def say(text: str) -> None:
            printed.append(text)
            fcntl.flock(lock, fcntl.LOCK_UN)

        with build._alone(tmp_path, say), pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert printed == ["waiting for another lab's build"]


def test_tag_of_the_services_follows_their_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "services/sonic_reference/api.py"
    code.parent.mkdir(parents=True)
    for name in ("Containerfile", "requirements.txt"):
        (tmp_path / "services" / name).write_text(name)
    code.write_text("a = 1\n")
    monkeypatch.setattr(build, "REPOSITORY", tmp_path)
    first = build.reference_tag()
    code.write_text("a = 2\n")
    second = build.reference_tag()
    code.rename(code.with_name("worker.py"))
    assert len({first, second, build.reference_tag()}) == 3


def test_wheels_follow_their_versions(tmp_path: Path) -> None:
    assert wheels.client_step("1").key != wheels.client_step("2").key
    path = tmp_path / "requirements.txt"
    path.write_text("httpx==1\n")
    before = wheels.services_step(path).key
    path.write_text("httpx==2\n")
    assert wheels.services_step(path).key != before


def test_podmans_state_has_a_short_path_wherever_the_cache_is() -> None:
    short = Path("/root/.cache/baremetal-sonic/bundle")
    assert images.run_root(short) == short / "podman-run"
    deep = [Path("/srv") / ("x" * length) / "baremetal-sonic/bundle" for length in (40, 90)]
    roots = {images.run_root(cache) for cache in deep}
    assert len(roots) == 2
    assert all(len(str(root)) <= 50 for root in roots)
