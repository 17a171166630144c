# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""A site as a whole: its lock, what ran before a change, and its figures."""
