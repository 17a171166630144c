# SPDX-License-Identifier: Apache-2.0
"""The archive of the collection: lean, complete, and usable where there is no checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from tools.archive import build, complaints, install

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent
# What a controller needs. All else stays in the repository.
TOP = {
    *("CHANGELOG.rst", "FILES.json", "LICENSE", "LICENSES", "MANIFEST.json", "README.md"),
    *("bindep.txt", "changelogs", "docs", "inventories", "meta", "playbooks", "plugins"),
    *("requirements.yml", "roles"),
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive."""
    return build(tmp_path_factory.mktemp("build"), PROGRAMS)


@pytest.fixture(scope="module")
def installed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of collections into which it is installed."""
    folder = tmp_path_factory.mktemp("installed")
    install(archive, folder, PROGRAMS)
    return folder


def run(installed: Path, program: str, *arguments: str | Path) -> str:
    """Run a program of Ansible that knows the installed collection only; returns its output."""
    settings = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    done = subprocess.run(
        [PROGRAMS / program, *arguments],
        cwd=installed,
        env=settings | {"ANSIBLE_COLLECTIONS_PATH": str(installed), "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_archive_holds_what_a_controller_needs(archive: Path) -> None:
    with tarfile.open(archive) as content:
        members = content.getmembers()
    assert {member.name.split("/")[0] for member in members} == TOP
    names = {member.name for member in members}
    assert not [name for name in names if name.startswith(("inventories/lab", "docs/."))]
    assert {"inventories/single-site/hosts.yml", "meta/execution-environment.yml"} <= names
    # A link may lead to a file that is not in the archive.
    assert not [member.name for member in members if member.issym() or member.islnk()]
    assert archive.stat().st_size < 1_000_000


def test_playbook_of_the_installed_collection_is_found(installed: Path) -> None:
    hosts = installed / "ansible_collections/baremetal/sonic/inventories/single-site/hosts.yml"
    for name in ("site", "report", "license"):
        run(installed, "ansible-playbook", "--syntax-check", "-i", hosts, f"baremetal.sonic.{name}")


@pytest.mark.parametrize(("sort", "folder"), [("module", "modules"), ("filter", "filter")])
def test_every_plugin_is_documented(installed: Path, sort: str, folder: str) -> None:
    listed = json.loads(
        run(installed, "ansible-doc", "--list", "--json", "--type", sort, "baremetal.sonic")
    )
    names = {path.stem for path in (ROOT / "plugins" / folder).glob("[!_]*.py")}
    assert listed.keys() == {f"baremetal.sonic.{name}" for name in names}
    assert "UNDOCUMENTED" not in listed.values()


def test_dependencies_are_the_same_everywhere() -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    wanted = yaml.safe_load((ROOT / "requirements.yml").read_text(encoding="utf-8"))
    ranges = {item["name"]: item["version"] for item in wanted["collections"]}
    assert ranges == galaxy["dependencies"]


def test_execution_environment_names_files_of_the_archive(archive: Path) -> None:
    path = ROOT / "meta/execution-environment.yml"
    described = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert described["version"] == 1
    with tarfile.open(archive) as content:
        assert set(described["dependencies"].values()) <= set(content.getnames())


def test_readme_has_full_links_to_pages_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert len(links) > 10
    assert [link for link in links if not link.startswith("https://")] == []
    base = f"{galaxy['repository']}/blob/main/"
    pages = [link.removeprefix(base).split("#")[0] for link in links if link.startswith(base)]
    assert [page for page in pages if not (ROOT / page).is_file()] == []
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert {"Requirements", "Installation", "Changelog", "Licence"} <= set(headings)


def test_complaints_of_the_importer() -> None:
    log = "Loading role api\nWARNING: No changelog found.\nERROR: The import failed\nGetting docs\n"
    assert complaints(log) == ["WARNING: No changelog found.", "ERROR: The import failed"]
