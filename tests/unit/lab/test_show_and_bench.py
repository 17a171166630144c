# SPDX-License-Identifier: Apache-2.0
"""What the lab's commands show and measure of a running lab."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from lab import bench, bench_speech, show
from lab.bundle.steps import run
from lab.config import Lab, LabError
from tests.unit.lab.conftest import Programs

# The remote side of ssh: a shell that gets the words behind the address as one line.
SSH = 'while [ "${1#root@}" = "$1" ]; do shift; done; shift; exec sh -c "$*"'
RECAP = """\
PLAY RECAP *********************************************************************
cp1                        : ok=48   changed=0    unreachable=0    failed=0    skipped=12
gpu-with-a-name-of-more-than-26.example.com : ok=20   changed=2    unreachable=0    skipped=3
ok: [cp1] => {"msg": "x : ok=1 changed=1"}
"""


@pytest.fixture
def lab() -> Lab:
    made = Lab("lab", subnet="172.30.0.0/24", api_key="sk_lab_key")
    made.hosts = {"cp1": {"address": "172.30.0.11", "gpus": 0, "groups": ["control_plane"]}}
    made.save()
    return made


def test_words_arrive_at_the_host_as_they_were_given(lab: Lab, programs: Programs) -> None:
    programs.put("ssh", SSH)
    words = ["a b", "$HOME", "it's", 'say "x"', "nvidia\\.com/gpu", "[-1]", "", "*"]
    assert show.on_leader(lab, "printf", "%s|", *words) == "|".join([*words, ""])


def test_kubeconfig_is_for_the_owner_only(lab: Lab, programs: Programs) -> None:
    programs.put("ssh", "echo 'apiVersion: v1'")
    show.fetch_kubeconfig(lab)
    assert lab.kubeconfig.read_text() == "apiVersion: v1\n"
    assert stat.S_IMODE(lab.kubeconfig.stat().st_mode) == 0o600


def test_interrupted_fetch_leaves_no_half_kubeconfig(
    lab: Lab, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """'make lab-info' fetches it only where there is none: half of one would stay for good."""

    def interrupted(path: Path, text: str, encoding: str) -> None:
        with path.open("w", encoding=encoding) as stream:
            stream.write(text[:5])
        raise KeyboardInterrupt

    programs.put("ssh", "echo 'apiVersion: v1'")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", interrupted)
        with pytest.raises(KeyboardInterrupt):
            show.fetch_kubeconfig(lab)
    assert not lab.kubeconfig.exists()
    show.fetch_kubeconfig(lab)
    assert lab.kubeconfig.read_text() == "apiVersion: v1\n"


def test_info_is_json_and_names_the_files_of_this_lab(lab: Lab) -> None:
    shown = json.loads(json.dumps(show.info(lab)))
    assert shown["ingress_address"] == "172.30.0.11"
    assert shown["hosts"]["cp1"]["container"] == "sonic-lab-cp1"
    for name in ("ca_file", "kubeconfig", "ssh_key"):
        assert Path(shown[name]).parent == lab.directory


def test_prometheus_is_where_the_inventory_opens_it(lab: Lab) -> None:
    assert show.prometheus_url(lab) == f"http://{lab.address(11)}:30090"


def test_example_of_what_to_try_can_be_pasted_into_a_shell(lab: Lab, programs: Programs) -> None:
    text = show.TRY_NEXT.format(lab=lab, host="speech.lab.test", resolve="r")
    example = text[text.index("curl") : text.index("  KUBECONFIG")]
    programs.put("curl", 'for word; do last=$word; done; printf %s "$last"')
    request = json.loads(run(["sh", "-c", example]))
    assert request["voice"] == {"mode": "id", "id": "en-us"}
    assert "X-API-Key: sk_lab_key" in programs.ran[0]


def test_recap_of_ansible() -> None:
    assert bench.recap(RECAP) == {
        "cp1": (48, 0, 12),
        "gpu-with-a-name-of-more-than-26.example.com": (20, 2, 3),
    }


def test_bench_of_no_lab_or_a_failing_playbook(
    lab: Lab,
    programs: Programs,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    programs.put("podman", "echo '[]'")
    plots: list[object] = []
    monkeypatch.setattr("lab.bench_speech.measure", plots.append)
    bench.run(lab)
    assert "no lab lab is running (make lab LAB=lab)" in capsys.readouterr().out
    assert plots == [lab.directory / "batching.html"]
    monkeypatch.setattr("lab.hosts.running", lambda _lab: ["sonic-lab-cp1"])
    programs.put("ansible-playbook", "echo 'fatal: [cp1]'; exit 2")
    with pytest.raises(LabError, match=re.compile("hosts.yml failed:.*fatal", re.DOTALL)):
        bench.run(lab)
    assert not (lab.directory / "timings.json").exists()


def test_bench_says_what_changed(
    lab: Lab,
    programs: Programs,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LAB_TIMINGS", raising=False)
    programs.put("podman", "echo none-of-this-id")
    monkeypatch.setattr("lab.hosts.running", lambda _lab: ["sonic-lab-cp1"])
    programs.put("ansible-playbook", f"cat <<'END'\n{RECAP}END")
    loaded: list[object] = []
    monkeypatch.setattr("lab.bench_ingress.measure", loaded.append)
    monkeypatch.setattr("lab.bench_speech.measure", loaded.append)
    bench.run(lab)
    output = capsys.readouterr().out
    assert "cp1 48+12, gpu-with-a-name-of-more-than-26.example.com 20+3, CHANGED 2" in output
    timings = json.loads((lab.directory / "timings.json").read_text())
    assert list(timings) == list(bench.PLAYBOOKS)
    assert loaded == [lab, lab.directory / "batching.html"]


def test_batching_is_drawn_with_a_line_for_each_size() -> None:
    heard = [bench_speech.Heard(0.05, 0.5, 2.0)]
    cells = {name: {n: bench_speech.Cell(1.0, 70, heard) for n in (1, 8)} for name in ("1", "<8>")}
    drawn = bench_speech.page(cells)
    assert drawn.count("<svg") == len(bench_speech.FIGURES)
    assert drawn.count("<polyline") == 2 * len(bench_speech.FIGURES)
    assert "B = &lt;8&gt;" in drawn
    assert bench_speech.Cell(1.0, 70, heard).row().split() == ["50", "50", "0.250", "70"]
