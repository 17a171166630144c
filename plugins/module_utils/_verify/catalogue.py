# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The ids and limits of all checks, of the cluster and of speech."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from . import definitions, speech

CHECKS = (*definitions.DEFINITIONS, *speech.DEFINITIONS)
LIMITS = {item.id: item.limit for item in CHECKS if item.limit is not None}


class LimitsError(ValueError):
    """Limits that no check has. The message names all of them."""


def limits_of(given: Mapping[str, Any]) -> dict[str, float]:
    """Return the limits of the option limits by id. Raises LimitsError."""
    problems = []
    limits = {}
    for name, value in given.items():
        if name not in LIMITS:
            problems.append(f"{name} has no limit: the checks {', '.join(LIMITS)} have one")
            continue
        try:
            limits[name] = float(value)
        except (TypeError, ValueError):
            limits[name] = math.nan
        # A comparison with one of these would pass, or fail, whatever there is.
        if not math.isfinite(limits[name]) or limits[name] < 0:
            problems.append(f"{name}: {value!r} is not a number of 0 or more")
    if problems:
        raise LimitsError("; ".join(problems))
    return limits
