# SPDX-License-Identifier: Apache-2.0
"""The artifact sync: the one part of a site that looks into the bucket, for all API pods and workers."""
