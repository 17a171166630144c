# SPDX-License-Identifier: Apache-2.0
"""Artifacts on the lab: from the bucket beside it to every pod, while people listen.

The lab's sync looks every five seconds. Its storage is an emulator of Google Cloud Storage, whose
objects are files of this machine, so that a test can spoil one, or take all of it away.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from kubernetes import client
from sonic_reference.voices import VARIANTS

from lab.waiting import wait, wait_while
from plugins.module_utils._kube.client import KubeClient, KubeError
from plugins.module_utils._kube.store import collection
from tests.playbooks import ROOT, ansible, on_lab
from tests.testinfra.crowd import Crowd

STACK = "cartesia"
SYNC = f"/api/v1/namespaces/{STACK}/services/artifact-sync:8080/proxy"
STREAMS = 8
POLL_S: int = yaml.safe_load((ROOT / "inventories/lab/group_vars/all/stack.yml").read_text())[
    "artifact_sync_interval"
]
# The reference also answers for an unknown voice id, in a way that follows from the id:
# here as a man. The file below makes it a woman's.
VOICE_ID = next(
    name
    for name in (f"test-voice-{number}" for number in range(100))
    if VARIANTS[zlib.crc32(name.encode()) % len(VARIANTS)].name == "m3"
)
VOICE = {"id": VOICE_ID, "name": "Test voice", "gender": "feminine", "variant": "f5"}
TEXT = "The quick brown fox jumps over the lazy dog."


def pitch(samples: np.ndarray[Any, Any], rate: int) -> float:
    """The usual pitch of speech in Hz: the median over its voiced parts, by autocorrelation."""
    size, low, high = rate // 20, rate // 400, rate // 60
    pitches = []
    for start in range(0, len(samples) - size, size):
        part = samples[start : start + size] - samples[start : start + size].mean()
        if np.abs(part).max() < 3000:
            continue
        alike = np.correlate(part, part, "full")[size - 1 :]
        best = low + int(alike[low:high].argmax())
        if alike[best] > 0.5 * alike[0]:
            pitches.append(rate / best)
    assert pitches, "nothing in it has a pitch"
    return float(np.median(pitches))


class RefusedError(Exception):
    """The API has not done what it was asked for; the text is what it said."""


class Site:
    """The lab as operator and client see it."""

    def __init__(self, info: dict[str, Any], core: client.CoreV1Api) -> None:
        self.info = info
        self.core = core
        self._kube = KubeClient(info["kubeconfig"])
        made = storage.Client(
            project="lab",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": info["storage"]["url"]},
        )
        self.bucket = made.bucket(info["storage"]["bucket"])

    def upload(self, name: str, content: bytes) -> str:
        """Put an object into the bucket; returns its generation."""
        blob = self.bucket.blob(name)
        blob.upload_from_string(content)
        return str(blob.generation)

    def remove(self, name: str) -> None:
        """Take an object out of the bucket, if it is there."""
        if blob := self.bucket.get_blob(name):
            blob.delete()

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """Ask the API through the ingress; returns what its JSON says.

        Raises RefusedError when there is no answer, or an error.
        """
        more = ["--max-time", "10", "--request", method]
        if body is not None:
            more += ["--json", json.dumps(body)]
        answer = self._curl(path, more)
        return json.loads(answer) if answer else None

    def _curl(self, path: str, more: list[str]) -> bytes:
        host = self.info["ingress_url"].removeprefix("https://")
        command = ["curl", "--silent", "--show-error", "--fail-with-body", *more]
        command += ["--cacert", self.info["ca_file"]]
        command += ["--resolve", f"{host}:443:{self.info['ingress_address']}"]
        command += ["-H", f"X-API-Key: {self.info['api_key']}"]
        command += [self.info["ingress_url"] + path]
        done = subprocess.run(command, check=False, capture_output=True)
        if done.returncode:
            raise RefusedError(f"{path}: {done.stderr.decode()} {done.stdout[:500].decode()}")
        return done.stdout

    def has(self, path: str) -> bool:
        """Whether the API answers a GET with success."""
        try:
            self.ask(path)
        except RefusedError:
            return False
        return True

    def say(self, voice: str, text: str = TEXT, **more: Any) -> tuple[float, float]:
        """Speak by a voice; returns seconds and pitch in Hz."""
        rate = 24000
        wanted = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": rate}
        fields = {"model_id": "sonic", "transcript": text, "voice": voice, "output_format": wanted}
        heard: list[bytes] = []

        def busy() -> str:
            # Not by curl's own retries: its output would have the answers of all attempts.
            try:
                asked = ["--max-time", "60", "--json", json.dumps(fields | more)]
                heard.append(self._curl("/tts/bytes", asked))
            except RefusedError as error:
                if re.search(r"error: (429|50[234])", str(error)):
                    return str(error)
                raise
            return ""

        wait_while(busy, 30)
        [sound] = heard
        samples = np.frombuffer(sound[: len(sound) // 2 * 2], "<i2").astype(float)
        return len(samples) / rate, pitch(samples, rate)

    def speaks(self, voice: str) -> bool:
        """Whether a voice is heard to its end."""
        try:
            return self.say(voice)[0] > 0
        except RefusedError:
            return False

    def pods(self, component: str) -> list[Any]:
        """Running pods of a component, of those that stay."""
        present = self.core.list_namespaced_pod(
            STACK, label_selector=f"app.kubernetes.io/component={component}"
        ).items
        return [
            pod
            for pod in present
            if pod.status.phase == "Running" and not pod.metadata.deletion_timestamp
        ]

    def followers(self) -> dict[str, Any]:
        """What the artifact sync serves, and who has what."""
        return self._kube.get(f"{SYNC}/followers")

    def figure(self, series: str) -> float:
        """One of the sync's figures, 0 where it has none."""
        match = re.search(
            rf"^{re.escape(series)} (\S+)$", self._kube.text(f"{SYNC}/metrics"), re.MULTILINE
        )
        return float(match[1]) if match else 0.0

    def failures(self, reason: str) -> float:
        """How many looks into the bucket failed for that reason."""
        return self.figure(f'artifact_sync_failures_total{{reason="{reason}"}}')

    def load(self) -> float:
        """Streams in progress, all workers together."""
        total = 0.0
        for pod in self.pods("worker"):
            try:
                name = f"{collection('pods', STACK)}/{pod.metadata.name}:8080"
                text = self._kube.text(f"{name}/proxy/metrics")
            except KubeError:
                continue  # it only starts
            match = re.search(r"^inferno_worker_load (\S+)$", text, re.MULTILINE)
            total += float(match[1]) if match else 0.0
        return total

    def just_looked(self) -> None:
        """Return when the sync has just looked into the bucket."""
        name = "artifact_sync_last_success_timestamp_seconds"
        before = self.figure(name)
        limit = time.monotonic() + 60
        while self.figure(name) == before:
            assert time.monotonic() < limit, "the sync no longer looks"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    """What is patched for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def site(
    info: dict[str, Any], core: client.CoreV1Api, monkeypatch_module: pytest.MonkeyPatch
) -> Iterator[Site]:
    """The lab, whose bucket is as it was afterwards."""
    # The official client's HTTP library takes its certificate authorities from there.
    monkeypatch_module.setenv("REQUESTS_CA_BUNDLE", info["ca_file"])
    made = Site(info, core)

    def mine() -> list[str]:
        return [blob.name for blob in made.bucket.list_blobs() if "/test-" in blob.name]

    for name in mine():
        made.remove(name)
    yield made
    subprocess.run(["podman", "start", info["storage"]["container"]], check=True)
    for name in mine():
        made.remove(name)
    wait("the pods have what is left", lambda: not made.has(f"/voices/{VOICE_ID}"))


@pytest.fixture
def voice(site: Site) -> str:
    """The id of a voice that every pod has."""
    if not site.has(f"/voices/{VOICE_ID}"):
        site.upload("voices/test-voice.json", json.dumps(VOICE).encode())
        wait("the voice is served", lambda: site.has(f"/voices/{VOICE_ID}"), 60)
    wait("all have it", lambda: site.figure('artifact_sync_followers{state="behind"}') == 0, 60)
    return VOICE_ID


def test_a_voice_arrives_and_speaks_while_others_are_heard(site: Site) -> None:
    before = site.say(VOICE_ID)[1]
    assert not site.has(f"/voices/{VOICE_ID}")
    # So much text that the buffers on the way do not hold all of its speech: the workers are busy.
    with Crowd(site.info, STREAMS, sentences=40) as crowd:
        wait(f"{STREAMS} streams run", lambda: site.load() >= STREAMS, 180)
        site.upload("voices/test-voice.json", json.dumps(VOICE).encode())
        took = wait("the voice is served", lambda: site.has(f"/voices/{VOICE_ID}"), 60)
        listening = site.load()
        heard = crowd.leave()
    print(f"a voice put into the bucket is served after {took:.1f} s")
    # One interval, the download, and a request a pod: far less than another interval.
    assert took < POLL_S + 4
    assert listening >= STREAMS - 1
    assert heard.broken == []
    assert heard.whole >= STREAMS

    def missing() -> set[str]:
        """Pods that do not have the newest generation; some of them have just come."""
        followers = site.followers()
        pods = {f"api/{pod.metadata.name}" for pod in site.pods("api")}
        pods |= {f"worker/{pod.metadata.name}" for pod in site.pods("worker")}
        return {pod for pod in pods if followers["followers"].get(pod) != followers["generation"]}

    wait_while(missing, 90)
    after = site.say(VOICE_ID)[1]
    print(f"its pitch: {before:.0f} Hz before, {after:.0f} Hz after")
    assert after > before * 1.25


def test_a_spoilt_object_is_never_seen(site: Site, voice: str) -> None:
    generation = site.followers()["generation"]
    before = site.failures("mismatch")
    spoilt = VOICE | {"id": "test-spoilt", "name": "Spoilt"}
    site.just_looked()
    site.upload("voices/test-spoilt.json", json.dumps(spoilt).encode())
    [path] = Path(site.info["storage"]["folder"]).rglob("*test-spoilt.json")
    with path.open("r+b") as file:
        content = bytearray(file.read())
        content[content.index(b"Spoilt")] ^= 1
        file.seek(0)
        file.write(content)
    try:
        seen: list[bool] = []

        def refused_twice() -> bool:
            seen.append(site.has("/voices/test-spoilt"))
            return site.failures("mismatch") >= before + 2

        wait("the sync has refused it twice", refused_twice, 120)
        assert not any(seen)
        assert site.followers()["generation"] == generation
        # The others are served as before.
        assert site.has(f"/voices/{voice}")
    finally:
        site.remove("voices/test-spoilt.json")
    site.just_looked()


def test_speech_goes_on_while_the_bucket_is_away(
    site: Site, apps: client.AppsV1Api, voice: str
) -> None:
    container = site.info["storage"]["container"]
    before = site.failures("source")
    with Crowd(site.info, 2, sentences=4) as crowd:
        subprocess.run(["podman", "stop", "--time", "1", container], check=True)
        stopped = time.time()
        try:
            wait("the sync misses it", lambda: site.failures("source") >= before + 2, 120)
            last = site.figure("artifact_sync_last_success_timestamp_seconds")
            assert last <= stopped + 1
            # A pod that is new has everything all the same.
            replace(site, "api")
            wait("the API is ready", lambda: ready(apps, "cartesia-api"), 120)
            wait("it knows the voice", lambda: site.has(f"/voices/{voice}"), 60)
            assert site.figure("artifact_sync_last_success_timestamp_seconds") == last
        finally:
            subprocess.run(["podman", "start", container], check=True)
        heard = crowd.leave()
    assert heard.whole > 0
    site.just_looked()


def identities(pods: list[Any]) -> set[str]:
    """What tells pods apart, also those of one name."""
    return {pod.metadata.uid for pod in pods}


def replace(site: Site, component: str) -> None:
    """Delete all pods of a component, and wait until as many others run."""
    before = site.pods(component)
    for pod in before:
        site.core.delete_namespaced_pod(pod.metadata.name, STACK, grace_period_seconds=1)

    def others() -> bool:
        now = identities(site.pods(component))
        return len(now) >= len(before) and not now & identities(before)

    wait(f"other pods of {component}", others, 120)


def ready(apps: client.AppsV1Api, name: str) -> bool:
    """Whether all pods that a Deployment wants are ready."""
    status = apps.read_namespaced_deployment_status(name, STACK)
    return bool((status.status.ready_replicas or 0) >= status.spec.replicas)


@pytest.fixture
def two_pods(site: Site, apps: client.AppsV1Api) -> Iterator[None]:
    """Two API pods, and as many as there were afterwards."""
    name = "cartesia-api"
    before = apps.read_namespaced_deployment(name, STACK).spec.replicas

    def scale(count: int) -> None:
        apps.patch_namespaced_deployment_scale(name, STACK, {"spec": {"replicas": count}})
        wait(
            f"{count} API pods",
            lambda: len(site.pods("api")) == count and ready(apps, name),
            120,
        )

    scale(2)
    yield
    scale(before)


@pytest.mark.usefixtures("two_pods")
def test_a_dictionary_is_every_pods_and_outlasts_them_all(site: Site) -> None:
    def everywhere(path: str) -> Callable[[], bool]:
        """Whether so many answers in a row know it that two pods have given them."""
        return lambda: all(site.has(path) for _unused in range(12))

    items = [{"text": "fox", "alias": "crocodile and hippopotamus and rhinoceros"}]
    made = site.ask("/pronunciation-dicts/", "POST", {"name": "test", "items": items})
    path = f"/pronunciation-dicts/{made['id']}"
    usual = site.say("anybody")[0]
    try:
        wait("both pods know it", everywhere(path), 30)
        for component in ("api", "nats"):
            replace(site, component)
            # Where all NATS servers were away, it takes them a moment to be asked again.
            wait("the site speaks", lambda: site.speaks("anybody"), 120)
            wait(f"known again, {component} restarted", everywhere(path), 60)
            longer = site.say("anybody", pronunciation_dict_id=made["id"])[0]
            assert longer > usual + 1
        changed = site.ask(path, "PATCH", {"name": "test, later"})
        assert changed["name"] == "test, later"
    finally:
        site.ask(path, "DELETE")
    assert not site.has(path)


def test_operators_add_and_remove_by_a_playbook(site: Site, tmp_path: Path) -> None:
    words = {
        "id": "test-house", "name": "House words",
        "items": [{"text": "fox", "alias": "crocodile and hippopotamus"}],
    }  # fmt: skip
    file = tmp_path / "test-house.json"
    file.write_text(json.dumps(words))

    def changed(**variables: Any) -> int:
        [count] = re.findall(r"changed=(\d+)", on_lab("artifacts.yml", **variables))
        return int(count)

    assert changed(artifacts_pronunciation_dicts=[str(file)]) == 1
    # The playbook has waited, so every pod has it now.
    assert all(site.has("/pronunciation-dicts/test-house") for _unused in range(5))
    assert changed(artifacts_pronunciation_dicts=[str(file)]) == 0

    bad = tmp_path / "test-bad.json"
    bad.write_text(json.dumps(VOICE | {"id": "test-bad", "variant": "none"}))
    done = ansible(
        "-i", "inventories/lab", "playbooks/artifacts.yml", "-e",
        json.dumps({"artifacts_voices": [str(bad)], "artifacts_timeout": 60}),
        environment={"LAB_STATE": str(Path(site.info["ca_file"]).parent)},
    )  # fmt: skip
    assert done.returncode != 0
    assert "voices/test-bad.json: variant:" in done.stdout
    assert not site.has("/voices/test-bad")

    gone = ["voices/test-bad.json", "pronunciation-dicts/test-house.json"]
    assert changed(artifacts_removed=gone) == 1
    assert not site.has("/pronunciation-dicts/test-house")


@pytest.mark.soak
def test_the_bucket_is_read_through_the_gateway(site: Site) -> None:
    [sync] = site.pods("artifact-sync")
    [alias] = sync.spec.host_aliases
    [name] = alias.hostnames

    def noted() -> bool:
        logs = "".join(
            site.core.read_namespaced_pod_log(pod.metadata.name, STACK, tail_lines=2000)
            for pod in site.pods("egress-gateway")
        )
        # HAProxy writes a line when a connection ends: who, and the name that was asked for.
        return f"{sync.status.pod_ip} {name} ->" in logs

    site.upload("voices/test-log.json", json.dumps(VOICE | {"id": "test-log"}).encode())
    wait("the voice is served", lambda: site.has("/voices/test-log"), 60)
    subprocess.run(
        ["podman", "restart", "--time", "1", site.info["storage"]["container"]], check=True
    )
    wait("the gateway's log has the sync's connections", noted, 60)
