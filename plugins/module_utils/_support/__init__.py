# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Collect what support needs of a site, without its secrets.

Private to this collection.
"""
