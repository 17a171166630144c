# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Roll out workloads and wait until they are ready.

Private to this collection.
"""
