# SPDX-License-Identifier: Apache-2.0
"""kubeadm_node, run with programs that write kubeadm's files, also interrupted."""

from __future__ import annotations

import base64
import json
import shlex
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._host import kubeadm, kubeadm_settings
from ansible_collections.baremetal.sonic.plugins.modules import kubeadm_node

from tests.unit.plugins.modules.running import Modules

SECRET = {"token": "abcdef.0123456789abcdef", "ca_cert_hash": "sha256:" + "0f" * 32}
INIT = [{"kind": "InitConfiguration"}, {"kind": "ClusterConfiguration", "clusterName": "a: b"}]
JOIN: dict[str, Any] = {"state": "joined", "endpoint": "192.0.2.11:6443", "secret": SECRET}
OBJECTS = "\n".join(kubeadm.LAST_OBJECTS)


def token_secret(name: str, description: str | None) -> dict[str, Any]:
    """A join token's Secret, as the API has it."""
    encoded = base64.b64encode((description or "").encode()).decode()
    data = {"token-secret": "c2VjcmV0"} | ({"description": encoded} if description else {})
    return {"metadata": {"name": f"bootstrap-token-{name}"}, "data": data}


class Host:
    """The folders that kubeadm and the kubelet keep."""

    def __init__(self, folder: Path, modules: Modules) -> None:
        self.etc = folder / "etc"
        self.kubelet = folder / "kubelet"
        self.run = folder / "run"
        self.given = folder / "given.yaml"
        self.pods = folder / "pods.json"
        self.pods.write_text('{"items": []}', encoding="utf-8")
        for path in (self.etc, self.kubelet, self.run):
            path.mkdir()
        self.modules = modules

    def leave(self, *names: str) -> None:
        """Make files as kubeadm does."""
        for name in names:
            path = (self.etc if name.endswith((".conf", ".crt")) else self.kubelet) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def kubeadm(self, script: str = "") -> None:
        """A kubeadm that keeps a copy of its configuration, then does what the script says."""
        keep = (
            'for word; do case $word in --config=*) f=${word#--config=}; stat -c %a "$f" >'
            f' {self.given}.mode; cp "$f" {self.given};; esac; done'
        )
        self.modules.program("kubeadm", f"{keep}\n{script}")

    def kubectl(self, *tokens: dict[str, Any], objects: str = f"echo '{OBJECTS}'") -> None:
        """A kubectl of a cluster with these join tokens."""
        secrets = self.run.parent / "secrets.json"
        secrets.write_text(json.dumps({"items": tokens}), encoding="utf-8")
        self.modules.program(
            "kubectl",
            f'case "$*" in *"get secrets"*) cat {secrets};;'
            ' *"delete secrets"*) for word; do case $word in bootstrap-token-*)'
            f' if grep -q "$word" {secrets}; then echo "secret/$word"; fi;; esac; done;;'
            f' *"get pods"*) cat {self.pods};; *) {objects};; esac',
        )

    @property
    def joins(self) -> list[str]:
        """The commands so far but for those that look after join tokens and settings."""
        return [
            line
            for line in self.modules.ran
            if not line.startswith(("kubectl get secrets", "kubectl get pods"))
        ]

    def call(self, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run the module; no file with a secret may be left by it."""
        result = self.modules.call(kubeadm_node.main, check=check, **options)
        assert list(self.run.iterdir()) == []
        return result


@pytest.fixture
def host(modules: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path, modules)
    for name in ("ADMIN", "BOOTSTRAP", "INITIALIZED"):
        monkeypatch.setattr(kubeadm, name, made.etc / getattr(kubeadm, name).name)
    for function in (kubeadm.joined, kubeadm.bootstrapped, kubeadm.started):
        monkeypatch.setattr(function, "__defaults__", (made.etc, made.kubelet))
    in_run = partial(tempfile.mkstemp, dir=made.run)
    monkeypatch.setattr(
        "tempfile.mkstemp",
        lambda prefix, suffix, **_dir: in_run(prefix=prefix, suffix=suffix),
    )
    made.kubeadm()
    made.kubectl()
    return made


def test_initialize_once(host: Host, modules: Modules) -> None:
    host.kubeadm(f"touch {host.etc}/admin.conf")
    assert host.call(state="initialized", config=INIT) == {"changed": True, "joined": True}
    documents = [json.loads(text) for text in host.given.read_text().split("\n---\n")]
    assert documents[1:] == INIT[1:]
    assert documents[0]["kind"] == "InitConfiguration"
    assert Path(f"{host.given}.mode").read_text() == "600\n"
    assert host.call(state="initialized", config=INIT) == {"changed": False, "joined": True}
    assert len([line for line in modules.ran if line.startswith("kubeadm")]) == 1
    assert "ignore-preflight-errors" not in modules.ran[0]


@pytest.mark.parametrize("options", [{"state": "initialized", "config": INIT}, JOIN])
def test_check_mode_runs_nothing(host: Host, modules: Modules, options: dict[str, Any]) -> None:
    assert host.call(check=True, **options) == {"changed": True, "joined": False}
    assert modules.ran == []
    assert list(host.etc.iterdir()) == []


def test_check_mode_makes_no_token(host: Host, modules: Modules) -> None:
    result = host.call(check=True, state="token")
    assert result == {"changed": True, "joined": False, "secret": {}}
    assert modules.ran == []


def test_interrupted_init_is_finished_with_what_it_left(host: Host, modules: Modules) -> None:
    host.leave("pki/ca.crt", "admin.conf", "config.yaml")
    host.kubectl(objects="echo 'connection refused' >&2; exit 1")
    assert host.call(
        state="initialized", config=INIT, ignore_preflight_errors=["Swap"], api_timeout=600
    )["changed"]
    kubectl, init, _tokens = modules.ran
    assert kubectl.startswith("kubectl get")
    ignored = init.split("--ignore-preflight-errors=")[1].split()[0].split(",")
    assert {"Swap", "Port-6443", "FileAvailable--etc-kubernetes-pki-ca.crt"} <= set(ignored)
    assert kubeadm.INITIALIZED.exists()


def test_init_interrupted_before_its_last_phase_is_run_again(host: Host, modules: Modules) -> None:
    host.leave("pki/ca.crt", "admin.conf")
    host.kubectl(objects=f"echo {kubeadm.LAST_OBJECTS[0]}")
    assert host.call(state="initialized", config=INIT)["changed"]
    assert modules.ran[1].startswith("kubeadm init")


def test_failed_init_is_not_taken_for_a_finished_one(host: Host, modules: Modules) -> None:
    host.kubeadm(
        "echo '[init] Using Kubernetes version: v1.36.3'\n"
        "printf 'W1121 a warning\\nerror: error execution phase preflight\\n"
        "\\t[ERROR NumCPU]: the number of available CPUs 1 is less than 2\\n' >&2; exit 1"
    )
    result = host.call(state="initialized", config=INIT)
    assert result["msg"] == (
        "kubeadm init failed: error: error execution phase preflight\n"
        "\t[ERROR NumCPU]: the number of available CPUs 1 is less than 2"
    )
    assert not kubeadm.INITIALIZED.exists()


def test_complete_control_plane_without_an_answer_is_never_initialized_again(
    host: Host, modules: Modules
) -> None:
    host.leave("admin.conf")
    kubeadm.INITIALIZED.touch()
    modules.program("kubectl", "printf 'noise\\nconnection refused\\n' >&2; exit 1")
    result = host.call(state="initialized", config=INIT, api_timeout=0)
    assert "has not answered for 0 s: connection refused" in result["msg"]
    assert "journalctl -u kubelet" in result["msg"]
    assert not any(line.startswith("kubeadm") for line in modules.ran)


def test_complete_control_plane_that_starts_is_waited_for(host: Host, modules: Modules) -> None:
    host.leave("admin.conf")
    kubeadm.INITIALIZED.touch()
    flag = host.run.parent / "asked"
    host.kubectl(objects=f"test -e {flag} || {{ touch {flag}; exit 1; }}; echo '{OBJECTS}'")
    assert not host.call(state="initialized", config=INIT)["changed"]
    assert len(host.joins) == 2


def test_complete_control_plane_whose_kubeconfig_is_gone(host: Host, modules: Modules) -> None:
    kubeadm.INITIALIZED.touch()
    host.leave("pki/ca.crt")
    result = host.call(state="initialized", config=INIT)
    assert "kubeadm init phase kubeconfig admin" in result["msg"]
    assert modules.ran == []


def test_a_reset_host_is_initialized_again(host: Host, modules: Modules) -> None:
    """`kubeadm reset` leaves the mark of the earlier cluster, and no CA."""
    kubeadm.INITIALIZED.touch()
    assert host.call(state="initialized", config=INIT) == {"changed": True, "joined": True}


def test_check_mode_does_not_mark_a_control_plane_of_others(host: Host) -> None:
    host.leave("admin.conf")
    assert not host.call(check=True, state="initialized", config=INIT)["changed"]
    assert not kubeadm.INITIALIZED.exists()
    assert not host.call(state="initialized", config=INIT)["changed"]
    assert kubeadm.INITIALIZED.exists()


def test_join_once(host: Host, modules: Modules) -> None:
    left = ["etc/kubelet.conf", "kubelet/config.yaml", "kubelet/pki/kubelet-client-current.pem"]
    paths = shlex.join(str(host.run.parent / name) for name in left)
    host.kubeadm(f"mkdir -p {host.kubelet}/pki && touch {paths}")
    base = {"nodeRegistration": {"name": "gpu1"}}
    assert host.call(**JOIN, config=[base]) == {"changed": True, "joined": True}
    given = json.loads(host.given.read_text())
    assert given["nodeRegistration"] == base["nodeRegistration"]
    assert given["discovery"]["bootstrapToken"] == {
        "apiServerEndpoint": "192.0.2.11:6443",
        "token": SECRET["token"],
        "caCertHashes": [SECRET["ca_cert_hash"]],
    }
    assert SECRET["token"] not in modules.ran[0]
    assert host.call(**JOIN) == {"changed": False, "joined": True}
    assert len(modules.ran) == 1


def test_join_interrupted_after_the_certificate_is_not_repeated(
    host: Host, modules: Modules
) -> None:
    host.leave("kubelet.conf", "bootstrap-kubelet.conf")
    host.leave("config.yaml", "pki/kubelet-client-current.pem")
    assert host.call(state="queried") == {"changed": False, "joined": False}
    assert host.call(**JOIN) == {"changed": True, "joined": True}
    assert host.call(state="queried") == {"changed": False, "joined": True}
    assert modules.ran == []


def test_join_interrupted_before_the_certificate_is_repeated(host: Host, modules: Modules) -> None:
    host.leave("bootstrap-kubelet.conf", "pki/ca.crt")
    host.call(**JOIN)
    assert "FileAvailable--etc-kubernetes-bootstrap-kubelet.conf" in modules.ran[0]


def test_failed_join_says_why_and_keeps_the_token_to_itself(host: Host) -> None:
    host.kubeadm("echo 'error: could not find a JWS signature for abcdef' >&2; exit 1")
    result = host.call(**JOIN)
    assert result["msg"].startswith("kubeadm join failed: error: could not find a JWS signature")
    assert SECRET["token"] not in json.dumps(result)


@pytest.mark.parametrize("secret", [{}, {"token": "abcdef.0123456789abcdef"}])
def test_join_without_a_whole_secret(host: Host, modules: Modules, secret: dict[str, str]) -> None:
    """What check mode's token returns, or a variable filled by hand."""
    result = host.call(**JOIN | {"secret": secret})
    assert "secret lacks" in result["msg"]
    assert "state=token" in result["msg"]
    assert modules.ran == []


def test_token(host: Host, modules: Modules) -> None:
    words = f"--token {SECRET['token']} --discovery-token-ca-cert-hash {SECRET['ca_cert_hash']}"
    host.kubeadm(f"echo 'kubeadm join 192.0.2.11:6443 {words} '")
    result = host.call(state="token", token_minutes=5)
    assert result["secret"] == SECRET
    assert "--ttl=5m" in modules.ran[0]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'error: dial tcp: connection refused' >&2; exit 1", "connection refused"),
        ("echo 'kubeadm join --token a.b --odd'", "no --discovery-token-ca-cert-hash"),
    ],
)
def test_token_that_cannot_be_made(host: Host, script: str, message: str) -> None:
    host.kubeadm(script)
    result = host.call(state="token")
    assert result["failed"]
    assert result["msg"].startswith("no join token could be made: ")
    assert message in result["msg"]


