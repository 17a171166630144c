# SPDX-License-Identifier: Apache-2.0
"""apt_repositories: files and index stay in step, also after an interrupted run."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._host.apt_locks import Apt
from ansible_collections.baremetal.sonic.plugins.modules import apt_repositories

from tests.unit.plugins.module_utils._host.test_apt_locks import Clock, Hold, hold, release
from tests.unit.plugins.modules.running import Modules

__all__ = ["hold"]

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEaR\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"
SITE: dict[str, Any] = {
    "name": "site",
    "uris": "http://192.0.2.3/apt",
    "suites": "./",
    "key": KEY,
}
UPDATE = "apt-get -qq -o APT::Update::Error-Mode=any update"


@pytest.fixture
def apt(modules: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Modules:
    (tmp_path / "sources").mkdir()
    monkeypatch.setattr(apt_repositories, "SOURCES", tmp_path / "sources")
    monkeypatch.setattr(apt_repositories, "SOURCES_LIST", tmp_path / "sources.list")
    monkeypatch.setattr(apt_repositories, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(apt_repositories, "Apt", functools.partial(Apt, locks=()))
    modules.program("apt-get")
    return modules


def call(apt: Modules, *repositories: dict[str, Any], **more: Any) -> dict[str, Any]:
    return apt.call(apt_repositories.main, repositories=list(repositories), **more)


def test_second_call_changes_nothing_and_runs_no_command(apt: Modules, tmp_path: Path) -> None:
    first = call(apt, SITE)
    path = tmp_path / "sources/site.sources"
    assert (first["changed"], first["changed_paths"]) == (True, [str(path)])
    second = call(apt, SITE)
    assert (second["changed"], second["refreshed"]) == (False, False)
    assert apt.ran == [UPDATE]


def test_text_is_what_apt_reads(apt: Modules, tmp_path: Path) -> None:
    call(apt, SITE | {"components": "main"})
    assert (tmp_path / "sources/site.sources").read_text() == (
        "Types: deb\n"
        "URIs: http://192.0.2.3/apt\n"
        "Suites: ./\n"
        "Components: main\n"
        "Signed-By:\n"
        " -----BEGIN PGP PUBLIC KEY BLOCK-----\n"
        " .\n"
        " mDMEaR\n"
        " =abcd\n"
        " -----END PGP PUBLIC KEY BLOCK-----\n"
    )


def test_check_mode_writes_nothing_and_shows_the_diff(apt: Modules, tmp_path: Path) -> None:
    result = call(apt, SITE, check=True, diff=True)
    assert result["changed"]
    assert result["diff"][0]["before"] == ""
    assert "URIs: http://192.0.2.3/apt" in result["diff"][0]["after"]
    assert list((tmp_path / "sources").iterdir()) == []
    assert not (tmp_path / "stamp").exists()
    assert apt.ran == []


def test_failed_refresh_is_made_up_for_by_the_next_run(apt: Modules, tmp_path: Path) -> None:
    apt.program("apt-get", "echo 'E: The repository is not signed.' >&2; exit 100")
    failed = call(apt, SITE)
    assert failed["failed"]
    assert list((tmp_path / "sources").iterdir()) == []
    assert "site_package_repositories: E: The repository is not signed." in failed["msg"]
    assert not (tmp_path / "stamp").exists()
    apt.program("apt-get")
    finished = call(apt, SITE)
    assert finished["changed_paths"] == [str(tmp_path / "sources/site.sources")]
    assert len(apt.ran) == 2
    assert not call(apt, SITE)["changed"]


def test_old_index_is_refreshed_without_a_change(apt: Modules, tmp_path: Path) -> None:
    call(apt, SITE)
    yesterday = time.time() - 25 * 3600
    for path in (tmp_path / "stamp", tmp_path / "sources/site.sources"):
        os.utime(path, (yesterday, yesterday))
    result = call(apt, SITE)
    assert (result["changed"], result["refreshed"]) == (False, True)
    assert not call(apt, SITE)["refreshed"]


def test_half_written_file_of_a_killed_run_is_none(apt: Modules, tmp_path: Path) -> None:
    (tmp_path / "sources/.site.sources.new").write_text("Types: d")
    call(apt, SITE)
    assert [path.name for path in (tmp_path / "sources").iterdir()] == ["site.sources"]


def test_names_that_apt_would_pass_over_or_that_meet(apt: Modules, tmp_path: Path) -> None:
    """apt ignores files whose names have other characters than letters, digits, _ - and dots."""
    result = call(apt, SITE, SITE | {"uris": "http://192.0.2.4"}, SITE | {"name": "my site"})
    assert result["failed"]
    assert "site: named twice" in result["msg"]
    assert "'my site' is no name" in result["msg"]
    assert list((tmp_path / "sources").iterdir()) == []
    assert apt.ran == []


FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
# As gpg printed them.
PINNED = "27E2 1565 4B45 AA33 5CF4  3162 EA20 3887 E637 7761"
OTHER = "9947A3419AC0A1355B9578F5EDDEA7F3C9914F5E"


def keyed(name: str, *fingerprints: str) -> dict[str, Any]:
    key = (FIXTURES / f"{name}.asc").read_text(encoding="utf-8")
    return SITE | {"key": key, "fingerprints": list(fingerprints)}


def test_a_key_with_the_pinned_fingerprint_is_taken(apt: Modules) -> None:
    assert call(apt, keyed("site-key", PINNED))["changed"]
    assert not call(apt, keyed("site-key", PINNED.lower().replace(" ", "")))["changed"]
    assert call(apt, keyed("two-keys", PINNED, OTHER))["changed"]


@pytest.mark.parametrize("check", [False, True])
def test_a_key_with_another_fingerprint_is_refused(
    apt: Modules, tmp_path: Path, check: bool
) -> None:
    """Also one that comes beside the pinned key: apt would trust both."""
    for name in ("other-key", "two-keys"):
        result = call(apt, SITE | {"name": "first"}, keyed(name, PINNED), check=check)
        assert result["failed"]
        assert f"site: the signing key has the fingerprint {OTHER}" in result["msg"]
        assert f"pinned is {PINNED.replace(' ', '')}" in result["msg"]
    assert list((tmp_path / "sources").iterdir()) == []
    assert apt.ran == []


@pytest.mark.parametrize(
    ("repository", "message"),
    [
        (
            SITE | {"key": "<html>", "fingerprints": [PINNED]},
            "site: the signing key cannot be read",
        ),
        (keyed("site-key", "E6377761"), "'E6377761' is no fingerprint"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    apt: Modules, repository: dict[str, Any], message: str
) -> None:
    assert message in call(apt, repository)["msg"]
    assert apt.ran == []


def test_a_killed_run_is_made_up_for_by_the_next(apt: Modules, tmp_path: Path) -> None:
    call(apt, SITE)
    (tmp_path / "stamp").unlink()
    finished = call(apt, SITE)
    assert (finished["changed"], finished["changed_paths"]) == (True, [])
    assert not call(apt, SITE)["changed"]


def test_what_apt_cannot_read_is_put_back(apt: Modules, tmp_path: Path) -> None:
    """A repository that this run added or changed never stops apt for other programs."""
    call(apt, SITE)
    good = (tmp_path / "sources/site.sources").read_text()
    apt.program("apt-get", "echo 'E: Conflicting values set for option Signed-By' >&2; exit 100")
    failed = call(apt, SITE | {"suites": "bad/"}, SITE | {"name": "more", "uris": "http://b/apt"})
    assert "Conflicting values" in failed["msg"]
    assert (tmp_path / "sources/site.sources").read_text() == good
    assert not (tmp_path / "sources/more.sources").exists()


DOCKER = SITE | {
    "name": "containerd",
    "uris": "https://download.docker.com/linux/debian",
    "suites": "bookworm",
    "components": "stable",
}
ONE_LINE = (
    "# by hand\n"
    "deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.asc]"
    " https://download.docker.com/linux/debian bookworm stable test # Docker\n"
)
DEB822 = """\
# Docker's
Types: deb deb-src
URIs: https://deb.example.com/debian
 https://Download.Docker.com/linux/debian/
