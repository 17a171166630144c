# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Write text files on the controller so that a reader never sees half of one."""

from __future__ import annotations

from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Replace a file, or make it; its folder exists. Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8", newline="")
    temporary.replace(path)
