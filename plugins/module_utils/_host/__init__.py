# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Administer one host: apt's locks, sources and keys, and kubeadm.

Private to this collection.
"""
