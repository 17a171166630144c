# SPDX-License-Identifier: Apache-2.0
"""Pronunciation: replace texts by aliases that are spoken in their place.

A text is found as whole words only. Words end where Unicode's rules say (Unicode Standard Annex
29): a combining mark belongs to its letter. Each character of a script without spaces (Chinese,
Japanese, Thai, Lao, Khmer, Burmese) is a word of its own, so that a text is found inside a
sentence.

An Aho-Corasick automaton finds all texts at once, each word between two marks. Its time depends on
the length of the transcript only. No pattern is made from a client's text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import regex  # type: ignore[import-untyped,unused-ignore]
from ahocorasick_rs import BytesAhoCorasick, MatchKind
from pydantic import BaseModel, Field

_BOUNDARY = regex.compile(r"\b", regex.WORD | regex.VERSION1)
# Pairs of letters that make a flag, with their marks. They are cut off first: to find out which two
# of a long row belong together, the pattern above counts from the row's start again and again.
_FLAG = regex.compile(r"((?:\p{Regional_Indicator}[\p{M}\p{Cf}]*+){2})", regex.VERSION1)
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}\u30fc\uff70]", regex.VERSION1)
_KATAKANA = regex.compile(r"[\p{Katakana}\u30fc\uff70]+", regex.VERSION1)
# Small kana and the marks of length belong to the character before them.
_TAILS = frozenset("ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶーｧｨｩｪｫｬｭｮｯｰﾞﾟ")
# Separates words for a while; Unicode has no such character, so no text has it.
_BETWEEN = "\U0010ffff"
# Around each word: bytes that UTF-8 never has.
_OPEN, _CLOSE = b"\xfe", b"\xff"
# Words that are searched at a time, at least.
_WINDOW = 64


class Item(BaseModel):
    """A text and the alias that is spoken in its place."""

    text: str = Field(min_length=1, max_length=200)
    alias: str = Field(max_length=400)
    case_sensitive: bool | None = None


def words(text: str) -> list[str]:
    """Return a text cut at every boundary of words; joined, the parts are the text."""
    pieces = _FLAG.split(text.replace(_BETWEEN, ""))
    parts = [word for piece in pieces for word in _BOUNDARY.split(piece) if word]
    return _cut_kana(parts) if _KANA.search(text) else parts


def _cut_kana(pieces: Iterable[str]) -> list[str]:
    """Cut words of katakana, too, but never before a character that belongs to another."""
    parts: list[str] = []
    for part in pieces:
        for one in part if _KATAKANA.fullmatch(part) else (part,):
            if one in _TAILS and parts:
                parts[-1] += one
            else:
                parts.append(one)
    return parts


class _Match(NamedTuple):
    """A text that matched: its words by number, and its alias."""

    start: int
    end: int
    alias: str


class _Finder:
    """Finds texts, all with their case or all without."""

    def __init__(self, items: Sequence[Item], *, with_case: bool) -> None:
        self._with_case = with_case
        cut = [words(item.text) for item in items]
        aliases = {self.mark(parts): item.alias for parts, item in zip(cut, items, strict=True)}
        self.longest = max(map(len, cut))
        self.size = sum(map(len, aliases))
        self.aliases = list(aliases.values())
        self._automaton = BytesAhoCorasick(list(aliases), matchkind=MatchKind.LeftmostLongest)

    def mark(self, parts: Sequence[str]) -> bytes:
        """Return words as they are searched: in their usual form, each between the two bytes."""
        text = _BETWEEN.join(parts)
        text = unicodedata.normalize("NFC", text if self._with_case else text.casefold())
        # Lone surrogates are no characters; their replacement does no harm.
        marked = text.encode("utf-8", "replace").replace(_BETWEEN.encode(), _CLOSE + _OPEN)
        return _OPEN + marked + _CLOSE

    def find(self, marked: bytes) -> list[tuple[int, int, int]]:
        """Return number, start and end of each match: from left to right, the longest first."""
        return self._automaton.find_matches_as_indexes(marked)


class _Search:
    """One finder's search through one text."""

    def __init__(self, finder: _Finder, parts: Sequence[str]) -> None:
        self._finder = finder
        self._marked = finder.mark(parts)
        sizes = (len(part) + 1 for part in self._marked.split(_CLOSE)[:-1])
        self._places = list(accumulate(sizes, initial=0))
        self._words: Mapping[int, int] = {at: word for word, at in enumerate(self._places)}
        self._ahead: Iterator[_Match] = iter(())
        self._next: _Match | None = None
        self._searched = 0

    def first(self, start: int) -> _Match | None:
        """Return the first match from this word on; call it with growing numbers only."""
        while self._next and self._next.start < start:
            if self._next.end > start:
                # Another finder's match ends inside this one, so the matches after it may not hold.
                self._ahead = iter(())
                self._searched = start
            self._next = next(self._ahead, None)
        while not self._next and max(self._searched, start) < len(self._places) - 1:
            self._ahead = self._look(max(self._searched, start))
            self._next = next(self._ahead, None)
        return self._next

    def _look(self, start: int) -> Iterator[_Match]:
        """Yield what begins in the next words; it may end after them."""
        last = len(self._places) - 1
        reach = max(_WINDOW, self._finder.longest)
        stop = min(start + reach, last)
        begin, end = self._places[start], self._places[min(stop + reach, last)]
        self._searched = stop
        for number, match_start, match_end in self._finder.find(self._marked[begin:end]):
            first, after = self._words[begin + match_start], self._words[begin + match_end]
            if first >= stop:
                return
            self._searched = max(stop, after)
            yield _Match(first, after, self._finder.aliases[number])


class Aliases:
    """A dictionary that is ready to be used; ``size`` is a measure of the memory that it takes."""

    def __init__(self, items: Sequence[Item]) -> None:
        kinds = {
            with_case: [item for item in items if bool(item.case_sensitive) == with_case]
            for with_case in (True, False)
        }
        self._finders = [_Finder(some, with_case=kind) for kind, some in kinds.items() if some]
        self.size = sum(finder.size for finder in self._finders)

    def apply(self, text: str) -> str:
        """Return a text with every item's text replaced by its alias.

        Of several matches the first one counts, then the longest, then the one with its case.
        """
        parts = words(text)
        searches = [_Search(finder, parts) for finder in self._finders]
        spoken: list[str] = []
        at = 0
        while matches := [match for search in searches if (match := search.first(at))]:
            best = min(matches, key=lambda match: (match.start, -match.end))
            spoken += [*parts[at : best.start], best.alias]
            at = best.end
        return "".join([*spoken, *parts[at:]])


def say(items: Sequence[Item], text: str) -> str:
    """Return a text with these items' aliases; see :meth:`Aliases.apply`."""
    return Aliases(items).apply(text)
