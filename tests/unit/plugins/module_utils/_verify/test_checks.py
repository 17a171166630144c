# SPDX-License-Identifier: Apache-2.0
"""The result of one check of a site, and the verdict over all of them."""

from __future__ import annotations

import json

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import (
    FAIL,
    PASS,
    SKIPPED,
    WARN,
    Check,
    End,
    Figure,
    overall,
)


def test_a_check_survives_json() -> None:
    check = Check(
        "certificates",
        "Certificates last",
        WARN,
        "speech.example.com ends in 12 days",
        "Renew it",
        "runbooks/certificate.md",
        (Figure("days left", "d", (12.0,), 14.0),),
        (End("certificate of speech.example.com", "certificate", "2026-12-11T00:00:00Z"),),
    )
    assert Check.of(json.loads(json.dumps(check.as_dict()))) == check


def test_an_unknown_verdict_is_refused() -> None:
    with pytest.raises(ValueError, match=r"check pods: the verdict 'good' does not exist"):
        Check("pods", "Pods are ready", "good", "")


@pytest.mark.parametrize(
    ("verdicts", "result"),
    [
        ([], SKIPPED),
        ([SKIPPED, PASS], PASS),
        ([PASS, WARN, SKIPPED], WARN),
        ([WARN, FAIL, PASS], FAIL),
    ],
)
def test_the_worst_check_decides(verdicts: list[str], result: str) -> None:
    assert overall(Check(f"c{n}", "t", v, "e") for n, v in enumerate(verdicts)) == result
