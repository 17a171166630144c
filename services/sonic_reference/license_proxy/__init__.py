# SPDX-License-Identifier: Apache-2.0
"""The license proxy, a reference stand-in for the vendor's image: who may ask for speech."""
