# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Read licences and verify the license proxy's audit log.

Private to this collection.
"""
