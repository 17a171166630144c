# SPDX-License-Identifier: Apache-2.0
"""The tags in a transcript: break, spell, speed, volume and emotion, as Sonic-3 has them.

They are those of the public API's page "SSML tags". A tag with an invalid value has no effect. No
tag is read aloud. Other text between angle brackets is text.

``<break time="1s"/>`` is silence (s or ms, at most MAX_BREAK_S). ``<spell>AB12</spell>`` is spoken
character by character. ``<speed ratio="1.5"/>`` (0.6 to 1.5) and ``<volume ratio="0.5"/>`` (0.5 to
2) hold from there on. ``<emotion value="sad"/>`` and ``[laughter]`` are accepted and change
nothing: this engine has no emotions.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace

# Seconds of silence of one tag: the most, and without a time.
MAX_BREAK_S = 10.0
PLAIN_BREAK_S = 0.5

# No part matches in two ways, and none is long: the time to find tags grows with the text only.
_TAG = re.compile(
    r"<\s*(/\s*)?(break|spell|speed|volume|emotion)\b([^<>]{0,100})>|\[laughter\]", re.IGNORECASE
)
_SPELLED = re.compile(r"<\s*spell\b[^<>]{0,100}>.*?<\s*/\s*spell\s*>", re.IGNORECASE | re.DOTALL)
# An unfinished tag at the end of a text; its name may end anywhere.
_BEGUN = re.compile(
    r"<\s*(?:/\s*)?(?:(?:break|spell|speed|volume|emotion)\b[^<>]{0,100}|([a-z]{0,7}))\Z",
    re.IGNORECASE,
)
_NAMES = ("break", "spell", "speed", "volume", "emotion")
# Quotation marks of any kind: word processors make them round.
_QUOTE = "\"'\u201c\u201d\u2018\u2019"
_VALUE = re.compile(rf"[a-z]\s*=\s*[{_QUOTE}]?\s*([^{_QUOTE}/\s]+)", re.IGNORECASE)
_TIME = re.compile(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})(ms|s|)", re.IGNORECASE | re.ASCII)
_RATIO = re.compile(r"\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}", re.ASCII)


@dataclass(frozen=True)
class Manner:
    """How text is spoken; None stands for the request's own value."""

    speed: float | None = None
    volume: float | None = None
    spell: bool = False


@dataclass(frozen=True)
class Speech:
    """Text that is spoken in one manner."""

    text: str
    manner: Manner


@dataclass(frozen=True)
class Silence:
    """Silence, in seconds."""

    seconds: float


def parse(text: str) -> list[Speech | Silence]:
    """Return a transcript's stretches of speech and silence; leave out text without a sound."""
    parts: list[Speech | Silence] = []
    pending, manner = "", Manner()
    for piece, silence, after in _pieces(text):
        pending += piece
        if silence is None and after == manner:
            # A tag without effect still separates the words beside it.
            pending += " "
            continue
        if audible(pending):
            parts.append(_speech(pending, manner))
        if silence is not None:
            parts.append(silence)
        pending, manner = "", after or Manner()
    return parts


def _pieces(text: str) -> Iterator[tuple[str, Silence | None, Manner | None]]:
    """Yield the text before each tag, the tag's silence, and the manner of the text after it.

    The last text has no manner after it: None.
    """
    manner = Manner()
    at = 0
    for match in _TAG.finditer(text):
        silence: Silence | None = None
        closes, name, rest = match.groups(default="")
        match name.lower():
            case "break":
                silence = _silence(rest)
            case "spell":
                manner = replace(manner, spell=not closes)
            case "speed":
                manner = replace(manner, speed=None if closes else _ratio(rest, 0.6, 1.5))
            case "volume":
                manner = replace(manner, volume=None if closes else _ratio(rest, 0.5, 2.0))
        yield text[at : match.start()], silence, manner
        at = match.end()
    yield text[at:], None, None


def _speech(text: str, manner: Manner) -> Speech:
    if manner.spell:
        characters = [c for c in text if unicodedata.category(c)[0] in "LNS" or c in "@&%#*"]
        return Speech(", ".join(characters), manner)
    return Speech(text, manner)


def _silence(rest: str) -> Silence | None:
    value = _VALUE.search(rest)
    if value is None:
        return Silence(PLAIN_BREAK_S)
    time = _TIME.fullmatch(value.group(1))
    if time is None:
        return None
    seconds = float(time.group(1)) / (1000 if time.group(2).lower() == "ms" else 1)
    return Silence(min(seconds, MAX_BREAK_S)) if seconds else None


def _ratio(rest: str, low: float, high: float) -> float | None:
    value = _VALUE.search(rest)
    if value is None or not _RATIO.fullmatch(value.group(1)):
        return None
    return min(max(float(value.group(1)), low), high)


def audible(text: str) -> bool:
    """Return whether a text without tags has more than punctuation."""
    return any(unicodedata.category(c)[0] in "LNS" for c in text)


def says_something(text: str) -> bool:
    """Return whether a text with tags makes a sound, or at least a silence."""
    return bool(parse(text))


def in_force(text: str) -> str:
    """Return the tags to put before the next text, so that it is spoken in the same manner."""
    manner = Manner()
    for _piece, _silence, after in _pieces(text):
        manner = after or manner
    tags = "".join(
        f'<{name} ratio="{value:g}"/>'
        for name, value in (("speed", manner.speed), ("volume", manner.volume))
        if value is not None
    )
    return tags + ("<spell>" if manner.spell else "")


def split(text: str) -> list[tuple[str, bool]]:
    """Return a text in parts, each with whether words may be replaced in it.

    They may not in tags and in spelled text.
    """
    parts: list[tuple[str, bool]] = []
    at, spelling = 0, False
    for match in _TAG.finditer(text):
        parts += [(text[at : match.start()], not spelling), (match.group(), False)]
        at = match.end()
        if (match.group(2) or "").lower() == "spell":
            spelling = not match.group(1)
    return [*parts, (text[at:], not spelling)]


def begun(text: str) -> int:
    """Return where the unfinished tag of a growing text begins; the text's length without one."""
    spelling: int | None = None
    for match in _TAG.finditer(text):
        if (match.group(2) or "").lower() == "spell":
            first = match.start() if spelling is None else spelling
            spelling = None if match.group(1) else first
    if spelling is not None:
        return spelling
    tag = _BEGUN.search(text)
    if tag and any(name.startswith((tag.group(1) or "").lower()) for name in _NAMES):
        return tag.start()
    return len(text)


def masked(text: str) -> str:
    """Return a text of the same length in which sentences can be searched for.

    Spaces replace whole tags. Letters replace spelled text and an unfinished tag, so that no
    sentence ends there.
    """
    end = begun(text)
    whole = _SPELLED.sub(lambda match: "x" * len(match.group()), text[:end])
    whole = _TAG.sub(lambda match: " " * len(match.group()), whole)
    return whole + "x" * (len(text) - end)
