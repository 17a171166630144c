# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the modules share which listen to a site from outside."""

from __future__ import annotations


class ModuleDocFragment:
    """Where to request speech, and with which key."""

    DOCUMENTATION = r"""
options:
  url:
    description: Base URL of the API. The certificate must be for its host.
    type: str
    required: true
  address:
    description: Address to connect to, where the URL's host does not resolve (yet) to the ingress.
    type: str
  ca_file:
    description: File, on the host that runs the module, with the CA certificates to trust (PEM).
    type: path
  ca_pem:
    description:
      - CA certificates to trust, as PEM text.
      - With neither O(ca_file) nor O(ca_pem), the certificates that the host's system trusts.
    type: str
  api_key:
    description: API key of the speech service.
    type: str
    required: true
  model_id:
    description: Model that speaks.
    type: str
    required: true
  voice_id:
    description: Voice that speaks.
    type: str
    default: a0e99841-438c-4a64-b679-ae501e7d6091
  timeout:
    description: Seconds to wait for the connection, and for each part of the answer.
    type: int
    default: 30
"""
