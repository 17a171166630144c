# SPDX-License-Identifier: Apache-2.0
"""Copies of modules: only the parts in trims.yml are removed; an edit that does not fit fails."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lab.bundle import golang, trims
from lab.bundle.table import HERE
from lab.config import LabError
from tests.unit.lab.conftest import Programs


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for name, text in {
        "go.mod": "// A comment.\nmodule example.com/tool/v2\n\nrequire big.example/cloud v1\n",
        "scalers/kept.go": "package scalers\n",
        "scalers/cloud.go": "package scalers\n",
        "scalers/kept_test.go": "package scalers\n",
        "clouds/big.go": "package clouds\n",
        "builder.go": 'switch x {\ncase "cloud":\ncase "kept":\n}\n',
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        # As in Go's module cache.
        path.chmod(0o444)
    return folder


def copied(source: Path, overlay: Path | None = None, **trim: Any) -> dict[str, str]:
    target = source.parent / "copy"
    trims.copy(source, target, {"module": "example.com/tool/v2"} | trim, overlay or source / "no")
    return {
        str(path.relative_to(target)): path.read_text()
        for path in target.rglob("*")
        if path.is_file()
    }


def test_what_is_removed_and_what_is_kept(source: Path) -> None:
    made = copied(source, remove=["scalers/*.go", "clouds"], keep=["scalers/kept.go"])
    assert set(made) == {"go.mod", "scalers/kept.go", "builder.go"}


def test_copy_brings_no_requirements_of_its_own(source: Path) -> None:
    assert copied(source)["go.mod"] == "module example.com/tool/v2\n\ngo 1.26\n"


def test_edit_spans_lines_and_takes_its_replacement_as_it_is(source: Path) -> None:
    edit = {"file": "builder.go", "pattern": 'case "cloud.*(?=case "kept)', "replacement": r"\1 \n"}
    made = copied(source, edits=[edit])
    assert made["builder.go"] == 'switch x {\n\\1 \\ncase "kept":\n}\n'


@pytest.mark.parametrize("pattern", ["case", "no such text"])
def test_edit_that_does_not_fit_exactly_once_is_an_error(source: Path, pattern: str) -> None:
    edit = {"file": "builder.go", "pattern": pattern, "replacement": ""}
    with pytest.raises(LabError, match=r"trims\.yml: '.*' fits [02] times in builder\.go"):
        copied(source, edits=[edit])


def test_pattern_that_removes_nothing_is_an_error(source: Path) -> None:
    with pytest.raises(LabError, match="gone removes nothing"):
        copied(source, remove=["gone"])


def test_overlay_is_laid_over_the_copy(source: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay"
    (overlay / "clouds").mkdir(parents=True)
    (overlay / "clouds/none.go").write_text("package clouds\n")
    made = copied(source, overlay, remove=["clouds/*"])
    assert set(made) >= {"clouds/none.go", "builder.go"}
    assert "clouds/big.go" not in made


def test_module_with_another_sum_is_refused(programs: Programs, tmp_path: Path) -> None:
    programs.put("go", f"""echo '{{"Sum": "h1:other", "Dir": "{tmp_path}"}}'""")
    with pytest.raises(LabError, match=r"a/b@v1 has the sum h1:other; trims\.yml pins h1:right"):
        trims.checked("a/b@v1", "h1:right", golang.environment())
    assert trims.checked("a/b@v1", "h1:other", golang.environment()) == tmp_path


def test_go_mod_replaces_each_trimmed_module_at_its_version() -> None:
    text = (HERE / "go" / "go.mod").read_text()
    for name, trim in trims.table().items():
        module = re.escape(trim["module"])
        assert re.search(rf"replace {module} => \./trimmed/{name}$", text, re.MULTILINE), name
        assert re.search(rf"\t{module} {re.escape(trim['version'])}( //.*)?$", text, re.MULTILINE)
