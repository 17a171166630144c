# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Read from kubeadm's files what state a host is in, and run kubeadm."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

ETC = Path("/etc/kubernetes")
ADMIN = ETC / "admin.conf"
BOOTSTRAP = ETC / "bootstrap-kubelet.conf"
KUBELET_STATE = Path("/var/lib/kubelet")
# Written when `kubeadm init` has finished. From then on, an API that does not answer is a fault,
# not an initialization to finish.
INITIALIZED = ETC / ".baremetal-sonic-initialized"

# `kubeadm init` creates these last (phase addon). If they exist, it was complete.
LAST_OBJECTS = ("configmap/kubeadm-config", "daemonset.apps/kube-proxy", "deployment.apps/coredns")

# The type of Secrets with join tokens.
TOKEN_TYPE = "bootstrap.kubernetes.io/token"
# Marks this module's tokens. It removes no others.
OWN_TOKEN = "For one join, by baremetal.sonic; removed after it."

# Preflight checks that fail only because an interrupted run left something behind.
RESUME = (
    "FileAvailable--etc-kubernetes-bootstrap-kubelet.conf",
    "FileAvailable--etc-kubernetes-kubelet.conf",
    "FileAvailable--etc-kubernetes-manifests-etcd.yaml",
    "FileAvailable--etc-kubernetes-manifests-kube-apiserver.yaml",
    "FileAvailable--etc-kubernetes-manifests-kube-controller-manager.yaml",
    "FileAvailable--etc-kubernetes-manifests-kube-scheduler.yaml",
    "FileAvailable--etc-kubernetes-pki-ca.crt",
    "DirAvailable--etc-kubernetes-manifests",
    "DirAvailable--var-lib-etcd",
    "Port-10250",
    "Port-10257",
    "Port-10259",
    "Port-2379",
    "Port-2380",
    "Port-6443",
)


class Runner(Protocol):
    """The part of AnsibleModule.run_command that is used here."""

    def __call__(self, args: list[str]) -> tuple[int, str, str]:
        """Run a command; return exit code, stdout and stderr."""


def joined(etc: Path = ETC, kubelet: Path = KUBELET_STATE) -> bool:
    """Whether this host's kubelet has its certificate and kubeadm has finished the join.

    kubeadm removes bootstrap-kubelet.conf when the kubelet's certificate has been issued.
    """
    return bootstrapped(etc, kubelet) and not (etc / BOOTSTRAP.name).exists()


def bootstrapped(etc: Path = ETC, kubelet: Path = KUBELET_STATE) -> bool:
    """Whether the kubelet's certificate has been issued, even if kubeadm has not seen it.

    The kubelet writes kubelet.conf when it has the certificate. From then on it needs no token.
    """
    return (
        (etc / "kubelet.conf").exists()
        and (kubelet / "config.yaml").exists()
        and (kubelet / "pki/kubelet-client-current.pem").exists()
    )


def completed() -> bool:
    """Whether `kubeadm init` finished on this host, with no `kubeadm reset` after it.

    A reset removes the CA and the administrator's kubeconfig, but not INITIALIZED.
    """
    left = ADMIN.exists() or (ADMIN.parent / "pki/ca.crt").exists()
    return INITIALIZED.exists() and left


def started(etc: Path = ETC, kubelet: Path = KUBELET_STATE) -> bool:
    """Whether an earlier run of kubeadm has left files."""
    left = [etc / "pki/ca.crt", etc / "bootstrap-kubelet.conf", etc / "kubelet.conf"]
    return any(path.exists() for path in [*left, kubelet / "config.yaml"])


def objects_present(output: str) -> bool:
    """Whether `kubectl get -o name` listed all of LAST_OBJECTS."""
    return set(LAST_OBJECTS) <= set(output.split())


def command(action: str, config: Path, ignore: list[str], resume: bool) -> list[str]:
    """Return the command line of `kubeadm init` or `kubeadm join`."""
    ignored = sorted({*ignore, *(RESUME if resume else ())})
    words = ["kubeadm", action, f"--config={config}"]
    if ignored:
        words.append(f"--ignore-preflight-errors={','.join(ignored)}")
    if action == "init":
        # The token that init prints is not used: each join gets its own.
        words.append("--skip-token-print")
    return words