@pytest.mark.parametrize(
    ("state", "missing"), [("initialized", "config"), ("joined", "endpoint, secret")]
)
def test_missing_options_are_named(host: Host, state: str, missing: str) -> None:
    assert missing in host.call(state=state)["msg"]


def test_init_makes_no_token_that_lives_a_day(host: Host, modules: Modules) -> None:
    """kubeadm makes one in any case: a short one with our mark, removed in the same call."""
    host.kubeadm(f"touch {host.etc}/admin.conf")
    host.kubectl(token_secret("aaaaaa", kubeadm.OWN_TOKEN), token_secret("bbbbbb", "of a person"))
    for config in (INIT, [{"kind": "InitConfiguration", "bootstrapTokens": []}], INIT[1:]):
        kubeadm.INITIALIZED.unlink(missing_ok=True)
        kubeadm.ADMIN.unlink(missing_ok=True)
        host.call(state="initialized", config=config)
        [init] = [
            item
            for item in map(json.loads, host.given.read_text().split("\n---\n"))
            if item["kind"] == "InitConfiguration"
        ]
        assert init["bootstrapTokens"] == [{"description": kubeadm.OWN_TOKEN, "ttl": "15m0s"}]
        delete = modules.ran[-1]
        assert delete.startswith("kubectl delete secrets bootstrap-token-aaaaaa --")


