# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of certificates, tokens, encryption and network policies."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from .._kube.pods import name_of, when
from .checks import FAIL, PASS, SKIPPED, WARN, End, Figure
from .site import Result, Seen, UnreadableError, Wanted
from .workloads import verdict

TOKEN_AGE = timedelta(hours=1)
TOKEN_PREFIX = "bootstrap-token-"
ENCRYPTED = "k8s:enc:"
# What the API server writes where Secrets are not encrypted, and the names of keys within a
# provider: these do not say how a value is stored.
PLAIN = ("", "identity", "k8s:enc:identity")


def day_of(seconds: float) -> str:
    """Return a time as a check shows it and as the calendar takes it (RFC 3339)."""
    moment = datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=0)
    return moment.isoformat().replace("+00:00", "Z")


def distance(days: float) -> str:
    """Return when something ends, or ended, so many days from now."""
    count = round(abs(days))
    number = f"{count} day" if count == 1 else f"{count} days"
    if days > 0:
        return f"ends in {number}" if count else "ends within a day"
    return f"ended {number} ago" if count else "ended within the last day"


def certificates(seen: Seen, wanted: Wanted, limit: float) -> Result:
    """Certificates of ingress, API server and etcd end in more than limit days."""
    ends: dict[str, float] = {}
    for sample in seen.samples("certificates"):
        # A probe by Prometheus, or haproxy-ingress about a certificate that it serves.
        name = sample.labels.get("host") or sample.labels.get("domain")
        label = name or sample.labels.get("instance", "")
        # The same certificate is served at several addresses. The earliest end counts.
        ends[label] = min(sample.value, ends.get(label, sample.value))
    if not ends:
        raise UnreadableError("Prometheus knows the end of no certificate")
    days = {name: (end - wanted.now.timestamp()) / 86400 for name, end in ends.items()}
    problems = [
        f"the certificate of {name} " + distance(left)
        for name, left in sorted(days.items())
        if left < limit
    ]
    worst = min(days, key=days.__getitem__)
    bad = FAIL if days[worst] <= 0 else WARN
    good = f"the first of {len(ends)}, {worst}, {distance(days[worst])}"
    result = verdict(problems, good, bad)
    return Result(
        result.verdict,
        result.evidence,
        (Figure("days left", "d", tuple(sorted(round(left, 1) for left in days.values())), limit),),
        tuple(
            End(f"certificate of {name}", "certificate", day_of(end), "docs/ingress.md")
            for name, end in sorted(ends.items())
        ),
        own=True,
    )


def join_tokens(seen: Seen, wanted: Wanted, _limit: float) -> Result:
    """No join token is older than an hour: its reader can join a host."""
    old = [
        name_of(item).removeprefix(TOKEN_PREFIX)
        for item in seen.items("tokens")
        if wanted.now - when(item["metadata"]["creationTimestamp"]) > TOKEN_AGE
    ]
    problems = [f"the join token {name} is older than an hour" for name in sorted(old)]
    return verdict(problems, "no join token older than an hour is there")


def encryption(seen: Seen, wanted: Wanted, _limit: float) -> Result:
    """The API server has written Secrets to etcd only encrypted since it started."""
    if not wanted.encryption:
        return Result(SKIPPED, "the inventory sets kubeadm_encryption to false")
    prefixes = seen.storage()
    encrypted = sum(count for name, count in prefixes.items() if name.startswith(ENCRYPTED))
    plain = sum(count for name, count in prefixes.items() if name in PLAIN)
    if plain:
        text = f"the API server has written Secrets to etcd unencrypted, {plain:.0f} times"
        return Result(FAIL, text)
    if encrypted:
        return Result(
            PASS, f"the API server has written Secrets {encrypted:.0f} times, all encrypted"
        )
    servers = [
        pod
        for pod in seen.items("pods", "kube-system")
        if (pod["metadata"].get("labels") or {}).get("component") == "kube-apiserver"
    ]
    unset = [
        name_of(pod)
        for pod in servers
        if not any(
            str(word).startswith("--encryption-provider-config=")
            for container in pod["spec"]["containers"]
            for word in [*(container.get("command") or []), *(container.get("args") or [])]
        )
    ]
    if not servers:
        return Result(FAIL, "no pod of an API server is in kube-system, so nothing is known")
    problems = [f"{name} has no --encryption-provider-config" for name in unset]
    if problems:
        return Result(FAIL, "; ".join(problems))
    return Result(
        PASS, "the API server is set to encrypt, and has written no Secret since its start"
    )


def policies(seen: Seen, wanted: Wanted, _limit: float) -> Result:
    """Each network policy of the inventory is there."""
    if not wanted.policies:
        return Result(SKIPPED, "the inventory asks for no network policy")
    live = {f"{item['metadata']['namespace']}/{name_of(item)}" for item in seen.items("policies")}
    missing = sorted(set(wanted.policies) - live)
    problems = [f"the network policy {name} is missing" for name in missing]
    return verdict(problems, f"{len(set(wanted.policies))} network policies are there")
