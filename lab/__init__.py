# SPDX-License-Identifier: Apache-2.0
"""The rehearsal: a site on one machine, for laptops, tests and CI."""
