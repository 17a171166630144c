# SPDX-License-Identifier: Apache-2.0
"""Voices, LoRA and pronunciation dictionaries: what they are, and how pods have them."""
