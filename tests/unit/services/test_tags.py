# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
import time

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sonic_reference import tags
from sonic_reference.sentences import complete
from sonic_reference.tags import Manner, Silence, Speech, parse
from websockets.sync.client import connect

from lab.processes import KEY, Stack

PLAIN = Manner()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Wait. Done.", [Speech("Wait. Done.", PLAIN)]),
        (
            'Wait. <break time="1s"/> Done.',
            [Speech("Wait. ", PLAIN), Silence(1.0), Speech(" Done.", PLAIN)],
        ),
        ('<break time="250ms"/>', [Silence(0.25)]),
        ("<Break time = '1.5' >", [Silence(1.5)]),
        ("<break time=\u201c2s\u201d/><break time=.5s />", [Silence(2.0), Silence(0.5)]),
        ("<break/>", [Silence(0.5)]),
        ('<break time="3600s"/>', [Silence(10.0)]),
        # Of a time that is none there is no silence, and nothing is read.
        ('a<break time="soon"/>b', [Speech("a b", PLAIN)]),
        ('<break time="-1s"/><break time="0s"/><break time="٣s"/>', []),
        ("<spell>ABC-12</spell>!", [Speech("A, B, C, 1, 2", Manner(spell=True))]),
        ("<spell>a@b</spell>", [Speech("a, @, b", Manner(spell=True))]),
        ("<spell>( )</spell>", []),
        ("It is <spell>AB", [Speech("It is ", PLAIN), Speech("A, B", Manner(spell=True))]),
        (
            'A <speed ratio="1.5"/>b <volume ratio="0.5"/>c </speed>d',
            [
                Speech("A ", PLAIN),
                Speech("b ", Manner(speed=1.5)),
                Speech("c ", Manner(speed=1.5, volume=0.5)),
                Speech("d", Manner(volume=0.5)),
            ],
        ),
        ('<speed ratio="9"/>a', [Speech("a", Manner(speed=1.5))]),
        ('<speed ratio="0"/>a', [Speech("a", Manner(speed=0.6))]),
        ('<volume level="9"/>a', [Speech("a", Manner(volume=2.0))]),
        ('<speed ratio="fast"/>a', [Speech(" a", PLAIN)]),
        ('<emotion value="sad"/>Oh[laughter]no', [Speech(" Oh no", PLAIN)]),
        ("3 < 5 and 6 > 4, <b>bold</b>", [Speech("3 < 5 and 6 > 4, <b>bold</b>", PLAIN)]),
        ("...", []),
        ("?!, - «»", []),
        (". <break time='1s'/> .", [Silence(1.0)]),
        ("😀", [Speech("😀", PLAIN)]),
    ],
)
def test_tags_are_read(text: str, parts: list[Speech | Silence]) -> None:
    assert parse(text) == parts
    assert tags.says_something(text) == bool(parts)


def test_tags_in_force_at_the_end_of_a_text_precede_the_next() -> None:
    assert tags.in_force('a<speed ratio="1.2"/>b<volume ratio="0.7"/>c') == (
        '<speed ratio="1.2"/><volume ratio="0.7"/>'
    )
    assert tags.in_force("<speed ratio='1.2'/>b</speed>") == ""
    assert tags.in_force("<spell>A") == "<spell>"
    assert tags.in_force("<spell>A</spell>") == ""


def test_words_are_replaced_outside_of_tags_only() -> None:
    text = 'a<speed ratio="1"/>b<spell>c</spell>d'
    parts = tags.split(text)
    assert "".join(part for part, _plain in parts) == text
    assert [part for part, plain in parts if plain] == ["a", "b", "d"]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("Hello there.  How", "Hello there."),
        ("Hello there.", "Hello there."),
        ("One! Two? Three", "One! Two?"),
        ("Ask Dr. ", ""),
        ("Ask Dr. Smith. ", "Ask Dr. Smith."),
        ("In the U.S. ", ""),
        ("In the U.S. it is late. Go", "In the U.S. it is late."),
        ("At 5 p.m. ", ""),
        ("Such, e.g. ", ""),
        ("Mr. Smith pays $3.50. ", "Mr. Smith pays $3.50."),
        ("It costs 3.", ""),
        ("It costs 3. ", ""),
        ("It costs 3. You", "It costs 3."),
        ("wait... ", "wait..."),
        ("...", ""),
        ("... ", ""),
        ("\n\n", ""),
        ("A line\nand", "A line\n"),
        ("你好。我", "你好。"),
        ("今日は。", "今日は。"),
        ("यह है। वह", "यह है।"),
        ('Wait.<break time="0.5s"/>Go', "Wait."),
        ('<break time="0.5s"/>', ""),
        ('Wait. <break time="0.', "Wait."),
        ("Wait. <", "Wait."),
        ("Hi. It is <spell>A. B. C", "Hi."),
        ("Hi. It is <spell>A. B.</spell>. Yes", "Hi. It is <spell>A. B.</spell>."),
        ("Is 5 < 6? Yes", "Is 5 < 6?"),
    ],
)
def test_sentences_of_a_growing_text(text: str, whole: str) -> None:
    assert text[: complete(text)] == whole


