# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Speak HTTP safely: secrets in headers, certificates that servers show.

Private to this collection.
"""
