# SPDX-License-Identifier: Apache-2.0
"""Describe the GPU that this container was given; the CPU engine works without one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def describe(variables: Mapping[str, str], devices: Path = Path("/dev")) -> str:
    """Return a line about the visible GPU devices and what the container runtime was asked for."""
    nodes = sorted(
        path.name for path in devices.glob("nvidia*") if path.name[6:].isdigit() or path.is_dir()
    )
    gpus = [name for name in nodes if name[6:].isdigit()]
    requested = variables.get("NVIDIA_VISIBLE_DEVICES") or "not set"
    seen = ", ".join(f"{devices}/{name}" for name in gpus) or "none"
    return f"GPU devices: {seen}; NVIDIA_VISIBLE_DEVICES: {requested}; the engine runs on the CPU"
