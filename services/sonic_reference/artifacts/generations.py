# SPDX-License-Identifier: Apache-2.0
"""A folder of generations: a new one is made aside, and published by one rename.

    ROOT/current -> generations/ID
    ROOT/generations/ID/manifest.json
    ROOT/generations/ID/files/voices/...

Files below ``current`` are of one whole generation. The one before is kept for readers that opened
it just before the rename; older ones are removed.
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
# Limits of a generation on disk, and in the memory of every pod. A real LoRA is larger; this
# stack's engine takes presets only.
MAX_FILES = 2000
MAX_FILE_BYTES = 1024 * 1024
MAX_TOTAL_BYTES = 32 * 1024 * 1024
# Allowed names of files; others could lead out of the generation's folder.
NAME = re.compile(r"[a-z]+(-[a-z]+)*/[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class Entry(BaseModel):
    """One file; another ``version`` of its source may have other content."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    version: str
    size: Annotated[int, Field(ge=0, le=MAX_FILE_BYTES)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """The content of a generation; its id is derived from the content.

    ``number`` is that of the signed list of its files, 0 without a signature.
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
        """Raises MismatchError for a manifest that no artifact sync makes."""
        if Manifest.of(self.entries, self.number).generation != self.generation:
            raise MismatchError(f"generation {self.generation} is not what its files make it")
        if len({entry.name for entry in self.entries}) != len(self.entries):
            raise MismatchError(f"generation {self.generation} has a file twice")
        if sum(entry.size for entry in self.entries) > MAX_TOTAL_BYTES:
            raise MismatchError(
                f"generation {self.generation} has more than {MAX_TOTAL_BYTES} bytes"
            )


class MismatchError(Exception):
    """A file's content is not as its source listed it."""


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
        """Return a file's path."""
        return self.files / entry.name


class Staging:
    """A generation in the making, which no reader sees."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir()

    def path(self, name: str) -> Path:
        """Return the path for a new file. Raises MismatchError for a name that is not allowed."""
        if not NAME.fullmatch(name):
            raise MismatchError(f"{name!r} is no name for a file")
        target = self.files / name
        target.parent.mkdir(exist_ok=True)
        return target

    def reuse(self, entry: Entry, generation: Generation) -> None:
        """Use a file of another generation, without copying it."""
        os.link(generation.path(entry), self.path(entry.name))


class Generations:
    """The generations below a folder that only one process uses."""

    def __init__(self, root: Path) -> None:
        """Raises OSError when the folder cannot be used."""
        self._folder = root / "generations"
        self._link = root / "current"
        self._folder.mkdir(parents=True, exist_ok=True)
        # Left over from a process that was killed.
        for left in (*self._folder.glob(".new-*"), *root.glob(".new-*")):
            _remove(left)
        self.current = self._load()

    @contextlib.contextmanager
    def stage(self) -> Iterator[Staging]:
        """Return a place for a new generation; it is removed at the end unless it was published."""
        folder = Path(tempfile.mkdtemp(prefix=".new-", dir=self._folder))
        try:
            yield Staging(folder)
        finally:
            _remove(folder)

    def forget(self) -> None:
        """Publish nothing until there is a new generation."""
        self._link.unlink(missing_ok=True)
        self.current = None

    def publish(self, staging: Staging, entries: Iterable[Entry], number: int = 0) -> Generation:
        """Make the staged files the current generation, in one step; returns it."""
        manifest = Manifest.of(entries, number)
        before = self.current
        text = manifest.model_dump_json()
        (staging.folder / "manifest.json").write_text(text, encoding="utf-8")
        folder = self._folder / manifest.generation
        if before is None or before.manifest != manifest:
            # An earlier generation with the same files may be left over, and may be damaged.
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
        """Return the generation of ``current``, None when it is missing or damaged."""
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
