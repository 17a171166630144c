# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Ask for speech as a client of the service, and measure and report it.

Private to this collection.
"""