def test_a_token_left_by_an_interrupted_run_is_removed_by_the_next(
    host: Host, modules: Modules
) -> None:
    host.leave("admin.conf")
    host.kubectl(
        token_secret("aaaaaa", kubeadm.OWN_TOKEN),
        token_secret("bbbbbb", "of a person"),
        token_secret("cccccc", None),
    )
    assert host.call(check=True, state="initialized", config=INIT)["changed"]
    assert not [line for line in modules.ran if "delete" in line]
    assert host.call(state="initialized", config=INIT)["changed"]
    [delete] = [line for line in modules.ran if "delete" in line]
    assert "bootstrap-token-aaaaaa" in delete
    assert "bbbbbb" not in delete
    assert "cccccc" not in delete
    host.kubectl(token_secret("bbbbbb", "of a person"))
    assert not host.call(state="initialized", config=INIT)["changed"]


def test_tokens_that_cannot_be_looked_at_are_no_success(host: Host, modules: Modules) -> None:
    host.leave("admin.conf")
    modules.program(
        "kubectl",
        f'case "$*" in *secrets*) echo "Error: timed out" >&2; exit 1;; *) echo "{OBJECTS}";; esac',
    )
    kubeadm.INITIALIZED.write_text(kubeadm_settings.initial_settings(INIT))
    result = host.call(state="initialized", config=INIT)
    assert "could not be removed: Error: timed out" in result["msg"]


