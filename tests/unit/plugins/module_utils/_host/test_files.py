# SPDX-License-Identifier: Apache-2.0
"""write_file: text, permissions and owner of a file, at every moment."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.sonic.plugins.module_utils._host.files import write_file


@pytest.fixture
def module() -> Iterator[AnsibleModule]:
    umask = os.umask(0o022)
    with patch_module_args({}):
        yield AnsibleModule(argument_spec={})
    assert os.umask(umask) == 0o022


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o755])
@pytest.mark.parametrize("there", [True, False])
def test_text_and_mode(module: AnsibleModule, tmp_path: Path, mode: int, there: bool) -> None:
    path = tmp_path / "file"
    if there:
        path.write_text("old")
        path.chmod(0o666)
    write_file(module, path, "ä\r\n", mode)
    assert path.read_bytes() == "ä\r\n".encode()
    assert mode_of(path) == mode
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_secret_file_is_never_open_to_others(
    module: AnsibleModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    modes: set[int] = set()

    def watch(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            result = function(*args, **options)
            modes.update(mode_of(item) for item in tmp_path.iterdir())
            return result

        return called

    for name in ("rename", "chmod", "chown", "fsync"):
        monkeypatch.setattr(os, name, watch(getattr(os, name)))
    write_file(module, path, "key", 0o600)
    assert modes == {0o600}


def test_a_folder_on_another_file_system(
    module: AnsibleModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a file that a container engine has mounted."""
    path = tmp_path / "file"
    rename = os.rename
    refused: list[Any] = []

    def refuse_once(source: Any, target: Any) -> None:
        if not refused:
            refused.append(source)
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse_once)
    write_file(module, path, "text", 0o600)
    assert refused
    assert (path.read_text(), mode_of(path)) == ("text", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_no_temporary_file(module: AnsibleModule, tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_file(module, path, "text")
    assert list(tmp_path.iterdir()) == [path]
