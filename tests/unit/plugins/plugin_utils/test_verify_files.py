# SPDX-License-Identifier: Apache-2.0
"""The folder of verify's files, which several sites and runs share."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
from pathlib import Path

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import verify_files

from tests.verify_results import NOW, site

WRITERS = 8


def test_all_files_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "new/reports"
    files = verify_files.write(folder, site(), NOW)
    assert [path.name for path in files] == [
        "rack1.json",
        "rack1.xml",
        "rack1.html",
        "index.html",
        "calendar.json",
        "calendar.ics",
    ]
    assert {path.name for path in folder.iterdir()} == {path.name for path in files} | {".lock"}
    assert verify_files.read(folder) == ([site()], {})
    # Python translates no line ends on the way.
    assert (folder / "calendar.ics").read_bytes().count(b"\r\n") > 20
    assert b"\r\r" not in (folder / "calendar.ics").read_bytes()


def test_files_that_are_no_results_are_named(tmp_path: Path) -> None:
    (tmp_path / "half.json").write_text('{"schema": 1, ')
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "copy.json").write_text(site().as_json())
    (tmp_path / ".hidden.json").write_text("{")
    verify_files.write(tmp_path, site("rack2"), NOW)
    sites, unreadable = verify_files.read(tmp_path)
    assert [item.name for item in sites] == ["rack2"]
    assert list(unreadable) == ["bytes.json", "copy.json", "folder.json", "half.json"]
    assert unreadable["copy.json"] == "it is the result of the site rack1"
    page = (tmp_path / "index.html").read_text()
    assert [name for name in unreadable if name not in page] == []
    assert json.loads((tmp_path / "calendar.json").read_text())["unreadable"] == unreadable


def write_often(folder: Path, name: str, start: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    for _time in range(5):
        verify_files.write(folder, site(name), NOW)


def test_runs_beside_each_other_lose_nothing(tmp_path: Path) -> None:
    """Without the lock, the last index may be one that was made before another site's result."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(WRITERS)
    names = [f"rack{number}" for number in range(WRITERS)]
    runs = [
        context.Process(target=write_often, args=(tmp_path, name, start), daemon=True)
        for name in names
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0] * WRITERS
    page = (tmp_path / "index.html").read_text()
    assert [name for name in names if f'href="{name}.html"' not in page] == []
    ends = json.loads((tmp_path / "calendar.json").read_text())["ends"]
    assert {end["site"] for end in ends} == set(names)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".new"] == []


def test_a_lock_that_another_run_keeps_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_files, "PATIENCE", 0.1)
    with (tmp_path / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="another run has held"):
            verify_files.write(tmp_path, site(), NOW)
    verify_files.write(tmp_path, site(), NOW)


@pytest.mark.parametrize("name", ["rack1", "Rack 1", "züri", "a.b-c_d"])
def test_names_of_sites(name: str) -> None:
    assert verify_files.name_problem(name) == ""


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "index", "calendar", "a\nb"])
def test_names_that_no_file_can_have(name: str) -> None:
    assert verify_files.name_problem(name).startswith("site_name: ")