def test_abbreviations_are_those_of_the_language() -> None:
    text = "Das ist z.B. gut. Am 3. Mai"
    assert text[: complete(text, "de-AT")] == "Das ist z.B. gut."


@settings(deadline=None, database=None)
@given(
    st.lists(
        st.sampled_from(
            ["Dr. ", "Hi. ", "\n", '<break time="1s"/>', "<spell>", "</spell>", "<", ">", "3.",
             "。", "a", " ", "...", "<speed ratio='1.2'/>", "\r\n", "[laughter]", "</", "é", "😀. "]
        ),
        max_size=12,
    ).map("".join)
)  # fmt: skip
@example("<speed ratio='1'/>")
def test_a_growing_text_is_never_cut_inside_a_tag(text: str) -> None:
    end = complete(text)
    assert 0 <= end <= len(text)
    assert end <= tags.begun(text)
    assert len(tags.masked(text)) == len(text)
    # What was whole stays so when more comes.
    assert complete(text + "\n\nMore. And") >= end


@pytest.mark.parametrize(
    "text",
    ["<", "< ", "<spell>", "<break ", "</", "<break time=", "a.b.", "[laughter", '"a. (', "'" * 9],
)
def test_the_time_grows_with_the_text_only(text: str) -> None:
    def spent(size: int) -> float:
        whole = (text * size)[:size] + "<" + " " * size + "<speed " + "a" * size + ">"
        began = time.thread_time()
        for work in (complete, parse, tags.in_force, tags.split, tags.begun):
            work(whole)
        return time.thread_time() - began

    # Seconds of this thread alone; what is quadratic takes far more than 100 times as long.
    assert min(spent(20_000) for _unused in range(2)) < 0.7


def post(stack: Stack, path: str, **fields: object) -> httpx.Response:
    wanted = {
        "model_id": "sonic-3",
        "voice": {"mode": "id", "id": "a"},
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000},
    }
    return httpx.post(
        f"{stack.url}{path}", headers={"X-API-Key": KEY}, json=wanted | fields, timeout=60,
        trust_env=False,
    )  # fmt: skip


def seconds(answer: httpx.Response) -> float:
    assert answer.status_code == 200, answer.text
    return len(answer.content) / 48000


def loudest(answer: httpx.Response) -> int:
    pcm = memoryview(answer.content).cast("h")
    return max(abs(one) for one in pcm)


def test_tags_are_heard_and_not_read(quiet_stack: Stack) -> None:
    def spoken(text: str) -> httpx.Response:
        return post(quiet_stack, "/tts/bytes", transcript=text)

    plain = spoken("Please wait. I am coming to you.")
    assert 1 < seconds(plain) < 4
    paused = spoken('Please wait. <break time="3s"/> I am coming to you.')
    assert seconds(paused) == pytest.approx(seconds(plain) + 3, abs=0.7)
    assert b"\0" * 100_000 in paused.content
    fast = spoken('<speed ratio="1.5"/>Please wait. I am coming to you.')
    assert seconds(fast) < 0.8 * seconds(plain)
    quiet = spoken('<volume ratio="0.5"/>Please wait. I am coming to you.')
    assert loudest(quiet) == pytest.approx(loudest(plain) / 2, rel=0.2)
    moved = spoken('<emotion value="angry"/>Please wait. [laughter] I am coming to you.')
    assert seconds(moved) == pytest.approx(seconds(plain), rel=0.1)
    assert seconds(spoken("<spell>CAT</spell>")) > 1.5 * seconds(spoken("CAT"))


def test_times_of_words_go_on_after_a_break(quiet_stack: Stack) -> None:
    answer = post(
        quiet_stack, "/tts/sse", add_timestamps=True,
        transcript='Please wait. <break time="2s"/> Done <spell>A1</spell>.',
    )  # fmt: skip
    lines = answer.text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    times = [event["word_timestamps"] for event in events if event["type"] == "timestamps"]
    words = [word for one in times for word in one["words"]]
    starts = [start for one in times for start in one["start"]]
    assert words == ["Please", "wait.", "Done", "A", "1"]
    assert starts == sorted(starts)
    assert starts[2] - starts[1] > 2


