# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The result of a site as JUnit XML, which CI systems show."""

from __future__ import annotations

# Only written here, never parsed.
from xml.etree import ElementTree

from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import (
    FAIL,
    SKIPPED,
    WARN,
    Check,
)

from .verify_results import Site, printable


def xml(site: Site) -> str:
    """Return the text of the site's XML file: one test case for each check."""
    totals = {
        "name": printable(f"verify {site.name}"),
        "tests": str(len(site.checks)),
        "failures": str(len(site.of_verdict(FAIL))),
        "errors": "0",
        "skipped": str(len(site.of_verdict(SKIPPED))),
        "time": str(site.seconds),
    }
    suites = ElementTree.Element("testsuites", totals)
    # The schema's timestamp is without a zone; it is UTC.
    moment = site.at.removesuffix("Z")
    suite = ElementTree.SubElement(suites, "testsuite", totals | {"timestamp": moment})
    for check in site.checks:
        suite.append(_case(site, check))
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _case(site: Site, check: Check) -> ElementTree.Element:
    names = {"classname": f"verify.{site.name}", "name": check.id}
    case = ElementTree.Element("testcase", {key: printable(text) for key, text in names.items()})
    evidence = printable(check.evidence)
    lines = [check.title, check.evidence, f"do: {check.remedy}" if check.remedy else ""]
    text = printable("\n".join(line for line in lines if line))
    if check.verdict == FAIL:
        ElementTree.SubElement(case, "failure", {"message": evidence}).text = text
    elif check.verdict == SKIPPED:
        ElementTree.SubElement(case, "skipped", {"message": evidence})
    else:
        warning = "warning\n" if check.verdict == WARN else ""
        ElementTree.SubElement(case, "system-out").text = warning + text
    return case
