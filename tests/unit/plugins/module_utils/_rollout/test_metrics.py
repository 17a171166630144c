# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout import metrics

TEXT = """\
# HELP inferno_worker_capacity Streams at once.
# TYPE inferno_worker_capacity gauge
inferno_worker_capacity{model="a b",path="c:\\\\x\\n\\"q\\"",} 4.0
inferno_worker_capacity{model="b"} 8 1700000000000

inferno_worker_ttfa_bucket{le="+Inf"} 3
inferno_worker_load NaN
"""


def test_labels_and_values() -> None:
    samples = metrics.parse(TEXT)
    assert [sample.name for sample in samples] == [
        "inferno_worker_capacity",
        "inferno_worker_capacity",
        "inferno_worker_ttfa_bucket",
        "inferno_worker_load",
    ]
    assert samples[0].labels == {"model": "a b", "path": 'c:\\x\n"q"'}
    assert samples[1].value == 8


def test_total() -> None:
    assert metrics.total(TEXT, "inferno_worker_capacity") == 12
    assert metrics.total(TEXT, "inferno_worker_load") == 0
    assert metrics.total(TEXT, "absent") is None


@pytest.mark.parametrize("line", ["<html>", "a b c d", "a{b=c} 1", "a one"])
def test_not_metrics(line: str) -> None:
    with pytest.raises(ValueError, match="not a Prometheus metric line"):
        metrics.parse(line)