@pytest.mark.parametrize("text", ["...", "?!", " . ", "<spell>-</spell>", '<speed ratio="1"/>.'])
@pytest.mark.parametrize("container", ["raw", "wav", "mp3"])
def test_punctuation_alone_is_refused(quiet_stack: Stack, text: str, container: str) -> None:
    form = {"container": container, "encoding": "pcm_s16le", "sample_rate": 24000}
    answer = post(quiet_stack, "/tts/bytes", transcript=text, output_format=form)
    assert answer.status_code == 400
    assert "empty or contains only punctuation" in answer.json()["message"]


@pytest.mark.parametrize("container", ["raw", "wav", "mp3"])
def test_a_character_that_has_no_name_is_no_audio(quiet_stack: Stack, container: str) -> None:
    form = {"container": container, "encoding": "pcm_s16le", "sample_rate": 24000}
    answer = post(quiet_stack, "/tts/bytes", transcript="\U0001fae5", output_format=form)
    assert (answer.status_code, answer.json()["title"]) == (400, "Nothing to say")


def context(stack: Stack, texts: list[str], **fields: object) -> tuple[list[str], float]:
    """The words that are spoken of a context's texts, and how long (s) its audio is."""
    wanted = {
        "context_id": "one",
        "model_id": "sonic-3",
        "voice": {"mode": "id", "id": "a"},
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000},
        "add_timestamps": True,
    } | fields
    url = stack.url.replace("http", "ws") + "/tts/websocket"
    words: list[str] = []
    size = 0
    with connect(url, additional_headers={"X-API-Key": KEY}, proxy=None) as socket:
        for number, text in enumerate(texts, start=1):
            more = number < len(texts)
            socket.send(json.dumps(wanted | {"transcript": text, "continue": more}))
        while True:
            event = json.loads(socket.recv(timeout=60))
            assert event["type"] != "error", event
            if event["type"] == "done":
                return words, size / 48000
            words += event.get("word_timestamps", {}).get("words", [])
            size += len(base64.b64decode(event.get("data", "")))


@pytest.mark.parametrize("delay_ms", [0, 3000])
def test_tags_that_come_in_pieces_are_heard(quiet_stack: Stack, delay_ms: int) -> None:
    texts = ["... ", "Please wait. <bre", 'ak time="2', 's"/> Code <spell>A', "B</spell>.", "..."]
    words, spoken_s = context(quiet_stack, texts, max_buffer_delay_ms=delay_ms)
    assert [word for word in words if word != "..."] == ["Please", "wait.", "Code", "A", "B"]
    assert 3 < spoken_s < 7


def test_a_manner_holds_for_the_rest_of_a_context(quiet_stack: Stack) -> None:
    texts = ["I have one thing to say to you. ", "And then there is another one, too. "]
    words, plain_s = context(quiet_stack, texts)
    fast, fast_s = context(quiet_stack, ['<speed ratio="1.5"/>' + texts[0], texts[1]])
    assert words == fast
    assert fast_s < 0.8 * plain_s


def test_an_abbreviation_ends_no_piece_of_a_context(quiet_stack: Stack) -> None:
    texts = ["Today ask Dr. ", "Smith, U.S. ", "citizen, twice."]
    words, spoken_s = context(quiet_stack, texts)
    assert words == ["Today", "ask", "Dr.", "Smith,", "U.S.", "citizen,", "twice."]
    # Pieces of their own would each have a pause at the end.
    assert spoken_s == pytest.approx(context(quiet_stack, ["".join(texts)])[1], abs=0.2)


def test_sentences_of_a_context_are_those_of_its_language(quiet_stack: Stack) -> None:
    # In English this abbreviation would end a sentence, and each piece has a pause at its end.
    texts = ["Das heute bzw. ", "Siebzehn Uhr."]
    for asked in ({"locale": "de-DE"}, {"language": "de"}):
        spoken_s = context(quiet_stack, texts, **asked)[1]
        assert spoken_s == pytest.approx(
            context(quiet_stack, ["".join(texts)], **asked)[1], abs=0.2
        )


def test_a_context_of_punctuation_ends_without_audio(quiet_stack: Stack) -> None:
    assert context(quiet_stack, ["...", " ?!"]) == ([], 0)
