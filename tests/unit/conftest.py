# SPDX-License-Identifier: Apache-2.0
"""Lets the tests import the collection's plugins by the name that Ansible gives them."""

from __future__ import annotations

from pathlib import Path

import ansible_collections

ROOT = Path(__file__).resolve().parents[2]
LINKS = ROOT / ".lab" / "collections" / "ansible_collections"


def find_collection() -> None:
    """Link this checkout as a collection, as lab/bootstrap does, and let Python find the link."""
    link = LINKS / "baremetal" / "sonic"
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.resolve() != ROOT:
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT)
    if str(LINKS) not in ansible_collections.__path__:
        ansible_collections.__path__.insert(0, str(LINKS))


find_collection()
