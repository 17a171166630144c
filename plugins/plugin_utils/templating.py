# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marks a text of this collection as a template, on every ansible-core that is supported."""

from __future__ import annotations

try:
    from ansible.template import trust_as_template
except ImportError:

    def trust_as_template(value: str) -> str:
        """Return the text: ansible-core 2.18 has no trusted texts and renders all of them."""
        return value


__all__ = ["trust_as_template"]