def failure(output: str, lines: int = 30) -> str:
    """Return the part of kubeadm's output that says what went wrong."""
    wanted = [
        line
        for line in output.strip().splitlines()
        if line.startswith(("error", "\t[ERROR", "[preflight] Some fatal"))
    ]
    return "\n".join(wanted or output.strip().splitlines()[-lines:])


def last_line(output: str) -> str:
    """Return the last line of a command's output, where the reason of a failure stands."""
    return (output.strip().splitlines() or ["no message"])[-1]


def token(run: Runner, minutes: int) -> dict[str, Any]:
    """Make a bootstrap token.

    Returns:
        token; ca_cert_hash (sha256:...), with which the joining host verifies the cluster.

    Raises:
        RuntimeError: kubeadm failed.
    """
    code, out, error = run(
        ["kubeadm", "token", "create", f"--ttl={minutes}m", f"--kubeconfig={ADMIN}"]
        + [f"--description={OWN_TOKEN}", "--print-join-command"]
    )
    if code:
        raise RuntimeError(failure(error or out))
    words = out.split()
    options = dict(pairwise(words))
    try:
        return {
            "token": options["--token"],
            "ca_cert_hash": options["--discovery-token-ca-cert-hash"],
        }
    except KeyError as missing:
        # The output may hold a token: leave it out.
        raise RuntimeError(f"kubeadm's join command has no {missing.args[0]}") from None


def with_own_token(documents: list[dict[str, Any]], minutes: int) -> list[dict[str, Any]]:
    """Return documents for `kubeadm init` that describe its join token.

    `kubeadm init` always makes a token, also for an empty list. Without a description the token
    lives a day and nothing marks it. kubeadm fills in the token itself.
    """
    wanted = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        "bootstrapTokens": [{"description": OWN_TOKEN, "ttl": f"{minutes}m0s"}],
    }
    if not any(document.get("kind") == "InitConfiguration" for document in documents):
        return [wanted, *documents]
    return [
        wanted | {k: v for k, v in document.items() if k != "bootstrapTokens" or v}
        if document.get("kind") == "InitConfiguration"
        else document
        for document in documents
    ]


def left_tokens(run: Runner) -> list[str]:
    """Return the names of the Secrets with this module's own join tokens.

    They are left by `kubeadm init` and by interrupted joins. An administrator's tokens are not
    among them.

    Raises:
        RuntimeError: the API does not answer, or refuses.
    """
    code, out, error = run(
        ["kubectl", "get", "secrets", f"--kubeconfig={ADMIN}", "--namespace=kube-system"]
        + [f"--field-selector=type={TOKEN_TYPE}", "--output=json", "--request-timeout=30s"]
    )
    if code:
        raise RuntimeError(last_line(error or out))
    return [
        item["metadata"]["name"]
        for item in json.loads(out)["items"]
        if _described(item) == OWN_TOKEN
    ]


def _described(secret: dict[str, Any]) -> str:
    encoded = (secret.get("data") or {}).get("description", "")
    return base64.b64decode(encoded).decode(errors="replace")


def delete_tokens(run: Runner, names: list[str]) -> bool:
    """Delete the Secrets of join tokens; return whether one existed.

    Raises:
        RuntimeError: the API refused.
    """
    code, out, error = run(
        ["kubectl", "delete", "secrets", *names, f"--kubeconfig={ADMIN}"]
        + ["--namespace=kube-system", "--ignore-not-found", "--output=name"]
        + ["--request-timeout=30s"]
    )
    if code:
        raise RuntimeError(last_line(error or out))
    return bool(out.strip())


def token_secret(token: str) -> str:
    """Return the name of a token's Secret. It holds only the public part of the token."""
    return f"bootstrap-token-{token.partition('.')[0]}"


def join_configuration(base: dict[str, Any], endpoint: str, secret: dict[str, Any]) -> str:
    """Return the JoinConfiguration as JSON, which is YAML that kubeadm reads."""
    return json.dumps(
        {
            **base,
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "JoinConfiguration",
            "discovery": {
                "bootstrapToken": {
                    "apiServerEndpoint": endpoint,
                    "token": secret["token"],
                    "caCertHashes": [secret["ca_cert_hash"]],
                }
            },
        }
    )
