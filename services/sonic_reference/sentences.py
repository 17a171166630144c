# SPDX-License-Identifier: Apache-2.0
"""Where sentences end in a text that still grows.

The rules, the abbreviations of many languages among them, are those of the library sentencex.
"""

from __future__ import annotations

import re

from sentencex import segment  # type: ignore[import-untyped,unused-ignore]

from sonic_reference import tags

# What follows for a trial, to learn whether what is there would be a sentence before it: a word
# that begins with a capital, and of which the library knows nothing.
_TRIAL = " Xy"
# A line is a sentence, too.
_LINE_END = re.compile(r"\n\s*")
# A figure before a full stop at the end may go on, and a short one be the day of a month.
_UNSURE_END = re.compile(r"\d\.\Z|(?<![\d.,])\d{1,2}\.\s+\Z")


def complete(text: str, language: str = "en") -> int:
    """Return how much of a growing text is whole sentences, in characters.

    ``language`` is a BCP 47 tag. A sentence has something to say: punctuation alone waits for what
    follows it. "Dr." and "U.S." may be in the middle of one, so that the next word decides. Spaces
    and whole tags after a sentence belong to what follows.
    """
    seen = tags.masked(text)
    whole = len(seen.rstrip())
    ends = [match.end() for match in _LINE_END.finditer(seen)]
    at = 0
    for sentence in segment(re.split(r"[-_]", language.lower())[0], seen[:whole] + _TRIAL):
        at += len(sentence)
        if at <= whole:
            ends.append(at)
        elif at == whole + 1 and not _UNSURE_END.search(seen):
            ends.append(len(seen))
    end = len(seen[: max(ends, default=0)].rstrip(" "))
    return end if tags.says_something(text[:end]) else 0
