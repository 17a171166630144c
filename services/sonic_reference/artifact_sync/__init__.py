# SPDX-License-Identifier: Apache-2.0
"""The artifact sync: the only part of a site that reads the bucket."""
