# SPDX-License-Identifier: Apache-2.0
"""Refuse words that make a sentence hard to read: ``python -m tools.wording [PATH ...]``.

The words, and what to write in their place, are in tools/wording.yml. Pages (Markdown), docstrings,
comments, messages, YAML and shell files are read as prose, and the names that Python code gives
(variables, parameters, functions, classes) as names. What stands in code marks is left out.
Without a path, every path that tools/wording.yml lists is checked.

Prints ``path:line: "word": use ...`` for each word. Exit status: 0, 1 when there is one, 2 when
tools/wording.yml itself is wrong.
"""

from __future__ import annotations

import ast
import bisect
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = Path("tools/wording.yml")
# Files that hold no prose of this project, or the words themselves.
SKIPPED = (
    "LICENSE",
    "LICENSES/",
    "changelogs/changelog.yaml",
    "docs/reference/",
    "tests/unit/tools/test_wording.py",
    "tools/wording.yml",
)
HASH_COMMENTS = {".yml", ".yaml", ".sh", ".toml", ".cfg", ".j2", ".conf", ".service", ".in", ".txt"}


class SettingsError(Exception):
    """tools/wording.yml has a mistake; the message names it."""


@dataclass(frozen=True)
class Rule:
    """One word to refuse: its pattern, how it is shown, and what to write in its place."""

    pattern: re.Pattern[str]
    use: str


@dataclass(frozen=True)
class Words:
    """What tools/wording.yml holds."""

    prose: tuple[Rule, ...]
    names: tuple[Rule, ...]
    paths: tuple[str, ...]
    exceptions: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Finding:
    """A word that a rule refuses, with its place."""

    path: str
    line: int
    word: str
    use: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: "{self.word}": use {self.use}'


class Passage:
    """Consecutive lines that are read as one text, so that a phrase may go over a line's end."""

    def __init__(self) -> None:
        self.text = ""
        self.starts: list[int] = []
        self.lines: list[int] = []

    def add(self, line: int, text: str) -> None:
        """Add a line's text; ``line`` counts from 1."""
        self.starts.append(len(self.text))
        self.lines.append(line)
        self.text += text.strip() + "\n"

    def line(self, offset: int) -> int:
        """Return the line that holds this offset of the text."""
        return self.lines[bisect.bisect_right(self.starts, offset) - 1]


def prose_rule(entry: dict[str, Any]) -> Rule:
    """Return the rule of an entry of ``prose``. Raises SettingsError."""
    try:
        find = re.sub(" ", r"\\s+", entry["find"])
        pattern = re.compile(rf"(?<![\w-])(?:{find})(?![\w-])", re.IGNORECASE | re.MULTILINE)
        return Rule(pattern, entry["use"])
    except (KeyError, TypeError, re.error) as error:
        raise SettingsError(f"{SETTINGS}: prose: {entry}: {error}") from error


