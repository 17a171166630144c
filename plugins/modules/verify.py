#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verify
short_description: Show the checks of a site, and fail if one of them failed
description:
  - Prints a table with a line for each check, with its verdict, id and evidence, and with a remedy where one is due.
  - Writes the result of the site as JSON, JUnit XML and an HTML page, and an index page and a calendar over all sites in the folder.
  - Several sites, and several runs of Ansible, may write into one folder at the same time.
  - Fails if a check failed. The message lists each failed check with its remedy.
  - The files are reports on the controller, also written in check mode.
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
extends_documentation_fragment:
  - baremetal.sonic.attributes.reads
options:
  site:
    description: The site's name, after which its files are called.
    type: str
    required: true
  checks:
    description: Results of checks as modules of this collection return them, in the order of the table.
    type: list
    elements: dict
    required: true
  skip:
    description:
      - Ids of checks that become skipped, whatever their verdict is. What they list for the calendar stays in it.
      - An id that no check has is an error.
    type: list
    elements: str
    default: []
  folder:
    description: Folder on the controller for the files. It is made. Empty for no files.
    type: path
    default: ""
  versions:
    description: Versions that run on the site, by name.
    type: dict
    default: {}
  seconds:
    description: How long the checks took.
    type: float
    default: 0.0
"""

EXAMPLES = r"""
- name: Show the result
  baremetal.sonic.verify:
    site: rack1
    checks: "{{ verify_cluster.checks + verify_speech.checks }}"
    skip: [backup-age]
    folder: reports
  run_once: true
"""

RETURN = r"""
verdict:
  description: The worst verdict of all checks, C(pass), C(warn), C(fail) or C(skipped).
  returned: always
  type: str
  sample: pass
files:
  description: Files that were written.
  returned: always
  type: list
  elements: str
  sample: [reports/rack1.json, reports/rack1.xml, reports/rack1.html, reports/index.html]
table:
  description: The lines that were printed.
  returned: when no check failed
  type: list
  elements: str
  sample: ["pass     api-speech  2.1 s of audio", "site rack1: pass (1 pass)"]
checks:
  description: The checks, with the skipped ones marked as such. When a check failed, they are in the JSON file.
  returned: when no check failed
  type: list
  elements: dict
"""
