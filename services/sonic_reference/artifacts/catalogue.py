# SPDX-License-Identifier: Apache-2.0
"""What the files of a generation mean: voices, LoRA and pronunciation dictionaries.

A file that cannot be used refuses the whole generation, so that an engine never has a voice whose
LoRA is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sonic_reference.artifacts.generations import MAX_FILE_BYTES
from sonic_reference.dictionary import Item
from sonic_reference.voices import LOCALES, Gender, Preset, Voice
from sonic_reference.voices import VOICES as BUILT_IN

VOICES, LORAS, DICTIONARIES = FOLDERS = ("voices", "loras", "pronunciation-dicts")
MAX_ITEMS = 1000
# Most problems that are listed for one file, and for all files.
MAX_PROBLEMS, MAX_LINES = 3, 20

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")]
Title = Annotated[str, Field(min_length=1, max_length=200)]


class Artifact(BaseModel):
    """Base of all files: JSON objects in which a wrong field's name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class VoiceFile(Artifact):
    """voices/NAME.json; variant is one of eSpeak NG's ways of speaking."""

    id: Identifier
    name: Title
    language: str = Field(default="en", pattern=r"^[a-z]{2,3}$")
    locale: str = Field(default="", pattern=r"^([a-z]{2,3}-[A-Z]{2})?$")
    gender: Gender
    variant: str = Field(pattern=r"^(m[1-8]|f[1-5])$")
    description: str = Field(default="", max_length=1000)
    lora: Identifier | None = None


class PresetFile(Artifact):
    """loras/NAME.json: numbers for eSpeak NG's prosody, in place of a LoRA.

    Pitch and its range are eSpeak NG's own from 0 to 99 (50 is the voice's); speed is a factor.
    """

    engine: Literal["espeak-ng"]
    pitch: int = Field(default=50, ge=0, le=99)
    pitch_range: int = Field(default=50, ge=0, le=99)
    speed: float = Field(default=1.0, ge=0.5, le=2.0)


class DictionaryFile(Artifact):
    """pronunciation-dicts/NAME.json."""

    id: Identifier
    name: Title
    items: list[Item] = Field(max_length=MAX_ITEMS)


@dataclass(frozen=True)
class Catalogue:
    """All artifacts of one generation."""

    voices: Mapping[str, Voice] = field(default_factory=dict)
    presets: Mapping[str, Preset] = field(default_factory=dict)
    dictionaries: Mapping[str, DictionaryFile] = field(default_factory=dict)


class InvalidArtifactsError(Exception):
    """Files of a generation cannot be used; the text has one line for each problem."""


File = TypeVar("File", bound=Artifact)


def refuse(problems: list[str]) -> None:
    """Raise InvalidArtifactsError with the first of these problems, if there are any."""
    more = len(problems) - MAX_LINES
    if problems:
        ends = [f"and {more} more"] if more > 0 else []
        raise InvalidArtifactsError("\n".join(problems[:MAX_LINES] + ends))


class _Reader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.problems: list[str] = []

    def files(self, kind: str, model: type[File]) -> dict[str, File]:
        """Read the files of one folder by their names without the ending."""
        values: dict[str, File] = {}
        for path in sorted((self._folder / kind).glob("*")):
            where = f"{kind}/{path.name}"
            if path.suffix != ".json":
                self.problems.append(f"{where}: its name does not end in .json")
            elif path.stat().st_size > MAX_FILE_BYTES:
                self.problems.append(f"{where}: larger than {MAX_FILE_BYTES} bytes")
            else:
                try:
                    values[path.stem] = model.model_validate_json(path.read_bytes())
                except ValidationError as error:
                    self.problems += [
                        f"{where}: {'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}"
                        for one in error.errors(include_url=False, include_input=False)
                    ][:MAX_PROBLEMS]
        return values

    def unique(self, kind: str, ids: Mapping[str, str], taken: Mapping[str, object]) -> None:
        """Refuse ids, by file, that another file or the stack itself has."""
        seen: dict[str, str] = {}
        for file, name in ids.items():
            if name in taken:
                self.problems.append(f"{kind}/{file}.json: id: {name} is the stack's own")
            elif name in seen:
                self.problems.append(f"{kind}/{file}.json: id: {kind}/{seen[name]}.json has it too")
            seen[name] = file


def read(folder: Path) -> Catalogue:
    """Read a generation's files. Raises InvalidArtifactsError with all that is wrong."""
    reader = _Reader(folder)
    presets = reader.files(LORAS, PresetFile)
    speakers = reader.files(VOICES, VoiceFile)
    dictionaries = reader.files(DICTIONARIES, DictionaryFile)
    reader.unique(VOICES, {file: one.id for file, one in speakers.items()}, BUILT_IN)
    reader.unique(DICTIONARIES, {file: one.id for file, one in dictionaries.items()}, {})
    for file, one in speakers.items():
        if one.lora is not None and one.lora not in presets and not reader.problems:
            reader.problems.append(f"{VOICES}/{file}.json: lora: no file {LORAS}/{one.lora}.json")
    refuse(reader.problems)
    return Catalogue(
        {
            one.id: Voice(
                one.id,
                one.name,
                one.language,
                one.locale or LOCALES.get(one.language, one.language),
                one.gender,
                one.variant,
                one.description,
                one.lora,
            )
            for one in speakers.values()
        },
        {name: Preset(one.pitch, one.pitch_range, one.speed) for name, one in presets.items()},
        {one.id: one for one in dictionaries.values()},
    )
