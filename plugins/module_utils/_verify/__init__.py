# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The verdict on a site: checks, their results, and the dates of what ends.

Private to this collection.
"""
