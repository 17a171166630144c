# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Run Helm: what a release holds, what an upgrade would change, and its canary.

Private to this collection.
"""
