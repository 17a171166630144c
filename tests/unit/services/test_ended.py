# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from sonic_reference.api import ended
from sonic_reference.api.ended import MAX_ENDED, EndedContexts
from sonic_reference.api.schema import ContextRequest


def asked(text: str = "", *, more: bool = False, context: str = "one", **more_fields: Any) -> Any:
    return ContextRequest.model_validate(
        {
            "context_id": context,
            "model_id": "sonic-3",
            "transcript": text,
            "voice": {"mode": "id", "id": "v"},
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 8000},
            "continue": more,
        }
        | more_fields
    )


class Clock:
    """Time that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(ended, "time", made)
    return made


@pytest.mark.parametrize("how", ["done", "cancelled", "failed"])
@pytest.mark.parametrize("unfinished", [True, False])
def test_a_message_without_text_is_late(clock: Clock, how: Any, unfinished: bool) -> None:
    contexts = EndedContexts()
    contexts.note("one", how, unfinished=unfinished)
    assert contexts.late(asked(flush=True, more=True))
    assert contexts.late(asked(" "))
    assert not contexts.late(asked(context="another"))
    clock.now += 61
    assert not contexts.late(asked(flush=True, more=True))


def test_text_of_a_cancelled_reply_is_late_for_a_moment(clock: Clock) -> None:
    contexts = EndedContexts()
    contexts.note("one", "cancelled", unfinished=True)
    assert contexts.late(asked("and so on, ", more=True))
    clock.now += 1.1
    assert not contexts.late(asked("Something new. ", more=True))


def test_a_whole_reply_after_a_cancel_is_a_new_one(clock: Clock) -> None:
    contexts = EndedContexts()
    contexts.note("one", "cancelled", unfinished=True)
    assert not contexts.late(asked("The same name once more."))


def test_the_rest_of_a_refused_reply_is_late_until_its_last_text(clock: Clock) -> None:
    contexts = EndedContexts()
    contexts.note("one", "failed", unfinished=True)
    for _unused in range(5):
        clock.now += 2
        assert contexts.late(asked("and so on, ", more=True))
    assert contexts.late(asked("and the end."))
    assert not contexts.late(asked("A new reply. ", more=True))


def test_a_refused_reply_may_be_tried_again_after_a_pause(clock: Clock) -> None:
    contexts = EndedContexts()
    contexts.note("one", "failed", unfinished=True)
    clock.now += 3.1
    assert not contexts.late(asked("Again, from its beginning. ", more=True))
    contexts.note("one", "failed", unfinished=False)
    assert not contexts.late(asked("Once more."))


def test_they_are_forgotten_in_the_end(clock: Clock) -> None:
    contexts = EndedContexts()
    for number in range(MAX_ENDED + 1):
        contexts.note(str(number), "done", unfinished=False)
    assert not contexts.late(asked(context="0"))
    assert contexts.late(asked(context="1"))
