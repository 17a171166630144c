# SPDX-License-Identifier: Apache-2.0
"""Build a site's bundle: an apt repository, an image store and Python wheels."""
