# SPDX-License-Identifier: Apache-2.0
"""Voices, LoRA and pronunciation dictionaries that come from a bucket: what they are, how pods have them."""