def test_a_joins_token_is_removed_after_it(host: Host, modules: Modules) -> None:
    host.kubectl(token_secret("abcdef", kubeadm.OWN_TOKEN))
    revoke: dict[str, Any] = {"state": "revoked", "secret": SECRET}
    assert host.call(check=True, **revoke)["changed"]
    assert modules.ran == []
    assert host.call(**revoke) == {"changed": True, "joined": False}
    assert "bootstrap-token-abcdef" in modules.ran[0]
    assert SECRET["token"] not in modules.ran[0]
    host.kubectl()
    assert not host.call(**revoke)["changed"]
    # What check mode's token returns.
    assert not host.call(state="revoked", secret={})["changed"]
    modules.program("kubectl", "echo 'Error: forbidden' >&2; exit 1")
    assert "could not be removed: Error: forbidden" in host.call(**revoke)["msg"]


def test_a_token_is_made_with_our_mark(host: Host, modules: Modules) -> None:
    words = f"--token {SECRET['token']} --discovery-token-ca-cert-hash {SECRET['ca_cert_hash']}"
    host.kubeadm(f"echo 'kubeadm join 192.0.2.11:6443 {words} '")
    host.call(state="token")
    assert f"--description={kubeadm.OWN_TOKEN}" in modules.ran[0]