Suites: bullseye bookworm
Components: stable
Signed-By: /etc/apt/keyrings/docker.asc
"""


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("sources/docker.list", ONE_LINE, 2),
        ("sources/docker.sources", DEB822, 2),
        ("sources.list", f"\n{ONE_LINE}", 3),
        ("sources.list", "deb https://download.docker.com/linux/debian/ bookworm stable", 1),
    ],
)
def test_a_source_that_is_there_is_used(
    apt: Modules, tmp_path: Path, file: str, text: str, line: int
) -> None:
    (tmp_path / file).write_text(text)
    first = call(apt, DOCKER, SITE)
    assert first["reused"] == {"containerd": f"{tmp_path / file}:{line}"}
    assert first["changed_paths"] == [str(tmp_path / "sources/site.sources")]
    second = call(apt, DOCKER, SITE)
    assert (second["changed"], second["reused"]) == (False, first["reused"])


def test_our_file_goes_when_another_source_has_come(apt: Modules, tmp_path: Path) -> None:
    call(apt, DOCKER)
    ours = tmp_path / "sources/containerd.sources"
    assert ours.exists()
    (tmp_path / "sources/docker.list").write_text(ONE_LINE)
    assert call(apt, DOCKER)["changed_paths"] == [str(ours)]
    assert not ours.exists()
    assert not call(apt, DOCKER)["changed"]


@pytest.mark.parametrize(
    "text",
    [
        "deb https://download.docker.com/linux/debian bookworm test\n",
        "deb [arch=arm64] https://download.docker.com/linux/debian bookworm stable\n",
        "deb [ arch=arm64,armhf ] https://download.docker.com/linux/debian bookworm stable\n",
    ],
)
def test_a_source_that_offers_too_little_is_refused(
    apt: Modules, tmp_path: Path, text: str
) -> None:
    (tmp_path / "sources/docker.list").write_text(text)
    result = call(apt, DOCKER)
    assert f"containerd: {tmp_path}/sources/docker.list:1 has" in result["msg"]
    assert "without stable for amd64" in result["msg"]
    assert "Complete that entry, or remove it" in result["msg"]
    assert apt.ran == []
    assert not (tmp_path / "sources/containerd.sources").exists()


@pytest.mark.parametrize(
    "text",
    [
        "# deb https://download.docker.com/linux/debian bookworm stable\n",
        "deb-src https://download.docker.com/linux/debian bookworm stable\n",
        "deb https://download.docker.com/linux/debian trixie stable\n",
        "deb https://download.docker.com/linux/ubuntu bookworm stable\n",
        "",
    ],
)
def test_other_sources_are_no_hindrance(apt: Modules, tmp_path: Path, text: str) -> None:
    (tmp_path / "sources/docker.list").write_text(text)
    (tmp_path / "sources/off.sources").write_text(DEB822.replace("Types", "Enabled: no\nTypes"))
    result = call(apt, DOCKER)
    assert (result["reused"], len(result["changed_paths"])) == ({}, 1)


def test_the_lists_lock_is_waited_for(
    apt: Modules, tmp_path: Path, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, clock = tmp_path / "lists-lock", Clock()
    process = hold(lock)
    clock.at[110.0] = lambda: release(process)
    made = functools.partial(Apt, locks=(lock,), clock=clock, sleep=clock.sleep)
    monkeypatch.setattr(apt_repositories, "Apt", made)
    result = call(apt, SITE)
    assert result["changed"]
    [line] = result["waited"]
    assert line.startswith(f"waited 10 s: {lock} is held by process {process.pid}")
    assert apt.ran == [UPDATE]


def test_a_lists_lock_that_stays_taken(
    apt: Modules, tmp_path: Path, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, clock = tmp_path / "lists-lock", Clock()
    process = hold(lock)
    made = functools.partial(Apt, locks=(lock,), clock=clock, sleep=clock.sleep)
    monkeypatch.setattr(apt_repositories, "Apt", made)
    result = call(apt, SITE)
    assert f"after 300 s of waiting, {lock} is held by process {process.pid}" in result["msg"]
    assert apt.ran == []
    assert list((tmp_path / "sources").iterdir()) == []
