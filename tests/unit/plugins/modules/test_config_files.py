# SPDX-License-Identifier: Apache-2.0
"""files, run on real folders: what it writes, and what it leaves when it is stopped."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.modules import config_files

from tests.unit.plugins.modules.running import Modules

OWN = {
    "owner": pwd.getpwuid(os.geteuid()).pw_name,
    "group": grp.getgrgid(os.getegid()).gr_name,
}


def item(path: Path, content: str | None = None, **more: Any) -> dict[str, Any]:
    return {"path": str(path), "content": content, **OWN, **more}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_second_call_changes_nothing(modules: Modules, tmp_path: Path) -> None:
    wanted = [
        item(tmp_path / "etc/deep/one.conf", "ä\r\nno end", mode="0600"),
        item(tmp_path / "etc/gone.conf", state="absent"),
        item(tmp_path / "etc/empty", ""),
    ]
    first = modules.call(config_files.main, files=wanted)
    one = tmp_path / "etc/deep/one.conf"
    assert first["changed_paths"] == [str(one), str(tmp_path / "etc/empty")]
    assert one.read_bytes() == "ä\r\nno end".encode()
    assert stat.S_IMODE(one.stat().st_mode) == 0o600
    before = one.stat()
    second = modules.call(config_files.main, files=wanted)
    assert (second["changed"], second["changed_paths"]) == (False, [])
    assert one.stat().st_mtime_ns == before.st_mtime_ns


def test_check_mode_tells_the_same_and_writes_nothing(modules: Modules, tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "old").write_text("old\n")
    (folder / "gone").write_text("bye\n")
    wanted = [
        item(folder / "old", "new\n"),
        item(folder / "gone", state="absent"),
        item(folder / "sub/new", "x\n"),
    ]
    checked = modules.call(config_files.main, check=True, diff=True, files=wanted)
    assert names(folder) == ["gone", "old"]
    assert (folder / "old").read_text() == "old\n"
    done = modules.call(config_files.main, diff=True, files=wanted)
    assert checked == done
    assert names(folder) == ["old", "sub"]


def test_diff_of_text_and_of_permissions(modules: Modules, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("same\n")
    path.chmod(0o644)
    ids = f"uid={os.geteuid()} gid={os.getegid()}"
    result = modules.call(config_files.main, diff=True, files=[item(path, "same\n", mode="0600")])
    header = f"{path} (permissions)"
    assert result["diff"] == [
        {
            "before": f"mode=0644 {ids}",
            "after": f"mode=0600 {ids}",
            "before_header": header,
            "after_header": header,
        }
    ]
    assert "diff" not in modules.call(config_files.main, files=[item(path, "other\n")])


def test_all_bad_input_at_once_before_anything_is_written(modules: Modules, tmp_path: Path) -> None:
    good = tmp_path / "good"
    wanted = [
        item(good, "x"),
        item(good, "y"),
        item(tmp_path / "none"),
        item(tmp_path / "mode", "x", mode="rw-r--r--"),
        item(tmp_path / "user", "x", owner="nobody-of-this-name"),
        item(tmp_path / "group", "x", group="no-group-of-this-name"),
        {**item(good, "x"), "path": "relative/file"},
    ]
    result = modules.call(config_files.main, files=wanted)
    assert result["failed"]
    for part in (
        f"{good}: named twice",
        "none: content is missing",
        "mode: mode 'rw-r--r--' is not octal",
        "no owner 'nobody-of-this-name'",
        "no group 'no-group-of-this-name'",
        "relative/file: not an absolute path",
    ):
        assert part in result["msg"]
    assert not good.exists()


@pytest.mark.parametrize("mode", ["-1", "77777"])
def test_octal_but_no_permission_bits(modules: Modules, tmp_path: Path, mode: str) -> None:
    result = modules.call(config_files.main, files=[item(tmp_path / "file", "secret", mode=mode)])
    assert f"mode {mode!r} is not octal" in result["msg"]
    assert not (tmp_path / "file").exists()


def test_failure_half_way_says_that_something_changed(modules: Modules, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    wanted = [
        item(tmp_path / "first", "1"),
        item(tmp_path / "folder", "2"),
        item(tmp_path / "third", "3"),
    ]
    result = modules.call(config_files.main, files=wanted)
    assert result["failed"]
    assert result["changed"]
    assert result["msg"] == f"{tmp_path / 'folder'}: Is a directory"
    assert not (tmp_path / "third").exists()
    (tmp_path / "folder").rmdir()
    again = modules.call(config_files.main, files=wanted)
    assert again["changed_paths"] == [str(tmp_path / "folder"), str(tmp_path / "third")]


def test_file_in_the_way_of_a_folder(modules: Modules, tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("in the way")
    result = modules.call(config_files.main, files=[item(tmp_path / "etc/file", "x")])
    assert result["failed"]
    assert result["msg"].startswith(f"{tmp_path}/etc/file: ")
    gone = modules.call(config_files.main, files=[item(tmp_path / "etc/file", state="absent")])
    assert not gone["changed"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_stopped_while_writing_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException] | BaseException
) -> None:
    def interrupted(_handle: int) -> None:
        raise stop

    path = tmp_path / "config"
    path.write_text("old\n")
    target = config_files.Target(item(path, "new\n" * 9999, mode="0644", state="present"))
    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises((KeyboardInterrupt, OSError)):
        target.write(Mock(spec=AnsibleModule))
    assert path.read_text() == "old\n"
    assert names(tmp_path) == ["config"]


def test_bytes_that_are_no_text_are_replaced(modules: Modules, tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_bytes(b"\xff\xfe\x00half")
    assert modules.call(config_files.main, diff=True, files=[item(path, "whole\n")])["changed"]
    assert path.read_text() == "whole\n"


def test_absent_removes_a_link_that_leads_nowhere(modules: Modules, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    result = modules.call(config_files.main, files=[item(link, state="absent")])
    assert result["changed"]
    assert not link.is_symlink()
    assert not modules.call(config_files.main, files=[item(link, state="absent")])["changed"]


MARKER = "Managed by baremetal.sonic"
FOREIGN = 'disabled_plugins = ["cri"]\n'


def test_another_programs_file_is_kept_and_reported(
    modules: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _self, text: warned.append(text))
    path, kept = tmp_path / "config.toml", tmp_path / "config.toml.before-baremetal-sonic"
    path.write_text(FOREIGN)
    path.chmod(0o640)
    wanted = [item(path, f"# {MARKER}\nversion = 3\n", marker=MARKER)]
    would = modules.call(config_files.main, files=wanted, check=True)
    assert (would["backups"], kept.exists()) == ([str(kept)], False)
    assert warned == [f"{path} was not this collection's: it is kept as {kept}"]
    first = modules.call(config_files.main, files=wanted)
    assert first["backups"] == [str(kept)]
    assert kept.read_text() == FOREIGN
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
    second = modules.call(config_files.main, files=wanted)
    assert (second["changed"], second["backups"]) == (False, [])


def test_own_and_empty_files_need_no_backup(modules: Modules, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    for before in (f"# {MARKER}\nversion = 2\n", "", "\n"):
        path.write_text(before)
        result = modules.call(config_files.main, files=[item(path, f"# {MARKER}\n", marker=MARKER)])
        assert (result["changed"], result["backups"]) == (True, [])
    path.write_text(FOREIGN)
    assert modules.call(config_files.main, files=[item(path, "new")])["backups"] == []


def test_an_earlier_backup_is_not_overwritten(modules: Modules, tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    path = folder / "config.toml"
    wanted = [item(path, f"# {MARKER}\n", marker=MARKER)]
    for text in (FOREIGN, "version = 2\n", FOREIGN):
        path.write_text(text)
        modules.call(config_files.main, files=wanted)
    assert names(folder) == [
        "config.toml",
        "config.toml.before-baremetal-sonic",
        "config.toml.before-baremetal-sonic.2",
    ]
    assert (folder / "config.toml.before-baremetal-sonic").read_text() == FOREIGN
