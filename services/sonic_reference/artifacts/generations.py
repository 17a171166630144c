# SPDX-License-Identifier: Apache-2.0
"""A folder of generations: a new one is made aside, and shown by one rename.

    ROOT/current -> generations/ID
    ROOT/generations/ID/manifest.json
    ROOT/generations/ID/files/voices/...

Whoever opens a file below ``current`` has a whole generation. The one before is kept, for those who
opened it just before the rename; older ones are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PIECE_BYTES = 1024 * 1024
# Of a generation, on disk and, read, in the memory of every pod that has it. A real LoRA is larger;
# this stack's engine takes presets only.
MAX_FILES = 2000
MAX_FILE_BYTES = 1024 * 1024
MAX_TOTAL_BYTES = 32 * 1024 * 1024
# What a file may be called; anything else could lead out of the generation's folder.
NAME = re.compile(r"[a-z]+(-[a-z]+)*/[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class Entry(BaseModel):
    """One file; version is what its source calls it: another one may have other content."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    version: str
    size: Annotated[int, Field(ge=0, le=MAX_FILE_BYTES)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """What a generation holds; its id follows from that, and is the same wherever it is made.

    ``number`` is that of the signed list of its files, 0 where nothing is signed.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    generation: str
    entries: Annotated[tuple[Entry, ...], Field(max_length=MAX_FILES)]
    number: Annotated[int, Field(ge=0)] = 0

    @classmethod
    def of(cls, entries: Iterable[Entry], number: int = 0) -> Manifest:
        """Return the manifest of these files."""
        ordered = tuple(sorted(entries, key=lambda entry: entry.name))
        text = "".join(f"{entry.name} {entry.version} {entry.sha256}\n" for entry in ordered)
        text = f"{number}\n{text}" if number else text
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        return cls(generation=name, entries=ordered, number=number)

    def check(self) -> None:
        """Refuse what no artifact sync makes. Raises MismatchError."""
        if Manifest.of(self.entries, self.number).generation != self.generation:
            raise MismatchError(f"generation {self.generation} is not what its files make it")
        if len({entry.name for entry in self.entries}) != len(self.entries):
            raise MismatchError(f"generation {self.generation} has a file twice")
        if sum(entry.size for entry in self.entries) > MAX_TOTAL_BYTES:
            raise MismatchError(
                f"generation {self.generation} has more than {MAX_TOTAL_BYTES} bytes"
            )


class MismatchError(Exception):
    """A file's content is not what its source said it is."""


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Generation:
    """A generation on disk."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self.files = folder / "files"

    def path(self, entry: Entry) -> Path:
        """Return where a file of it lies."""
        return self.files / entry.name


class Staging:
    """A generation in the making, which nobody else sees."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir()

    def path(self, name: str) -> Path:
        """Return where to write a file. Raises MismatchError for a name that may not be."""
        if not NAME.fullmatch(name):
            raise MismatchError(f"{name!r} is no name for a file")
        target = self.files / name
        target.parent.mkdir(exist_ok=True)
        return target

    def reuse(self, entry: Entry, generation: Generation) -> None:
        """Take a file over from another generation, without copying it."""
        os.link(generation.path(entry), self.path(entry.name))


class Generations:
    """The generations below a folder, of which one process is in charge."""

    def __init__(self, root: Path) -> None:
        """Raises OSError when the folder cannot be used."""
        self._folder = root / "generations"
        self._link = root / "current"
        self._folder.mkdir(parents=True, exist_ok=True)
        # What a process that was killed had not finished.
        for left in (*self._folder.glob(".new-*"), *root.glob(".new-*")):
            _remove(left)
        self.current = self._load()

    @contextlib.contextmanager
    def stage(self) -> Iterator[Staging]:
        """Give a place for a new generation; what is not published by the end is removed."""
        folder = Path(tempfile.mkdtemp(prefix=".new-", dir=self._folder))
        try:
            yield Staging(folder)
        finally:
            _remove(folder)

    def forget(self) -> None:
        """Show nothing until there is a new generation."""
        self._link.unlink(missing_ok=True)
        self.current = None

    def publish(self, staging: Staging, entries: Iterable[Entry], number: int = 0) -> Generation:
        """Make what was staged the current generation, in one step; returns it."""
        manifest = Manifest.of(entries, number)
        before = self.current
        text = manifest.model_dump_json()
        (staging.folder / "manifest.json").write_text(text, encoding="utf-8")
        folder = self._folder / manifest.generation
        if before is None or before.manifest != manifest:
            # One of the same files that is not current may be left over, and need not be whole.
            _remove(folder)
            staging.folder.rename(folder)
        pointer = self._link.with_name(".new-current")
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(folder.relative_to(self._link.parent))
        pointer.replace(self._link)
        self.current = Generation(folder, manifest)
        kept = {folder, before.files.parent if before else folder}
        for other in self._folder.iterdir():
            if other not in kept and not other.name.startswith(".new-"):
                _remove(other)
        return self.current

    def _load(self) -> Generation | None:
        """Return what ``current`` leads to, None unless all of it is as it was published."""
        try:
            folder = self._link.resolve(strict=True)
            text = (folder / "manifest.json").read_bytes()
            generation = Generation(folder, Manifest.model_validate_json(text))
            whole = all(
                digest(generation.path(one)) == one.sha256 for one in generation.manifest.entries
            )
        except (OSError, ValidationError):
            return None
        return generation if whole else None


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
