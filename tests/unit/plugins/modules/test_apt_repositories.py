# SPDX-License-Identifier: Apache-2.0
"""apt_repositories: files and index stay in step, whatever interrupted an earlier run."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.modules import apt_repositories

from tests.unit.plugins.modules.running import Modules

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
    monkeypatch.setattr(apt_repositories, "STAMP", tmp_path / "stamp")
    modules.program("apt-get")
    return modules


def call(apt: Modules, *repositories: dict[str, Any], **more: Any) -> dict[str, Any]:
    return apt.call(apt_repositories.main, repositories=list(repositories), **more)


def test_second_call_changes_nothing_and_asks_nobody(apt: Modules, tmp_path: Path) -> None:
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
    assert failed["changed"]
    assert "site_package_repositories: E: The repository is not signed." in failed["msg"]
    assert not (tmp_path / "stamp").exists()
    apt.program("apt-get")
    mended = call(apt, SITE)
    assert (mended["changed"], mended["changed_paths"]) == (True, [])
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
    """apt reads only files of letters, digits, _ - and dots, and says so where nobody looks."""
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
    ("repository", "said"),
    [
        (
            SITE | {"key": "<html>", "fingerprints": [PINNED]},
            "site: the signing key cannot be read",
        ),
        (keyed("site-key", "E6377761"), "'E6377761' is no fingerprint"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    apt: Modules, repository: dict[str, Any], said: str
) -> None:
    assert said in call(apt, repository)["msg"]
    assert apt.ran == []
