# SPDX-License-Identifier: Apache-2.0
"""The artifact sync: it alone looks into the bucket, for all API pods and workers of a site."""
