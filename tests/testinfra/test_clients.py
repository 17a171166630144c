# SPDX-License-Identifier: Apache-2.0
"""Public clients, unchanged, speak and transcribe through the lab's ingress.

The vendor's JavaScript SDK, and the Cartesia plugins of LiveKit and Pipecat; their versions are in
the locks of tests/clients. What they do there are the scenarios of the programs in that folder.
"""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cartesia
import numpy as np
import pytest

from lab.bench_words import error_rate, spoken
from tests.clients.installed import HERE, Clients, install
from tests.sites import Site

pytestmark = pytest.mark.soak

ROOT = Path(__file__).resolve().parents[2]
TEXT = "The quick brown fox jumps over the lazy dog."
GROWN = "The quick brown fox jumps. Over the lazy dog it goes."
# PocketSphinx makes out few words of eSpeak NG's voices; these it knows.
DIGITS = "one two three four five"
RATE = 24000
# Of the long reply that is interrupted.
SENTENCES = 40
# Only failures take that long; the programs themselves give up after a minute.
DEADLINE_S = 120


@pytest.fixture(scope="session")
def clients() -> Clients:
    """The clients, in their own environment."""
    return install()


@pytest.fixture(scope="module")
def sound(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WAV file of counting, spoken by the site itself."""
    file = tmp_path_factory.mktemp("clients") / "counting.wav"
    with cartesia.Cartesia(**site.options) as client:
        file.write_bytes(spoken(client, DIGITS))
    return file


@dataclass(frozen=True)
class Programs:
    """Runs the programs of tests/clients against the lab."""

    clients: Clients
    info: dict[str, Any]
    sound: Path

    def python(self, module: str, scenario: str) -> dict[str, Any]:
        """Return what a client in Python found."""
        command = [str(self.clients.programs / "python"), "-m", f"tests.clients.{module}", scenario]
        return self._result(command, {"SITE_KEY": self.info["api_key"]})

    def node(self, scenario: str, *, headers: bool, **secret: str) -> dict[str, Any]:
        """Return what the client in JavaScript found, with a key or a token."""
        command = [str(self.clients.programs / "node"), str(HERE / "javascript.cjs"), scenario]
        return self._result(command, {"NODE_PATH": str(self.clients.modules(headers)), **secret})

    def _result(self, command: Sequence[str], more: dict[str, str]) -> dict[str, Any]:
        environment = {
            "HOME": os.environ["HOME"],
            "PATH": os.environ["PATH"],
            "SITE_URL": self.info["ingress_url"],
            "SITE_ADDRESS": self.info["ingress_address"],
            "SITE_SOUND": str(self.sound),
            "SSL_CERT_FILE": self.info["ca_file"],
            "NODE_EXTRA_CA_CERTS": self.info["ca_file"],
            **more,
        }
        result = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True,
            timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr[-4000:]
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer


@pytest.fixture(scope="module")
def programs(clients: Clients, info: dict[str, Any], sound: Path) -> Programs:
    """The clients' programs, for this lab."""
    return Programs(clients, info, sound)


def seconds_of(pcm: bytes, low: float, high: float) -> float:
    """Return how long samples of 16 bits are, when they are speech of a length within bounds."""
    assert len(pcm) % 2 == 0
    samples = np.frombuffer(pcm, "<i2").astype(float)
    length = len(samples) / RATE
    assert low < length < high
    # Speech has loud and soft parts in each second; silence, a tone and noise do not.
    tenths = samples[: len(samples) // 2400 * 2400].reshape(-1, 2400)
    loudness = np.sqrt((tenths**2).mean(axis=1))
    assert loudness.max() > 1000
    assert loudness.max() > 3 * loudness.min()
    return length


def check(reply: dict[str, Any], text: str, low: float = 2, high: float = 5) -> None:
    """Assert that a reply has all of a text: its sound, its words and their times."""
    length = seconds_of(base64.b64decode(reply["audio"]), low, high)
    assert reply["rate"] == RATE
    assert reply["words"] == text.split()
    starts = reply["starts"]
    assert starts == sorted(starts)
    assert length / 2 < starts[-1] - starts[0] < length
    if "ends" in reply:
        ends = reply["ends"]
        assert all(start < end for start, end in zip(starts, ends, strict=True))
        assert ends[-1] == pytest.approx(length, abs=0.1)


def check_heard(text: str) -> None:
    """Assert that the counting was heard."""
    assert error_rate(DIGITS, text.strip()) <= 0.2


Way = Callable[[str], dict[str, Any]]


class TestJavaScript:
    """The vendor's SDK in Node."""

    @pytest.fixture(params=["headers", "api_key", "access_token"])
    def way(self, request: pytest.FixtureRequest, programs: Programs, site: Site) -> Way:
        """Run a scenario with the key in a header, or with a key or a token in the query."""
        secret = {"SITE_KEY": site.key}
        if request.param == "access_token":
            with cartesia.Cartesia(**site.options) as client:
                made = client.access_token.create(grants={"tts": True, "stt": True}, expires_in=600)
            secret = {"SITE_TOKEN": str(made.token)}

        def run(scenario: str) -> dict[str, Any]:
            result = programs.node(scenario, headers=request.param == "headers", **secret)
            names = {"api_key", "access_token", "cartesia_version"} & set(result["query"])
            assert names == (
                set() if request.param == "headers" else {request.param, "cartesia_version"}
            )
            assert result["errors"] == []
            return result

        return run

    def test_http(self, programs: Programs, site: Site) -> None:
        result = programs.node("http", headers=True, SITE_KEY=site.key)
        with wave.open(io.BytesIO(base64.b64decode(result["wav"]))) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
            assert file.getframerate() == RATE
            seconds_of(file.readframes(RATE * 10), 2, 5)
        check(result["sse"], TEXT)
        assert result["sse"]["kinds"][-1] == "done"
        assert set(result["sse"]["kinds"]) == {"chunk", "timestamps", "done"}
        assert len(set(result["voices"])) == 3

    def test_transcribes(self, programs: Programs, site: Site) -> None:
        result = programs.node("transcribes", headers=True, SITE_KEY=site.key)
        check_heard(result["text"])
        assert [word["word"] for word in result["words"]] == result["text"].split()
        ends = [word["end"] for word in result["words"]]
        assert ends == sorted(ends)
        assert ends[-1] <= result["duration"]

    def test_one_context_grows(self, way: Way) -> None:
        reply = way("grows")["reply"]
        check(reply, GROWN)
        assert reply["flushes"] == [1]
        assert reply["kinds"][-1] == "done"

    def test_several_contexts(self, way: Way) -> None:
        replies = way("several")["replies"]
        assert len(replies) == 3
        for reply in replies:
            check(reply, TEXT)

    def test_interrupts(self, way: Way) -> None:
        result = way("interrupts")
        assert result["cut"][-1] == "done"
        assert "error" not in result["cut"]
        per_sentence = result["reply"]["kinds"].count("chunk")
        assert 0 < result["cut"].count("chunk") < SENTENCES * per_sentence / 2
        check(result["reply"], TEXT)

    def test_finalizes(self, way: Way) -> None:
        result = way("finalizes")
        check_heard(result["text"])
        assert result["kinds"][-2:] == ["flush_done", "done"]
        assert result["code"] == 1000

    def test_turns(self, way: Way) -> None:
        result = way("turns")
        check_heard(result["text"])
        assert result["kinds"][:2] == ["connected", "turn.start"]
        assert result["kinds"][-1] == "turn.end"
        assert result["code"] == 1000


class TestLiveKit:
    """The plugin livekit-plugins-cartesia."""

    def test_speaks(self, programs: Programs) -> None:
        result = programs.python("livekit_plugin", "speaks")
        grown, whole = result["replies"]
        check(grown, GROWN)
        check(whole, TEXT)
        assert result["reused"]

    def test_http(self, programs: Programs) -> None:
        result = programs.python("livekit_plugin", "http")
        assert result["rate"] == RATE
        seconds_of(base64.b64decode(result["audio"]), 2, 5)

    def test_interrupts(self, programs: Programs) -> None:
        result = programs.python("livekit_plugin", "interrupts")
        assert result["heard"] > 0
        check(result["reply"], TEXT)

    @pytest.mark.parametrize("scenario", ["turns", "finalizes"])
    def test_listens(self, programs: Programs, scenario: str) -> None:
        result = programs.python("livekit_plugin", scenario)
        check_heard(result["text"])
        assert result["kinds"][0] == "start_of_speech"
        assert "interim_transcript" in result["kinds"]
        assert result["kinds"][-2:] == ["final_transcript", "end_of_speech"]
        # By the documentation only the older model gives the words' times.
        assert result["words"] == (result["text"].split() if scenario == "finalizes" else [])


class TestPipecat:
    """The services of pipecat-ai[cartesia]."""

    def test_speaks(self, programs: Programs) -> None:
        result = programs.python("pipecat_plugin", "speaks")
        assert result["errors"] == []
        grown, whole = result["replies"]
        check(grown, GROWN)
        check(whole, TEXT)
        assert [kinds[-1] for kinds in result["kinds"]] == ["done", "done"]

    def test_interrupts(self, programs: Programs) -> None:
        """A flush that crosses a cancel on the wire is no error."""
        result = programs.python("pipecat_plugin", "interrupts")
        cancel, flush = result["sent"][-2:]
        assert cancel["cancel"]
        assert (flush["transcript"], flush["continue"]) == ("", False)
        assert result["errors"] == []
        assert "error" not in result["cut"]
        assert result["cut"][-1] == "done"
        whole = SENTENCES * result["of_reply"].count("chunk")
        assert 0 < result["cut"].count("chunk") < 0.9 * whole
        check(result["reply"], TEXT)

    @pytest.mark.parametrize(
        ("scenario", "last"), [("turns", "turn.end"), ("finalizes", "flush_done")]
    )
    def test_listens(self, programs: Programs, scenario: str, last: str) -> None:
        result = programs.python("pipecat_plugin", scenario)
        check_heard(result["text"])
        assert result["errors"] == []
        assert result["kinds"][-1] == last
