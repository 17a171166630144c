# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""What the files that kubeadm leaves say about a host, and how to run kubeadm."""

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
# Written when `kubeadm init` came to its end: from then on an API that does not answer is a
# fault to look at, not an initialization to finish.
INITIALIZED = ETC / ".baremetal-sonic-initialized"

# What `kubeadm init` creates last (phase addon), so their presence means it was complete.
LAST_OBJECTS = ("configmap/kubeadm-config", "daemonset.apps/kube-proxy", "deployment.apps/coredns")

# A Secret with a token by which a host may join, as kubeadm and the control plane know it.
TOKEN_TYPE = "bootstrap.kubernetes.io/token"
# Marks the tokens of this module. It removes no others.
OWN_TOKEN = "For one join, by baremetal.sonic; removed after it."

# Preflight checks that only say that an earlier, interrupted run left something behind.
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
    """AnsibleModule.run_command, as far as it is used here."""

    def __call__(self, args: list[str]) -> tuple[int, str, str]:
        """Run a command; returns exit code, stdout and stderr."""


def joined(etc: Path = ETC, kubelet: Path = KUBELET_STATE) -> bool:
    """Whether this host's kubelet has its own identity in a cluster.

    kubeadm removes bootstrap-kubelet.conf when the kubelet's certificate has been issued.
    """
    return bootstrapped(etc, kubelet) and not (etc / BOOTSTRAP.name).exists()


def bootstrapped(etc: Path = ETC, kubelet: Path = KUBELET_STATE) -> bool:
    """Whether the kubelet's certificate has been issued, seen by kubeadm or not yet.

    The kubelet writes kubelet.conf when it has the certificate, and needs no token from then on.
    """
    return (
        (etc / "kubelet.conf").exists()
        and (kubelet / "config.yaml").exists()
        and (kubelet / "pki/kubelet-client-current.pem").exists()
    )


def completed() -> bool:
    """Whether `kubeadm init` finished on this host, without a `kubeadm reset` after it.

    A reset removes the CA and the administrator's kubeconfig, and passes over our mark.
    """
    left = ADMIN.exists() or (ADMIN.parent / "pki/ca.crt").exists()
    return INITIALIZED.exists() and left


def started(etc: Path = ETC, kubelet: Path = KUBELET_STATE) -> bool:
    """Whether an earlier run of kubeadm got far enough to leave something."""
    left = [etc / "pki/ca.crt", etc / "bootstrap-kubelet.conf", etc / "kubelet.conf"]
    return any(path.exists() for path in [*left, kubelet / "config.yaml"])


def objects_present(output: str) -> bool:
    """Whether `kubectl get -o name` listed everything that a complete init leaves."""
    return set(LAST_OBJECTS) <= set(output.split())


def command(action: str, config: Path, ignore: list[str], resume: bool) -> list[str]:
    """The command line of `kubeadm init` or `kubeadm join`."""
    ignored = sorted({*ignore, *(RESUME if resume else ())})
    words = ["kubeadm", action, f"--config={config}"]
    if ignored:
        words.append(f"--ignore-preflight-errors={','.join(ignored)}")
    if action == "init":
        # The certificate key and the token that init prints are not used: tokens are made per join.
        words.append("--skip-token-print")
    return words


def failure(output: str, lines: int = 30) -> str:
    """The part of kubeadm's output that says what went wrong."""
    wanted = [
        line
        for line in output.strip().splitlines()
        if line.startswith(("error", "\t[ERROR", "[preflight] Some fatal"))
    ]
    return "\n".join(wanted or output.strip().splitlines()[-lines:])


def last_line(output: str) -> str:
    """The last line of a command's output, which says most; a word for it where there is none."""
    return (output.strip().splitlines() or ["no message"])[-1]


def token(run: Runner, minutes: int) -> dict[str, Any]:
    """A new bootstrap token and what else a joining host must know of the cluster.

    Returns:
        token; ca_cert_hash (sha256:...), by which the joining host knows the right cluster.

    Raises:
        RuntimeError: kubeadm could not make one.
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
        # Not with the output: a token may be in it.
        raise RuntimeError(f"kubeadm's join command has no {missing.args[0]}") from None


def with_own_token(documents: list[dict[str, Any]], minutes: int) -> list[dict[str, Any]]:
    """Documents for `kubeadm init` that describe the join token, because it always makes one.

    Without one, and with an empty list too, it makes a token that lives a day and has no mark.
    kubeadm fills in the token itself.
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
    """Names of the Secrets of this module's own join tokens: of init, and of interrupted joins.

    An administrator's tokens are not among them.

    Raises:
        RuntimeError: the API cannot be asked.
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
    """Delete the Secrets of join tokens; whether one was there.

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
    """The name of a token's Secret; its part before the dot is no secret."""
    return f"bootstrap-token-{token.partition('.')[0]}"


def join_configuration(base: dict[str, Any], endpoint: str, secret: dict[str, Any]) -> str:
    """The JoinConfiguration as JSON (which kubeadm reads, being YAML)."""
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
