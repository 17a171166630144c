# SPDX-License-Identifier: Apache-2.0
"""What an operator sees of the site's latency and throughput."""

from __future__ import annotations

import re

from tests.playbooks import on_lab


def test_benchmark_shows_a_row_for_each_number_of_listeners() -> None:
    said = on_lab("benchmark.yml", benchmark_concurrency=[1, 2], benchmark_rounds=2)
    rows = re.findall(r"^ *'? *([12])  +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +(\d+)", said, re.MULTILINE)
    assert [(row[0], row[5]) for row in rows] == [("1", "2"), ("2", "4")], said
    assert "changed=0" in said
