# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Speak to the Kubernetes API: objects, how they are applied, and what pods say.

Private to this collection.
"""
