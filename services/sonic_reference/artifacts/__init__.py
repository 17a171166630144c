# SPDX-License-Identifier: Apache-2.0
"""Voices, LoRA and pronunciation dictionaries: their files, and how pods get them."""