AUDITED: list[dict[str, Any]] = [
    {
        "kind": "ClusterConfiguration",
        "apiServer": {"extraArgs": [{"name": "audit-log-maxage", "value": "30"}]},
        "scheduler": {"extraArgs": [{"name": "bind-address", "value": "0.0.0.0"}]},
    }
]


def test_the_key_for_secrets_is_made_once_and_before_init(
    host: Host, modules: Modules, tmp_path: Path
) -> None:
    path = tmp_path / "kubernetes/own/encryption.json"
    options: dict[str, Any] = {
        "state": "initialized",
        "config": INIT,
        "encryption_config": str(path),
    }
    assert host.call(check=True, **options)["changed"]
    assert not path.exists()
    host.kubeadm(f"test -s {path} || exit 1; echo 'error: interrupted' >&2; exit 1")
    result = host.call(**options)
    assert "error: interrupted" in result["msg"]
    key = json.loads(path.read_text())["resources"][0]["providers"][0]["secretbox"]["keys"][0]
    assert len(base64.b64decode(key["secret"])) == 32
    assert key["secret"] not in json.dumps(result) + modules.printed
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    host.kubeadm(f"touch {host.etc}/admin.conf")
    assert host.call(**options)["changed"]
    assert key["secret"] in path.read_text()


def test_settings_that_came_after_init_are_named(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once they were ignored without a word."""
    warnings: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda self, warning: warnings.append(warning))
    host.kubeadm(f"touch {host.etc}/admin.conf")
    host.call(state="initialized", config=AUDITED)
    assert "not_applied" not in host.call(state="initialized", config=AUDITED)
    changed = [AUDITED[0] | {"apiServer": {"extraArgs": []}, "networking": {"podSubnet": "10/8"}}]
    result = host.call(state="initialized", config=changed)
    assert result["not_applied"] == [
        "ClusterConfiguration.apiServer.extraArgs",
        "ClusterConfiguration.networking",
    ]
    [warning] = warnings
    assert "only when it initializes a cluster" in warning
    assert "ClusterConfiguration.networking" in warning
    assert "docs/cluster.md" in warning
    assert not result["changed"]


def test_settings_of_a_cluster_of_others_are_compared_with_its_programs(host: Host) -> None:
    host.leave("admin.conf")
    containers: list[dict[str, Any]] = [
        {"name": "kube-apiserver", "command": ["kube-apiserver", "--audit-log-maxage=7"]},
        {"name": "kube-scheduler", "command": ["kube-scheduler", "--bind-address=0.0.0.0"]},
    ]
    pods = [{"spec": {"containers": [container]}} for container in containers]
    host.pods.write_text(json.dumps({"items": pods}))
    result = host.call(state="initialized", config=AUDITED)
    assert result["not_applied"] == ["kube-apiserver --audit-log-maxage"]
    containers[0]["command"][1] = "--audit-log-maxage=30"
    host.pods.write_text(json.dumps({"items": pods}))
    assert "not_applied" not in host.call(state="initialized", config=AUDITED)