def name_rule(entry: dict[str, Any]) -> Rule:
    """Return the rule of an entry of ``names``. Raises SettingsError."""
    try:
        word = re.escape(entry["find"])
        find = rf"(?:^|_){word}(?:_|$)" if entry.get("part") else rf"^_*{word}_*$"
        return Rule(re.compile(find, re.IGNORECASE), entry["use"])
    except (KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{SETTINGS}: names: {entry}: {error}") from error


def load(path: Path) -> Words:
    """Return the words of a settings file. Raises SettingsError."""
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    missing = [key for key in ("prose", "names", "paths", "exceptions") if key not in loaded]
    if missing:
        raise SettingsError(f"{SETTINGS}: {', '.join(missing)} missing")
    for entry in loaded["exceptions"]:
        if not {"path", "text", "reason"} <= set(entry):
            raise SettingsError(f"{SETTINGS}: exceptions: {entry}: needs path, text and reason")
    return Words(
        tuple(prose_rule(entry) for entry in loaded["prose"]),
        tuple(name_rule(entry) for entry in loaded["names"]),
        tuple(loaded["paths"]),
        frozenset((entry["path"], entry["text"]) for entry in loaded["exceptions"]),
    )


def without_code(text: str) -> str:
    """Return a text with what stands in code marks, links' targets and templates blanked."""
    blank = r"``[^`]*``|`[^`]*`|\]\([^)\s]*\)|\{\{.*?\}\}|\{%.*?%\}|\b[CVOEMP]\([^)]*\)"
    return re.sub(blank, lambda match: re.sub(r"[^\n]", "\0", match[0]), text, flags=re.DOTALL)


def markdown(text: str) -> Iterator[Passage]:
    """Yield a page's paragraphs, without its code blocks."""
    passage, fenced = Passage(), False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        if fenced or not line.strip() or line.lstrip().startswith("```"):
            yield passage
            passage = Passage()
        else:
            passage.add(number, line)
    yield passage


def hashed(text: str) -> Iterator[Passage]:
    """Yield the comments that begin with # and, in YAML, the lines between them."""
    passage = Passage()
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            passage.add(number, line.lstrip().removeprefix("#"))
        else:
            yield passage
            passage = Passage()
    yield passage


def python(text: str) -> Iterator[Passage]:
    """Yield the comments and the strings of Python code; strings side by side are one."""
    passage, last = Passage(), 0
    layout = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in layout:
            continue
        if token.type not in (tokenize.STRING, tokenize.COMMENT) or token.type != last:
            yield passage
            passage = Passage()
        last = token.type
        if token.type == tokenize.COMMENT:
            passage.add(token.start[0], token.string.removeprefix("#"))
        elif token.type == tokenize.STRING:
            inner = re.sub(r'^[A-Za-z]*("""|\'\'\'|"|\')', "", token.string)
            for number, line in enumerate(inner.split("\n"), token.start[0]):
                passage.add(number, line.rstrip("\"'"))
    yield passage


def given_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of all that Python code names itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def passages(path: str, text: str) -> Iterable[Passage]:
    """Return the prose of a file, by its name; nothing for a kind that holds none."""
    suffix = Path(path).suffix
    if suffix == ".md" or suffix == ".rst":
        return markdown(text)
    if suffix == ".py":
        return python(text)
    if suffix in HASH_COMMENTS or text.startswith("#!") or Path(path).name == "Makefile":
        return hashed(text)
    return ()


def findings(path: str, text: str, words: Words) -> list[Finding]:
    """Return the refused words of a file, in the order of its lines."""
    results: set[Finding] = set()
    for passage in passages(path, text):
        prose = without_code(passage.text)
        for rule in words.prose:
            results.update(
                Finding(path, passage.line(match.start()), " ".join(match[0].split()), rule.use)
                for match in rule.pattern.finditer(prose)
            )
    if path.endswith(".py"):
        results.update(
            Finding(path, line, name, rule.use)
            for line, name in given_names(ast.parse(text))
            for rule in words.names
            if rule.pattern.search(name)
        )
    return sorted(results, key=lambda each: (each.line, each.word))


def tracked(paths: Sequence[str]) -> list[str]:
    """Return the files below these paths that git has or would take, relative to the root."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others"]
    command += ["--exclude-standard", "--", *paths]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    names = sorted(set(filter(None, result.stdout.split("\0"))))
    return [
        name
        for name in names
        if not name.startswith(SKIPPED)
        and (ROOT / name).is_file()
        and not (ROOT / name).is_symlink()
    ]


def check(files: Iterable[tuple[str, str]], words: Words, whole: bool) -> list[str]:
    """Return a line for each refused word of these files (path and text).

    With ``whole``, an exception that matches nothing is a line too.
    """
    lines: list[str] = []
    used: set[tuple[str, str]] = set()
    for path, text in files:
        source = text.splitlines()
        for finding in findings(path, text, words):
            excepted = {
                (where, quoted)
                for where, quoted in words.exceptions
                if where == path and quoted in source[finding.line - 1]
            }
            used |= excepted
            if not excepted:
                lines.append(str(finding))
    if whole:
        lines += [
            f"{SETTINGS}: exceptions: {path}: nothing refused in a line with {quoted!r}: remove it"
            for path, quoted in sorted(words.exceptions - used)
        ]
    return lines


def main(arguments: Sequence[str]) -> int:
    """Check the paths that the arguments name, all listed ones without, and return the status."""
    try:
        words = load(ROOT / SETTINGS)
    except SettingsError as error:
        print(error)
        return 2
    names = tracked(arguments or words.paths)
    files = ((name, (ROOT / name).read_text(encoding="utf-8")) for name in names)
    lines = check(files, words, whole=not arguments)
    for line in lines:
        print(line)
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
