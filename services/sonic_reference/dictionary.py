# SPDX-License-Identifier: Apache-2.0
"""Pronunciation: texts that are to be said as something else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from pydantic import BaseModel, Field


class Item(BaseModel):
    """Text that is to be said as something else."""

    text: str = Field(min_length=1, max_length=200)
    alias: str = Field(max_length=400)
    case_sensitive: bool | None = None


def say(items: Sequence[Item], text: str) -> str:
    """Return the text with every item's text replaced by its alias; longest texts first."""
    if not items:
        return text
    aliases = {
        item.text if item.case_sensitive else item.text.lower(): item.alias for item in items
    }

    def alias(found: re.Match[str]) -> str:
        said = found.group()
        return aliases.get(said, aliases.get(said.lower(), said))

    texts = tuple((item.text, bool(item.case_sensitive)) for item in items)
    return _pattern(texts).sub(alias, text)


@lru_cache(maxsize=64)
def _pattern(texts: tuple[tuple[str, bool], ...]) -> re.Pattern[str]:
    """Return what finds any of these texts as whole words, each with case or without."""
    longest_first = sorted(texts, key=lambda text: -len(text[0]))
    found = "|".join(
        re.escape(text) if with_case else f"(?i:{re.escape(text)})"
        for text, with_case in longest_first
    )
    return re.compile(rf"(?<!\w)(?:{found})(?!\w)")
