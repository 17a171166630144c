# SPDX-License-Identifier: Apache-2.0
"""The benchmark's figures of the site's latency and throughput."""

from __future__ import annotations

import re

from tests.playbooks import on_lab

# Listeners, four figures, and how many requests were heard.
ROW = re.compile(r"^ *- '? *(\d+)(?: +[\d.]+){4} +(\d+)", re.MULTILINE)


def test_benchmark_shows_a_row_for_each_number_of_listeners() -> None:
    output = on_lab("benchmark.yml", benchmark_concurrency=[1, 2], benchmark_rounds=2)
    rows = ROW.findall(output)
    assert rows == [("1", "2"), ("2", "4")], output
    assert "changed=0" in output
