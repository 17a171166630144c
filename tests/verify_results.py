# SPDX-License-Identifier: Apache-2.0
"""Results of verify for tests: one of each kind of check, and texts that attack a page."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import (
    FAIL,
    PASS,
    SKIPPED,
    WARN,
    Check,
    End,
    Figure,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.verify_results import Site, timestamp

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
EVIL = "<script>alert('1')</script><img src=https://evil.example/x.png onerror=alert(2)>&\x1b[31m"

TTFA = (0.112, 0.108, 0.131, 0.119, 0.162, 0.109, 0.115, 0.104, 0.141, 0.119)
CHECKS = (
    Check(
        "rollouts",
        "Deployments and StatefulSets are rolled out",
        PASS,
        "9 of 9 are complete",
    ),
    Check(
        "speech-ttfa",
        "Speech begins in time",
        FAIL,
        "the median time to first audio of 10 requests is 117 ms, 2 took longer than 140 ms",
        "look for throttled GPUs with nvidia-smi -q -d PERFORMANCE, then add a worker",
        "runbooks/SpeechSlowFirstAudio.md",
        (
            Figure("Time to first audio", "s", TTFA, 0.14),
            Figure("Real-time factor", "", (0.21, 0.22, 0.2, 0.24), 1.0),
        ),
    ),
    Check(
        "ingress-certificate",
        "The ingress's certificate is valid for longer than 21 days",
        WARN,
        "speech.example.com: 12 days are left (until 2026-12-11)",
        "renew it, and run playbooks/speech.yml",
        "runbooks/IngressCertificateExpires.md",
        ends=(
            End(
                "certificate of speech.example.com",
                "certificate",
                "2026-12-11T09:00:00Z",
                "renew it; then run playbooks/speech.yml, for all hosts",
            ),
        ),
    ),
    Check(
        "autoscaling",
        "KEDA's metrics answer and triggers are active",
        SKIPPED,
        "no worker is autoscaled",
    ),
    Check(
        "licence",
        "The licence is valid",
        PASS,
        "valid until 2027-06-30, 213 days are left",
        ends=(End("licence", "licence", "2027-06-30T00:00:00Z", "ask the vendor for a new one"),),
    ),
    Check(
        "driver-support",
        "NVIDIA supports the driver's branch",
        PASS,
        "580 until 2028-08-01",
        ends=(End("support of driver branch 580", "support", "2028-08-01T00:00:00Z"),),
    ),
    Check("nats", "NATS has all consumers", PASS, "3 servers, 2 consumers, 0 pending"),
)
VERSIONS = {"kubernetes": "1.36.3", "containerd": "2.3.7", "nvidia driver": "580.95.05"}


def site(name: str = "rack1", checks: tuple[Check, ...] = CHECKS, age: int = 0) -> Site:
    """A result that is `age` hours old."""
    at = timestamp(NOW - timedelta(hours=age))
    return Site(name, at, checks, VERSIONS, 21.4)


def attacked() -> Site:
    """A result in which every text attacks the page."""
    check = Check(
        f"id-{EVIL}",
        EVIL,
        FAIL,
        EVIL,
        EVIL,
        f"javascript:{EVIL}",
        (Figure(EVIL, EVIL, (1.0, 2.0), 1.5),),
        (End(EVIL, EVIL, "2026-12-01T00:00:00Z", EVIL),),
    )
    return replace(site("rack-evil", (check,)), versions={EVIL: EVIL})
