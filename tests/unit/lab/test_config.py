# SPDX-License-Identifier: Apache-2.0
"""A lab's name and its saved state."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from lab.config import Lab, LabError


@pytest.mark.parametrize("name", ["lab", "a", "team-2", "a" * 20])
def test_names(name: str) -> None:
    assert Lab(name).network == f"sonic-{name}"


@pytest.mark.parametrize(
    "name", ["", "Lab", "2nd", "-a", "a" * 21, "a_b", "a/../b", "a b", "lab\n", "ü"]
)
def test_names_that_are_refused_with_a_rule(name: str) -> None:
    with pytest.raises(LabError, match="use a lower-case letter, then up to 19"):
        Lab.load(name)


def test_two_labs_keep_apart(home: Path) -> None:
    one, two = Lab("one", subnet="172.30.0.0/24"), Lab("two", subnet="172.30.1.0/24")
    one.save()
    two.save()
    assert Lab.load("one") == one
    assert Lab.load("two") == two
    assert (one.ingress_address, two.ingress_address) == ("172.30.0.11", "172.30.1.11")
    assert one.label != two.label
    assert one.directory != two.directory
    assert home in one.directory.parents


def test_keys_are_for_the_owner_only() -> None:
    lab = Lab("lab", subnet="172.30.0.0/24", api_key="sk_lab_secret")
    lab.save()
    assert stat.S_IMODE(lab.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((lab.directory / "lab.json").stat().st_mode) == 0o600
    assert [path.name for path in lab.directory.iterdir()] == ["lab.json"]


def test_interrupted_save_keeps_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab("lab", subnet="172.30.0.0/24", api_key="sk_lab_secret")
    lab.save()

    def interrupted(path: Path, text: str, encoding: str) -> None:
        with path.open("w", encoding=encoding) as stream:
            stream.write(text[:20])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Lab("lab", subnet="172.30.9.0/24").save()
    assert Lab.load("lab") == lab
    lab.save()
    assert [path.name for path in lab.directory.iterdir()] == ["lab.json"]


@pytest.mark.parametrize("text", ["", '{"subnet": "172.3', "[]", "7", "\0\0", "\udcff"])
def test_broken_file_says_what_to_do(text: str) -> None:
    lab = Lab("lab")
    lab.directory.mkdir(parents=True)
    path = lab.directory / "lab.json"
    path.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    with pytest.raises(LabError, match="remove that file, then 'make lab-down LAB=lab'"):
        Lab.load("lab")


def test_file_of_an_older_version_lacks_a_field() -> None:
    lab = Lab("lab")
    lab.directory.mkdir(parents=True)
    (lab.directory / "lab.json").write_text(json.dumps({"subnet": "172.30.4.0/24", "gone": 1}))
    assert Lab.load("lab") == Lab("lab", subnet="172.30.4.0/24")


def test_copied_file_does_not_make_it_another_lab() -> None:
    """'make lab-down LAB=copy' must not remove the lab that the file was copied from."""
    Lab("first", subnet="172.30.0.0/24").save()
    copy = Lab("copy")
    copy.directory.mkdir()
    text = (Lab("first").directory / "lab.json").read_text()
    (copy.directory / "lab.json").write_text(text)
    assert Lab.load("copy").directory == copy.directory
    assert Lab.load("copy").label == copy.label
