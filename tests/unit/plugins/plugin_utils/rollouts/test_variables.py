# SPDX-License-Identifier: Apache-2.0
"""The variables that a step of a site is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.baremetal.sonic.plugins.action.rollout import OF_THE_CHANGE, _Variables
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.catalogue import CHECKS
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.engine import (
    CHECK,
    REVERIFY,
    VERIFY,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.state import SiteState

OPTIONS: dict[str, Any] = {
    "reason": "",
    "playbooks": ["baremetal.sonic.stack"],
    "step_timeout": 600,
    "soak": 30,
}


def test_only_after_a_rollback_the_inventory_is_not_what_is_wanted(tmp_path: Path) -> None:
    variables = _Variables(OPTIONS, tmp_path, "r1")
    assert "_verify_skip" not in variables("oslo", VERIFY, SiteState())
    assert variables("oslo", REVERIFY, SiteState())["_verify_skip"] == OF_THE_CHANGE
    assert set(OF_THE_CHANGE) <= {check.id for check in CHECKS}


def test_a_resumed_run_owns_its_lock_which_outlasts_a_step_and_the_soak(tmp_path: Path) -> None:
    first = _Variables(OPTIONS, tmp_path, "r1")("oslo", VERIFY, SiteState())
    assert first["_rollout_lease_seconds"] > 630
    resumed = _Variables(OPTIONS, tmp_path, "r1")("oslo", VERIFY, SiteState())
    assert resumed["_rollout_holder"] == first["_rollout_holder"]
    (tmp_path / "other").mkdir()
    other = _Variables(OPTIONS, tmp_path / "other", "r1")("oslo", VERIFY, SiteState())
    assert other["_rollout_holder"] != first["_rollout_holder"]


def test_a_check_compares_with_the_figures_before(tmp_path: Path) -> None:
    state = SiteState(reports={"begin": {"figures": {"capacity": 8.0}}})
    given = _Variables(OPTIONS, tmp_path, "r1")("oslo", CHECK, state)
    assert given["_rollout_before"] == {"capacity": 8.0}
    # Short soaks give Prometheus too few samples.
    assert given["_rollout_seconds"] == 60
