# SPDX-License-Identifier: Apache-2.0
"""What keeps workers of one operation from each other's jobs."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import nats_secrets
from sonic_reference import sealing
from sonic_reference.sealing import Identity, SealError, Session

JOB = sealing.new_job()


def session(content: bytes = b"job") -> tuple[Session, Session]:
    """The API pod's end and the worker's end of a job."""
    worker = Identity("pod-1")
    ours, payload = sealing.Offers().seal(JOB, content, worker.key)
    theirs, opened = worker.open(JOB, payload)
    assert opened == content
    return ours, theirs


def test_both_ends_understand_each_other() -> None:
    ours, theirs = session()
    for _turn in range(3):
        assert ours.open("audio", theirs.seal("audio", b"sound")) == b"sound"
        assert theirs.open("credit", ours.seal("credit", b"7")) == b"7"
    assert ours.open("end", theirs.seal("end", b"")) == b""


def test_a_lost_message_breaks_no_later_one() -> None:
    ours, theirs = session()
    theirs.seal("beat", b"")
    assert ours.open("beat", theirs.seal("beat", b"second")) == b"second"


def test_nothing_of_the_job_is_readable() -> None:
    worker = Identity("pod-1")
    ours, payload = sealing.Offers().seal(JOB, b"CANARY text", worker.key)
    assert b"CANARY" not in payload
    assert b"CANARY" not in ours.seal("audio", b"CANARY sound")


def flipped(payload: bytes, place: int) -> bytes:
    """The payload with one bit changed."""
    changed = bytearray(payload)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(
    "change",
    [
        lambda payload: flipped(payload, 7),
        lambda payload: flipped(payload, 8),
        lambda payload: flipped(payload, -1),
        lambda payload: payload[:-1],
        lambda payload: payload[:8],
        lambda payload: payload[:3],
        lambda payload: b"",
        lambda payload: b"EVIL" * 500,
    ],
)
def test_changed_messages_are_refused(change: Callable[[bytes], bytes]) -> None:
    ours, theirs = session()
    payload = theirs.seal("audio", b"sound")
    with pytest.raises(SealError):
        ours.open("audio", change(payload))
    assert ours.open("audio", payload) == b"sound"


def test_a_message_counts_once_as_its_kind_and_in_its_direction() -> None:
    ours, theirs = session()
    payload = theirs.seal("audio", b"sound")
    with pytest.raises(SealError):
        ours.open("transcript", payload)
    with pytest.raises(SealError):
        theirs.open("audio", payload)
    ours.open("audio", payload)
    with pytest.raises(SealError):
        ours.open("audio", payload)


def test_only_the_worker_it_is_for_opens_a_job_under_its_name() -> None:
    worker, sibling = Identity("pod"), Identity("pod")
    ours, payload = sealing.Offers().seal(JOB, b"job", worker.key)
    with pytest.raises(SealError):
        sibling.open(JOB, payload)
    with pytest.raises(SealError):
        worker.open(sealing.new_job(), payload)
    # A worker with another job cannot answer this one.
    _unused, other = session()
    with pytest.raises(SealError):
        ours.open("accepted", other.seal("accepted", b"{}"))


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x",
        "é" * 43 + "=",
        base64.urlsafe_b64encode(bytes(31)).decode(),
        base64.urlsafe_b64encode(bytes(32)).decode(),
        base64.urlsafe_b64encode(bytes(33)).decode(),
    ],
)
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(SealError):
        sealing.Offers().seal(JOB, b"job", key)


def test_a_name_belongs_to_its_key() -> None:
    worker, other = Identity("tts-worker-0"), Identity("tts-worker-0")
    assert worker.name.startswith("tts-worker-0-")
    assert sealing.owns(worker.name, worker.key)
    assert not sealing.owns(worker.name, other.key)
    assert not sealing.owns("tts-worker-0", worker.key)
    assert not sealing.owns(worker.name, "")


def test_an_offering_is_proven_by_its_key_only() -> None:
    master, name = "m" * 64, Identity("pod").name
    key = sealing.offering_key(master, "tts", "sonic")
    given = sealing.proof(key, name)
    assert sealing.proven(given, master, "tts", "sonic", name)
    assert not sealing.proven(given, master, "tts", "sonic-2", name)
    assert not sealing.proven(given, master, "stt", "sonic", name)
    assert not sealing.proven(given, master, "tts", "sonic", Identity("pod").name)
    assert not sealing.proven("", master, "tts", "sonic", name)
    assert not sealing.proven("é", master, "tts", "sonic", name)


def test_roles_and_services_derive_the_same_key() -> None:
    assert nats_secrets.offering_key("m", "TTS", "sonic-3.5") == sealing.offering_key(
        "m", "tts", "sonic-3.5"
    )


def test_jobs_of_one_pod_and_worker_have_keys_of_their_own() -> None:
    worker, offers = Identity("pod"), sealing.Offers()
    first, payload = offers.seal("job-1", b"one", worker.key)
    second, other = offers.seal("job-2", b"two", worker.key)
    theirs, opened = worker.open("job-2", other)
    assert opened == b"two"
    with pytest.raises(SealError):
        worker.open("job-2", payload)
    with pytest.raises(SealError):
        first.open("audio", theirs.seal("audio", b"of the second"))
    assert second.open("beat", theirs.seal("beat", b"")) == b""


def test_what_is_remembered_is_bounded() -> None:
    offers = sealing.Offers()
    _session, early = offers.seal(JOB, b"early", (first := Identity("pod")).key)
    for _turn in range(1100):
        sealing.Offers().seal(JOB, b"", first.key)
        first.open(JOB, sealing.Offers().seal(JOB, b"other pod", first.key)[1])
    # The worker has forgotten this pod's secret, and finds it again.
    assert first.open(JOB, early)[1] == b"early"
    assert len(first._secrets) == 1024
