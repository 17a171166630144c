# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Packages that dpkg has installed, compared with those that are wanted."""

from __future__ import annotations

import fnmatch

# What `installed_versions` reads, one line for each package that dpkg-query knows.
QUERY = [
    "dpkg-query",
    "--show",
    "--showformat=${db:Status-Abbrev}\t${Package}\t${Version}\n",
    "--",
]


def split(package: str) -> tuple[str, str]:
    """Name and version pattern of an item; the pattern is * when none is given."""
    name, _sign, version = package.partition("=")
    return name, version or "*"


def installed_versions(output: str) -> dict[str, str]:
    """Versions by name of the packages that dpkg-query lists as installed and configured.

    The first letter says what is wanted of a package (dpkg-query(1)): a held one is there, too.
    """
    result = {}
    for line in output.splitlines():
        status, name, version = line.split("\t")
        if status[1:] == "i ":
            result[name] = version
    return result


def missing(packages: list[str], installed: dict[str, str]) -> list[str]:
    """The items that what is installed does not satisfy."""
    return [
        package
        for package in packages
        if not fnmatch.fnmatchcase(installed.get(split(package)[0], ""), split(package)[1])
        or split(package)[0] not in installed
    ]
