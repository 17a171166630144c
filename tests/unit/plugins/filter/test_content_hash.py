# SPDX-License-Identifier: Apache-2.0
"""The name of a chart's content."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.sonic.plugins.filter.content_hash import content_hash


def test_follows_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    file = tmp_path / "templates/a.yaml"
    names = []
    for text in ("one", "two", "one"):
        file.write_text(text)
        names.append(content_hash(str(tmp_path)))
    file.rename(tmp_path / "templates/b.yaml")
    names.append(content_hash(str(tmp_path)))
    assert names[0] == names[2]
    assert len(set(names)) == 3
    assert all(len(name) == 12 for name in names)
    assert content_hash(str(tmp_path / "templates/b.yaml")) not in names


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(AnsibleFilterError, match="does not exist on the controller"):
        content_hash(str(tmp_path / "none"))
