# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Read NVIDIA GPUs from the driver's library.

Private to this collection.
"""
