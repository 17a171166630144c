# SPDX-License-Identifier: Apache-2.0
"""The lint of words: what it refuses, the place that it reports, and what it accepts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tools import wording

WORDS = wording.load(wording.ROOT / wording.SETTINGS)
# One sentence for each rule of tools/wording.yml, in its order.
REFUSED = (
    "A run judges the certificate.",
    "The next run mends it.",
    "It does what it is told.",
    "Print what was said.",
    "It serves nobody.",
    "No one waits.",
    "Somebody may change it.",
    "Whoever connects is refused.",
    "It is not read any more.",
    "It ends. Of what cannot be read, the host is unknown.",
    "Makes packages be installed.",
    "A changed object is put right.",
    "The rollout gives up old pods first.",
    "It is, as it were, a proxy.",
    "It waits, lest it fail.",
    "It begins anew.",
    "It is open to everybody.",
    "It takes a preset in its stead.",
    "short_description: Describes the GPUs",
    "short_description: Waits until all is ready",
    "short_description: Applies a set of objects",
)


def lines(path: str, text: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.word) for finding in wording.findings(path, text, WORDS)]


@pytest.mark.parametrize(("number", "sentence"), list(enumerate(REFUSED)))
def test_rule_refuses_its_sentence(number: int, sentence: str) -> None:
    only = wording.Words((WORDS.prose[number],), (), (), frozenset())
    assert [finding.use for finding in wording.findings("page.md", sentence, only)] == [
        WORDS.prose[number].use
    ]


def test_each_rule_has_a_sentence() -> None:
    assert len(REFUSED) == len(WORDS.prose)


@pytest.mark.parametrize(
    "sentence",
    [
        "The amendment recommends a judicious choice.",
        "Any more than two pods wait.",
        "The unit runs as `nobody`, and `judge(x)` is code.",
        "See [the page](told/nobody.md).",
        "The message says `nobody\nlistens`.",
        "Make sure that the host can be reached.",
        "{{ nobody }} and {% if told %}",
        "Kubernetes gives up after ten tries.",
        "It was found on the host.",
    ],
)
def test_other_words_pass(sentence: str) -> None:
    assert lines("page.md", sentence) == []


def test_phrase_over_a_line_end_is_reported_where_it_begins() -> None:
    assert lines("page.md", "First.\n\nIt does not answer\nany more.\n") == [
        (3, "not answer any more")
    ]


def test_code_blocks_of_a_page_are_left_out() -> None:
    assert lines("page.md", "```sh\nnobody\n```\nnobody\n") == [(4, "nobody")]


def test_python_comments_strings_and_names() -> None:
    text = '''\
"""Told in a docstring."""
import os  # nobody

# It does not run
# any more.
message = f"{os.name}: nobody " "listens"
found = [said for said in ()]


class Judge:
    """Plain."""

    def mend_it(self, told: int) -> None:
        self.found = not_found = was_told = told
'''
    assert lines("code.py", text) == [
        (1, "Told"),
        (2, "nobody"),
        (4, "not run any more"),
        (6, "nobody"),
        (7, "found"),
        (7, "said"),
        (10, "Judge"),
        (13, "mend_it"),
        (13, "told"),
        (14, "found"),
        (14, "was_told"),
    ]


def test_names_that_code_only_uses_are_left_alone() -> None:
    assert lines("code.py", "import judge\nprint(judge.found, other.told())\n") == []


def test_documentation_of_a_module_must_be_imperative() -> None:
    text = 'DOCUMENTATION = r"""\nmodule: it\nshort_description: Waits until all is ready\n"""\n'
    assert lines("plugins/modules/it.py", text) == [(3, "short_description: Waits")]
    assert lines("plugins/modules/it.py", text.replace("Waits", "Wait")) == []


@pytest.mark.parametrize("path", ["tasks/main.yml", "templates/x.yml.j2", "x.service", "Makefile"])
def test_yaml_templates_units_and_recipes_are_read(path: str) -> None:
    assert lines(path, "# A comment, told.\nname: Mend it\n") == [(1, "told"), (2, "Mend")]


def test_script_is_read_by_its_first_line() -> None:
    assert lines("lab/script", "#!/bin/sh\n# nobody\n") == [(2, "nobody")]
    assert lines("lab/data", "nobody\n") == []


def excepting(*entries: tuple[str, str]) -> wording.Words:
    return wording.Words(WORDS.prose, WORDS.names, (), frozenset(entries))


def test_exception_holds_for_its_path_and_line_only() -> None:
    files = [("a.md", "The user is nobody.\n\nnobody\n"), ("b.md", "The user is nobody.\n")]
    reported = wording.check(files, excepting(("a.md", "user is nobody")), whole=True)
    assert [line.split(": ")[0] for line in reported] == ["a.md:3", "b.md:1"]


def test_exception_that_matches_nothing_fails() -> None:
    words = excepting(("a.md", "user is nobody"))
    (reported,) = wording.check([("a.md", "Plain.\n")], words, whole=True)
    assert "a.md" in reported
    assert "remove it" in reported
    assert wording.check([("a.md", "Plain.\n")], words, whole=False) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("prose: [{find: '(', use: x}]", "prose"),
        ("prose: [{use: x}]", "prose"),
        ("names: [{find: [], use: x}]", "names"),
        ("exceptions: [{path: x, text: y}]", "reason"),
    ],
)
def test_settings_with_a_mistake_are_refused(tmp_path: Path, change: str, message: str) -> None:
    settings: Mapping[str, str] = {key: f"{key}: []" for key in ("prose", "names", "exceptions")}
    settings = {**settings, change.split(":")[0]: change, "paths": "paths: []"}
    (tmp_path / "wording.yml").write_text("\n".join(settings.values()))
    with pytest.raises(wording.SettingsError, match=message):
        wording.load(tmp_path / "wording.yml")


def test_settings_without_a_list_are_refused(tmp_path: Path) -> None:
    (tmp_path / "wording.yml").write_text("prose: []\nnames: []\npaths: []\n")
    with pytest.raises(wording.SettingsError, match="exceptions missing"):
        wording.load(tmp_path / "wording.yml")


def test_status_and_place_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / wording.SETTINGS).write_text(
        "prose: [{find: nobody, use: no client}]\nnames: []\npaths: [docs]\nexceptions: []\n"
    )
    (tmp_path / "page.md").write_text("All is well.\n\nIt serves nobody.\n")
    monkeypatch.setattr(wording, "ROOT", tmp_path)
    monkeypatch.setattr(wording, "tracked", lambda _paths: ["page.md"])
    assert wording.main([]) == 1
    assert capsys.readouterr().out == 'page.md:3: "nobody": use no client\n'
    (tmp_path / "page.md").write_text("All is well.\n")
    assert wording.main([]) == 0
    assert capsys.readouterr().out == ""
    (tmp_path / wording.SETTINGS).write_text("prose: []\nnames: []\npaths: []\n")
    assert wording.main([]) == 2
