# SPDX-License-Identifier: Apache-2.0
"""The stand-in for NVIDIA's driver: it makes a host without GPUs look as if it had some."""
